"""One fault: what was sent, what was answered, and how long it took to be well again.

send, publisher ──> broker ──> workers ──> broker ──> observer: `answers`, by frame id
       └── the publisher's own account, by file name: `told` <───┘
"""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import IO, Any, Dict, Iterator, List, Optional, Sequence, Set

import paho.mqtt.client as mqtt

from tests.faults.observer import Observer
from tests.faults.peaks import Peaks
from tests.faults.row import Row
from tests.fleets import Fleet
from tests.harness import Listener, WorkerProcess, wait_for

#: Workers here notice a death, and adopt, in seconds instead of minutes.
WINDOW = 16
QUICK = (
    *("--status-interval", "0.5", "--adopt-after", "2", "--keepalive", "4"),
    *("--window", str(WINDOW)),
)
#: Batches are larger than the window, and wait: so frames are in hand at nearly every moment, and unanswered.
SLOW = ("--max-batch", str(WINDOW + 1), "--max-delay", "0.2")
#: What the publisher prints of a frame that was answered, or rejected.
_TOLD = re.compile(r"^\S+/(\S+)\.jpg  \S+  .*  \d+ ms  \S+$")


class Case:
    """A fleet, a fault, and an observer whose session outlives every broker that keeps sessions.

    Attributes:
        sent: the frames, by the names under which `answers` or `told` will speak of them.
        answers: what the observer has heard.
        heard: the frame ids in it.
        told: when the publisher first spoke of a frame, by the name of its file.
    """

    def __init__(
        self,
        fault: str,
        fleet: Fleet,
        images: Sequence[bytes],
    ) -> None:
        self.fault = fault
        self.url = fleet.url
        self.root = fleet.root
        self.folder = fleet.folder
        self.images = images
        self.workers: List[WorkerProcess] = []
        self.sent: Set[str] = set()
        self.told: Dict[str, float] = {}
        self._fault_at: Optional[float] = None
        self._fleet = fleet
        self._runs = 0
        self._peaks = Peaks(self.workers)
        self._observer = Observer(self.url, self.root)
        self.answers, self.heard = self._observer.answers, self._observer.heard

    # --- the fleet ----------------------------------------------------------------------------------------

    def start(self, count: int, *flags: str, url: str = "") -> List[WorkerProcess]:
        """Start workers, all at once, and wait until they are ready."""
        first, there = len(self.workers) + 1, self._fleet.at(url or self.url)
        new = [there.worker(*QUICK, *flags, id=f"w{n}", wait=False) for n in range(first, first + count)]
        self.workers += new
        for worker in new:
            worker.wait_ready()
        return new

    def listen(self, *topics: str, url: str = "") -> Listener:
        """Open a listener to topics below the root, at another broker if one is given."""
        return self._fleet.at(url or self.url).listen(*topics)

    def publish(self, topic: str, payload: bytes, **properties: Any) -> mqtt.MQTTMessageInfo:
        """Publish at QoS 1, with MQTT 5 properties by paho's names."""
        return self._observer.publish(topic, payload, **properties)

    def send(self, count: int) -> None:
        """Publish frames, as a plain camera does, without any spool; returns with the last PUBACK."""
        infos = []
        for number in range(len(self.sent), len(self.sent) + count):
            self.sent.add(f"frame-{number}")
            image = self.images[number % len(self.images)]
            topic = f"{self.root}/frames/c{number % 4}"
            infos.append(self.publish(topic, image, UserProperty=("frame-id", f"frame-{number}")))
        for info in infos:
            info.wait_for_publish(60)

    @contextlib.contextmanager
    def publisher(self, count: int, *flags: str) -> Iterator[subprocess.Popen[str]]:
        """Publish so many new frames by our own command, with its spool; yields the process."""
        self._runs += 1
        images = self.folder / f"images-{self._runs}"
        images.mkdir()
        for number in range(count):
            name = f"{self._runs}-{number:05d}"
            (images / f"{name}.jpg").write_bytes(self.images[number % len(self.images)] + name.encode())
            self.sent.add(name)
        command = [sys.executable, "-m", "fleet", "publish", str(images)]
        where = ["--broker", self.url, "--root", self.root, "--spool-dir", str(self.folder / "spool")]
        patience = ["--resend-after", "2", "--timeout", "60"]
        # Its log does not come through the same pipe: answers would stand in the middle of lines.
        with (self.folder / "publisher.log").open("a") as log, subprocess.Popen(
            [*command, *where, *patience, *flags], stdout=subprocess.PIPE, stderr=log, text=True
        ) as process:
            assert process.stdout
            reader = threading.Thread(target=self._read, args=(process.stdout,))
            reader.start()
            try:
                yield process
            finally:
                process.kill()
                reader.join()

    def _read(self, output: IO[str]) -> None:
        with (self.folder / "publisher.log").open("a") as log:
            for line in output:
                log.write(line)
                log.flush()
                told = _TOLD.match(line)
                if told:
                    self.told.setdefault(told.group(1), time.monotonic())

    def said(self) -> str:
        """What the publisher has said so far."""
        return (self.folder / "publisher.log").read_text()

    def finish(self, publisher: subprocess.Popen[str]) -> None:
        """Wait until the publisher has all its answers, and ends well."""
        assert publisher.wait(self.patience) == 0, self.said()[-2000:]
        time.sleep(1.0)  # for duplicates

    # --- the reckoning ------------------------------------------------------------------------------------

    @property
    def counts(self) -> Counter[str]:
        """How often the observer has heard each frame answered."""
        return Counter(heard.answer.frame_id for heard in list(self.answers))

    @property
    def first(self) -> Dict[str, float]:
        """When each frame had its first answer, by the name it was sent under."""
        first = dict(self.told)
        for heard in list(self.answers):
            first.setdefault(heard.answer.frame_id, heard.moment)
        return {name: moment for name, moment in first.items() if name in self.sent}

    @property
    def unanswered(self) -> Set[str]:
        """Frames without an answer so far."""
        return self.sent - set(self.first)

    def strike(self) -> None:
        """The fault happens now."""
        self._fault_at = time.monotonic()

    def wait_answers(self, count: int, timeout: float = 60.0) -> None:
        """Wait until so many frames are answered."""
        wait_for(lambda: len(self.first) >= count, timeout, f"{count} answers")

    @property
    def patience(self) -> float:
        """Seconds in which all must be answered: a machine that does 20 frames a second is slow."""
        return 60 + len(self.sent) / 20

    def wait_all(self) -> None:
        """Wait until every frame is answered, and then a moment for duplicates."""
        wait_for(lambda: not self.unanswered, self.patience, f"all of {len(self.sent)} answers")
        time.sleep(1.0)

    def row(self) -> Row:
        """The case as it stands."""
        self._peaks.sample()
        first, counts = self.first, self.counts
        last = max(first.values(), default=0.0)
        return Row(
            fault=self.fault,
            sent=len(self.sent),
            distinct_answers=len(first),
            lost=len(self.sent) - len(first),
            duplicated=sum(counts.values()) - len(counts),
            peak_worker_MB=self._peaks.bytes["worker"] // 1_000_000,
            peak_decoder_MB=self._peaks.bytes["decoder"] // 1_000_000,
            seconds_to_recover=round(max(0.0, last - self._fault_at), 1) if self._fault_at else 0.0,
        )

    def leave(self) -> None:
        """Have the workers leave in good order, with nothing in hand; what they must always be able to do."""
        running = [worker for worker in self.workers if worker.process.poll() is None]
        for worker in running:
            worker.process.send_signal(signal.SIGTERM)
        codes = {worker.id: worker.process.wait(60) for worker in running}
        assert set(codes.values()) <= {0}, "\n".join(w.log.read_text() for w in running if codes[w.id])

    def close(self) -> None:
        """Stop observing."""
        self._peaks.close()
        self._observer.close()
