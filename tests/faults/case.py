"""One fault: what was sent, what was answered, and how long it took to be well again.

send, publisher ──> broker ──> workers ──> broker ──> observer: `answers`, by frame id
       └── the publisher's own account, by file name: `told` <───┘
"""

from __future__ import annotations

import contextlib
import random
import re
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import IO, Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set, Union
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.faults import memory
from tests.fleets import Fleet
from tests.harness import MODEL, Listener, WorkerProcess, wait_for
from wire.messages import Rejection, Result

#: Workers here notice a death, and adopt, in seconds instead of minutes.
WINDOW = 16
QUICK = (
    *("--status-interval", "0.5", "--adopt-after", "2", "--keepalive", "4"),
    *("--window", str(WINDOW)),
)
#: What the publisher prints of a frame that was answered, or rejected.
_TOLD = re.compile(r"^\S+/(\S+)\.jpg  \S+  .*  \d+ ms  \S+$")


@dataclass(frozen=True)
class Row:
    """What is reported.

    Attributes:
        fault: what was done.
        sent: frames, each under an id of its own.
        distinct_answers: those of them that were answered or rejected.
        lost: those that were not.
        duplicated: answers beyond the first of each frame.
        peak_worker_MB: the most memory that was ever resident in any one worker process.
        peak_decoder_MB: the same for any one of their decoder processes.
        seconds_to_recover: from the fault until each frame had its first answer.
    """

    fault: str
    sent: int
    distinct_answers: int
    lost: int
    duplicated: int
    peak_worker_MB: int
    peak_decoder_MB: int
    seconds_to_recover: float


class Heard(NamedTuple):
    """An answer, and when it came."""

    moment: float
    answer: Union[Result, Rejection]

    @property
    def outcome(self) -> str:
        """`result`, or the reason of a rejection."""
        return self.answer.reason.value if isinstance(self.answer, Rejection) else "result"


def at_work(worker: WorkerProcess) -> int:
    """How many frames a worker has begun and not ended, by its own notes on disk."""
    notes = worker.log.with_suffix(".attempts").read_bytes()
    return sum(attempts > 0 for _, attempts in struct.iter_unpack("<16sB", notes))


def kill_at_work(
    worker: WorkerProcess, more: Callable[[], None] = lambda: time.sleep(0.01), timeout: float = 30.0
) -> None:
    """Kill a worker while it has frames at work: it is stopped to be looked at, and let go on if not.

    Args:
        worker: which.
        more: brings frames, where none may be left: it may have stepped aside, or have answered all.
        timeout: seconds until it must have had some.
    """
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        worker.process.send_signal(signal.SIGSTOP)
        if at_work(worker):
            worker.stop(signal.SIGKILL)
            return
        worker.process.send_signal(signal.SIGCONT)
        more()
    pytest.fail(f"{worker.id} had nothing at work for {timeout} s")


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
        self.answers: List[Heard] = []
        self.heard: Set[str] = set()
        self.told: Dict[str, float] = {}
        self._fault_at: Optional[float] = None
        self._fleet = fleet
        self._runs = 0
        self._payloads: Set[bytes] = set()
        self._peaks: Dict[str, int] = {"worker": 0, "decoder": 0}
        self._ended = threading.Event()
        self._observer = self._connect()
        self._sampler = threading.Thread(target=self._sample_until_closed, daemon=True)
        self._sampler.start()

    def _connect(self) -> mqtt.Client:
        client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=f"observer-{random.getrandbits(64):x}",
            protocol=mqtt.MQTTv5,
        )
        client.on_message = self._hear
        client.on_connect = lambda c, *_: c.subscribe(
            [(f"{self.root}/results/+", 1), (f"{self.root}/rejects/+", 1)]
        )
        client.max_inflight_messages_set(100)
        client.reconnect_delay_set(1, 1)
        ready = threading.Event()
        client.on_subscribe = lambda *_: ready.set()
        where = urlsplit(self.url)
        if where.username:
            client.username_pw_set(where.username, where.password)
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 600
        assert where.hostname
        assert where.port
        client.connect(where.hostname, where.port, clean_start=False, properties=properties)
        client.loop_start()
        assert ready.wait(10)
        return client

    def _hear(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        if message.dup and message.payload in self._payloads:
            return  # the broker's second try to deliver it to us, and no second answer
        self._payloads.add(message.payload)
        kind: Any = Result if "/results/" in message.topic else Rejection
        answer = kind.decode(message.payload)
        self.answers.append(Heard(time.monotonic(), answer))
        self.heard.add(answer.frame_id)

    def _sample_until_closed(self) -> None:
        while not self._ended.wait(0.2):
            self._sample()

    def _sample(self) -> None:
        for worker in list(self.workers):
            pid = worker.process.pid
            self._peaks["worker"] = max(self._peaks["worker"], memory.peak_bytes(pid))
            for decoder in memory.decoders(pid):
                self._peaks["decoder"] = max(self._peaks["decoder"], memory.peak_bytes(decoder))

    # --- the fleet ----------------------------------------------------------------------------------------

    def start(self, count: int, *flags: str, url: str = "") -> List[WorkerProcess]:
        """Start workers, all at once, and wait until they are ready."""
        first, there = len(self.workers) + 1, self._fleet.at(url or self.url)
        new = [
            there.worker("--model", MODEL, *QUICK, *flags, id=f"w{n}", wait=False)
            for n in range(first, first + count)
        ]
        self.workers += new
        for worker in new:
            worker.wait_ready()
        return new

    def listen(self, *topics: str, url: str = "") -> Listener:
        """Open a listener to topics below the root, at another broker if one is given."""
        return self._fleet.at(url or self.url).listen(*topics)

    def publish(self, topic: str, payload: bytes, **properties: Any) -> mqtt.MQTTMessageInfo:
        """Publish at QoS 1, with MQTT 5 properties by paho's names."""
        packed = Properties(PacketTypes.PUBLISH)
        for name, value in properties.items():
            setattr(packed, name, value)
        return self._observer.publish(topic, payload, qos=1, properties=packed)

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
        with subprocess.Popen(
            [*command, *where, *patience, *flags], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout
            (self.folder / "publisher.log").touch()
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
        self._sample()
        first, counts = self.first, self.counts
        last = max(first.values(), default=0.0)
        return Row(
            fault=self.fault,
            sent=len(self.sent),
            distinct_answers=len(first),
            lost=len(self.sent) - len(first),
            duplicated=sum(counts.values()) - len(counts),
            peak_worker_MB=self._peaks["worker"] // 1_000_000,
            peak_decoder_MB=self._peaks["decoder"] // 1_000_000,
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
        self._ended.set()
        self._sampler.join()
        self._observer.disconnect()
        self._observer.loop_stop()
