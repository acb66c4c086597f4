"""`nanofleet results`, on a real broker with answers as workers publish them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from typing import Any, Callable, Iterator, List

import pytest

from fleet.results.run import matches
from fleet.results.settings import ResultsSettings
from tests.fleet.members import rejection, result
from tests.fleets import Fleet
from tests.harness import wait_for
from wire.errors import SettingsError
from wire.messages import Candidate


class Shown:
    """A `nanofleet results` that runs, and what it has printed."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
        )
        self.lines: List[str] = []
        self.errors: List[str] = []
        self._threads = [
            threading.Thread(target=lambda s=stream, to=to: to.extend(s))  # type: ignore[misc]
            for stream, to in ((self.process.stdout, self.lines), (self.process.stderr, self.errors))
        ]
        for thread in self._threads:
            thread.start()

    def wait(self) -> int:
        """The exit code, once all is read."""
        code = self.process.wait(60)
        self.close()
        return code

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


@pytest.fixture
def show(mosquitto: Callable[..., Any], root: str, fleet: Fleet) -> Iterator[Callable[..., Any]]:
    """Start `nanofleet results`, and wait for its subscription; returns it and two ways to publish."""
    started: List[Shown] = []
    broker = mosquitto()
    publisher = fleet.at(broker.url).listen()

    def start(*flags: str) -> Any:
        log = broker.log.read_text().count("Sending SUBACK to nanofleet-results-")
        command = (sys.executable, "-m", "fleet", "results", "--broker", broker.url, "--root", root)
        started.append(Shown(*command, *flags))
        wait_for(
            lambda: (
                broker.log.read_text().count("Sending SUBACK to nanofleet-results-") > log
                or started[-1].process.poll() is not None
            ),
            what="its subscription",
        )

        def publish(*messages: Any) -> None:
            for message in messages:
                kind = "rejects" if hasattr(message, "reason") else "results"
                publisher.publish(f"{root}/{kind}/{message.camera}", message.encode())

        return started[-1], publish, publisher

    yield start
    for shown in started:
        shown.close()


def test_a_line_for_each_answer(show: Any) -> None:
    shown, publish, _ = show("--count", "4")
    publish(result(label="Egyptian cat", confidence=0.934), rejection(), result("garden", complete=False))
    publish(result(repeats="frame-7"))
    assert shown.wait() == 0
    assert shown.errors == []
    first, second, third, fourth = (line.rstrip().split("  ") for line in shown.lines)
    assert first[0].endswith("Z")
    assert first[1:] == ["door", "Egyptian cat 0.93", "12 ms", "nano-1"]
    assert second[1:] == ["door", "REJECTED not_an_image: no picture", "nano-1"]
    assert third[1:] == ["garden", "cat 0.90", "12 ms", "nano-1", "a part of the image was missing"]
    assert fourth[1:] == ["door", "cat 0.90", "12 ms", "nano-1", "still as frame-7"]


def test_json_is_the_message_and_its_topic(show: Any, root: str) -> None:
    shown, publish, publisher = show("--count", "3", "--json")
    publish(result(label="café"), rejection(detail="\x1b[2J"))
    newer = {**json.loads(result().encode()), "topic": "elsewhere", "new": 1}
    publisher.publish(f"{root}/results/door", json.dumps(newer).encode())
    assert shown.wait() == 0
    first, second, third = map(json.loads, shown.lines)
    assert (first["topic"], first["label"], first["schema"]) == (f"{root}/results/door", "café", 1)
    assert (second["topic"], second["reason"]) == (f"{root}/rejects/door", "not_an_image")
    assert (third["topic"], third["new"]) == (f"{root}/results/door", 1)
    assert "\x1b" not in "".join(shown.lines)


def test_what_cannot_be_read_is_named_and_the_others_go_on(show: Any, root: str) -> None:
    shown, publish, publisher = show("--count", "1")
    publisher.publish(f"{root}/results/door", b"\x1b[2J{")
    publish(result(label="\x1b[31mred"))
    assert shown.wait() == 0
    assert "\\x1b[31mred" in shown.lines[0]
    assert "not a Result" in "".join(shown.errors)
    assert "\x1b" not in "".join([*shown.lines, *shown.errors])


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), ["door cat", "door dog", "garden cat", "door rejected"]),
        (("--camera", "garden"), ["garden cat"]),
        (("--camera", "garden,door", "--no-rejections"), ["door cat", "door dog", "garden cat"]),
        (("--label", "CAT"), ["door cat", "garden cat"]),
        (("--label", "cat", "--rejections"), ["door cat", "garden cat", "door rejected"]),
        (("--min-confidence", "0.5"), ["door dog"]),
        (("--camera", "hall"), []),
    ],
)
def test_filters(show: Any, flags: Any, expected: List[str]) -> None:
    shown, publish, _ = show("--json", "--timeout", "2.5", *flags)
    publish(result(confidence=0.4), result(label="dog"), result("garden", confidence=0.4), rejection())
    assert shown.wait() == (0 if expected else 1)
    found = [json.loads(line) for line in shown.lines]
    assert [f"{m['camera']} {m.get('label', 'rejected')}" for m in found] == expected


def test_timeout_ends_it_before_the_count(show: Any) -> None:
    shown, publish, _ = show("--count", "2", "--timeout", "2")
    publish(result())
    assert shown.wait() == 1
    assert len(shown.lines) == 1


def test_ctrl_c_ends_it_well_unless_it_was_to_count(show: Any) -> None:
    for flags, code in (((), 0), (("--count", "2"), 130)):
        shown, publish, _ = show(*flags)
        publish(result())
        wait_for(lambda shown=shown: shown.lines, what="a line")
        shown.process.send_signal(signal.SIGINT)
        assert shown.wait() == code
        assert shown.errors == []


def test_a_reader_that_leaves_ends_it_quietly_on_a_quiet_fleet(
    mosquitto: Callable[..., Any], root: str, fleet: Fleet
) -> None:
    broker = mosquitto()
    publisher = fleet.at(broker.url).listen()
    command = f"{sys.executable} -m fleet results --broker {broker.url} --root {root} | head -n 1"
    with subprocess.Popen(
        ["bash", "-o", "pipefail", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as shown:
        wait_for(lambda: "SUBACK to nanofleet-results-" in broker.log.read_text(), what="its subscription")
        publisher.publish(f"{root}/results/door", result().encode())
        out, errors = shown.communicate(timeout=30)
    assert (shown.returncode, errors) == (0, "")
    assert "cat 0.90" in out


def test_it_goes_on_when_the_broker_was_away(mosquitto: Callable[..., Any], root: str, fleet: Fleet) -> None:
    broker = mosquitto()
    shown = Shown(
        *(sys.executable, "-m", "fleet", "results", "--broker", broker.url, "--root", root, "--count", "1")
    )
    try:
        wait_for(lambda: "SUBACK to nanofleet-results-" in broker.log.read_text(), what="its subscription")
        broker.stop()
        broker.start()
        count = "SUBACK to nanofleet-results-"
        wait_for(lambda: broker.log.read_text().count(count) == 2, what="its subscription once more")
        fleet.at(broker.url).listen().publish(f"{root}/results/door", result().encode())
        assert shown.wait() == 0
        assert "trying again" in "".join(shown.errors)
    finally:
        shown.close()


@pytest.mark.parametrize(
    ("label", "wanted", "found"),
    [
        ("Egyptian cat", "cat", True),
        ("catamaran", "cat", False),
        ("tiger cat, Felis", "tiger cat", True),
        ("cat_house", "cat", False),
        ("CAT", "cat", True),
        ("Wöhler", "w", False),
        ("C++", "c++", True),
        ("dog", "cat", False),
    ],
)
def test_labels_are_found_by_whole_words(label: str, wanted: str, found: bool) -> None:
    assert matches(result(label=label), [wanted], 0.0) == found


def test_of_several_labels_each_counts_with_its_own_confidence() -> None:
    top = tuple(
        Candidate(label=name, index=n, confidence=c)
        for n, (name, c) in enumerate([("dog", 0.9), ("cat", 0.6), ("fish", 0.2)])
    )
    both = result(label="dog", top=top, labels=("dog", "cat", "bird"))
    assert matches(both, ["cat"], 0.6)
    assert not matches(both, ["cat"], 0.7)
    assert matches(both, [], 0.7)
    assert matches(both, ["bird"], 0.0)  # seen, but below the top: its confidence is unknown
    assert not matches(both, ["bird"], 0.1)
    assert not matches(both, ["fish"], 0.0)  # of the top, and not seen
    nothing = result(label="dog", labels=())
    assert matches(nothing, [], 0.0)
    assert not matches(nothing, ["dog"], 0.0)


@pytest.mark.parametrize(
    "argv", [["--camera", "a/b"], ["--count", "0"], ["--min-confidence", "2"], ["--timeout", "0"]]
)
def test_wrong_settings(argv: List[str]) -> None:
    with pytest.raises(SettingsError, match=argv[0]):
        ResultsSettings.from_command_line("results", argv)
