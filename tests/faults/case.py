"""One fault: what was sent, what was answered, and how long it took to be well again."""

from __future__ import annotations

import contextlib
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.harness import WorkerProcess, wait_for
from wire.messages import Rejection, Result

#: Workers here notice a death, and adopt, in seconds instead of minutes.
QUICK = ("--status-interval", "0.5", "--adopt-after", "2", "--keepalive", "4", "--window", "16")


@dataclass(frozen=True)
class Row:
    """What is reported. Recovery is the time from the fault to the last answer that was missing."""

    fault: str
    sent: int
    distinct_answers: int
    lost: int
    duplicated: int
    peak_worker_MB: int
    seconds_to_recover: float


class Case:
    """A fleet, a fault, and an observer whose session outlives every broker that keeps sessions."""

    def __init__(
        self,
        fault: str,
        url: str,
        root: str,
        folder: Path,
        start_worker: Callable[..., WorkerProcess],
        images: List[bytes],
    ) -> None:
        self.fault = fault
        self.url = url
        self.root = root
        self.folder = folder
        self.images = images
        self.workers: List[WorkerProcess] = []
        self.sent: Dict[str, float] = {}
        self.answers: List[Tuple[float, str, str]] = []
        self.fault_at: Optional[float] = None
        self._start_worker = start_worker
        self._peak = 0
        self._ended = threading.Event()
        self._observer = self._connect()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
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
        host, _, port = self.url[len("mqtt://") :].partition(":")
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 600
        client.connect(host, int(port), clean_start=False, properties=properties)
        client.loop_start()
        assert ready.wait(10)
        return client

    def _hear(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        kind: Any = Result if "/results/" in message.topic else Rejection
        answer = kind.decode(message.payload)
        self.answers.append((time.monotonic(), answer.frame_id, getattr(answer, "reason", "answered")))

    def _sample(self) -> None:
        while not self._ended.wait(0.2):
            for worker in list(self.workers):
                with contextlib.suppress(OSError, AttributeError):
                    status = Path(f"/proc/{worker.process.pid}/status").read_text()
                    found = re.search(r"VmHWM:\s+(\d+)", status)
                    self._peak = max(self._peak, int(found.group(1)) // 1000 if found else 0)

    # --- the fleet ----------------------------------------------------------------------------------------

    def start(self, count: int, *flags: str, url: str = "") -> List[WorkerProcess]:
        """Start workers, all at once, and wait until they are ready."""
        first = len(self.workers) + 1
        new = [
            self._start_worker(url or self.url, *QUICK, *flags, worker_id=f"w{n}", wait=False)
            for n in range(first, first + count)
        ]
        self.workers += new
        for worker in new:
            worker.wait_ready()
        return new

    def send(self, count: int, pace: float = 0.0) -> None:
        """Publish frames at QoS 1, as a plain camera does, without any spool."""
        infos = []
        for _ in range(count):
            frame_id = f"frame-{len(self.sent)}"
            properties = Properties(PacketTypes.PUBLISH)
            properties.UserProperty = ("frame-id", frame_id)
            payload = self.images[len(self.sent) % len(self.images)]
            topic = f"{self.root}/frames/c{len(self.sent) % 4}"
            infos.append(self._observer.publish(topic, payload, qos=1, properties=properties))
            self.sent[frame_id] = time.monotonic()
            time.sleep(pace)
        for info in infos:
            info.wait_for_publish(60)

    @contextlib.contextmanager
    def publisher(self, count: int, *flags: str) -> Any:
        """Publish by our own command, with its spool; yields the process."""
        images = self.folder / "images"
        images.mkdir(exist_ok=True)
        for number in range(count):
            (images / f"{number:05d}.jpg").write_bytes(
                self.images[number % len(self.images)] + b"%d" % number
            )
        output = self.folder / "publisher.log"
        with output.open("ab") as log, subprocess.Popen(
            [
                *(
                    sys.executable,
                    "-m",
                    "fleet",
                    "publish",
                    str(images),
                    "--broker",
                    self.url,
                    "--root",
                    self.root,
                ),
                *(
                    "--spool-dir",
                    str(self.folder / "spool"),
                    "--resend-after",
                    "2",
                    "--timeout",
                    "60",
                    *flags,
                ),
            ],
            stdout=log,
            stderr=log,
        ) as process:
            yield process
            process.kill()

    def published(self) -> str:
        """What the publisher said so far."""
        return (self.folder / "publisher.log").read_text()

    # --- the reckoning ------------------------------------------------------------------------------------

    @property
    def distinct(self) -> Counter[str]:
        """How often each frame was answered."""
        return Counter(frame_id for _, frame_id, _ in list(self.answers))

    def strike(self) -> None:
        """The fault happens now."""
        self.fault_at = time.monotonic()

    def wait_answers(self, count: int, timeout: float = 60.0) -> None:
        """Wait for so many distinct answers."""
        wait_for(
            lambda: len(self.distinct) >= count, timeout, f"{count} answers; there are {len(self.distinct)}"
        )

    def wait_all(self, timeout: float = 90.0) -> None:
        """Wait until every frame is answered, and then a moment for duplicates."""
        self.wait_answers(len(self.sent), timeout)
        time.sleep(1.0)
        assert set(self.sent) <= set(self.distinct)

    def expect(self, count: int) -> None:
        """The publisher will send so many frames, under ids of its own."""
        self.sent = {f"published-{number}": 0.0 for number in range(count)}

    def count_published(self) -> None:
        """Count by what the publisher has heard, each frame's one answer, and not by the observer.

        The observer hears nothing that is answered while the broker has lost the observer's session; the
        publisher asks again until it has heard each.
        """
        answered = re.findall(r"^\S+/(\d{5})\.jpg  \S+  .* ms  ", self.published(), re.MULTILINE)
        time.sleep(1.0)
        now = time.monotonic()
        heard = sum(self.distinct.values())
        self.answers = [(now - 1.0, f"published-{int(number)}", "answered") for number in answered]
        self.answers += [(now, self.answers[0][1], "again")] * max(0, heard - len(answered))

    def row(self) -> Row:
        """The case as it stands."""
        distinct = self.distinct
        seen: Dict[str, float] = {}
        for moment, frame_id, _ in self.answers:
            seen.setdefault(frame_id, moment)
        last = max(seen.values(), default=0.0)
        return Row(
            fault=self.fault,
            sent=len(self.sent),
            distinct_answers=len(distinct),
            lost=max(0, len(self.sent) - len(distinct)),
            duplicated=sum(distinct.values()) - len(distinct),
            peak_worker_MB=self._peak,
            seconds_to_recover=round(max(0.0, last - self.fault_at), 1) if self.fault_at else 0.0,
        )

    def close(self) -> None:
        """Stop observing."""
        self._ended.set()
        self._sampler.join()
        self._observer.disconnect()
        self._observer.loop_stop()
