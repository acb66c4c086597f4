"""Observers on real brokers: what they publish, and which of them does."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Callable, List

from tests.fleet.members import publish_status, rejection
from tests.fleet.observer.observing import ObserverProcess, active, last_state, send, states
from tests.fleets import Fleet
from tests.harness import Listener, Mosquitto, wait_for
from tests.tiny import COFFEE
from wire.cameras import CameraEvent, CameraSettings, Stability
from wire.messages import Reason

Observe = Callable[..., ObserverProcess]


def events(listener: Listener, root: str) -> List[CameraEvent]:
    return [CameraEvent.decode(m.payload) for m in listener.on(f"{root}/events/")]


def wait_frames(listener: Listener, root: str, frames: int, camera: str = "door") -> None:
    def there() -> bool:
        state = last_state(listener, root, camera)
        return state is not None and state.frames == frames

    wait_for(there, what=f"{frames} frames, but {last_state(listener, root, camera)}")


def wait_stable(listener: Listener, root: str, label: str, camera: str = "door") -> None:
    def there() -> bool:
        state = last_state(listener, root, camera)
        return state is not None and state.stable == label

    wait_for(there, what=f"stable {label}, but {last_state(listener, root, camera)}")


def test_answers_become_a_state_and_an_event(
    broker_url: str, root: str, observe: Observe, fleet: Fleet
) -> None:
    listener = fleet.at(broker_url).listen("cameras/+", "events/+")
    observe(broker_url).wait_active()
    send(listener, root, 1, 3)
    wait_stable(listener, root, "cat")
    listener.publish(f"{root}/rejects/door", rejection().encode())
    wait_for(lambda: states(listener, root)[-1].rejections, what="the rejection")
    state = states(listener, root)[-1]
    assert (state.camera, state.frames, state.rejections) == ("door", 3, 1)
    assert (state.label, state.confidence, state.stable, state.last_known) == ("cat", 0.9, "cat", "cat")
    assert (state.rejected_last, state.last_rejection) == (True, Reason.NOT_AN_IMAGE)
    assert (state.worker, state.model, state.silent) == ("nano-1", "m", False)
    (event,) = events(listener, root)
    assert (event.camera, event.label, event.confidence, event.frame_id) == ("door", "cat", 0.9, "door-3")
    late = fleet.at(broker_url).listen("cameras/+", "events/+")
    wait_for(lambda: last_state(late, root) == state, what="the retained state")
    assert not events(late, root)


def test_a_killed_observer_is_replaced_and_nothing_is_counted_twice(
    broker_url: str, root: str, observe: Observe, fleet: Fleet
) -> None:
    listener = fleet.at(broker_url).listen("#")
    observers = [observe(broker_url, f"o{n}") for n in (1, 2, 3)]
    first = wait_for(lambda: [each for each in observers if each.is_active])[0]
    send(listener, root, 1, 4)
    wait_stable(listener, root, "cat")
    wait_frames(listener, root, 4)
    first.stop(signal.SIGKILL)
    others = [each for each in observers if each is not first]
    second = wait_for(lambda: [each for each in others if each.is_active], what="another one")[0]
    send(listener, root, 5, 3)
    wait_frames(listener, root, 7)
    assert {state.stable for state in states(listener, root) if state.frames >= 4} == {"cat"}
    assert len(events(listener, root)) == 1
    assert active(listener, root) == [second.id]
    assert [each.is_active for each in others].count(True) == 1


def test_one_that_was_frozen_publishes_nothing_that_another_has_replaced(
    broker_url: str, root: str, observe: Observe, fleet: Fleet
) -> None:
    listener = fleet.at(broker_url).listen("#")
    observers = [observe(broker_url, f"o{n}") for n in (1, 2)]
    first = wait_for(lambda: [each for each in observers if each.is_active])[0]
    send(listener, root, 1, 3)
    wait_frames(listener, root, 3)
    first.send_signal(signal.SIGSTOP)
    (second,) = [each for each in observers if each is not first]
    second.wait_active()
    send(listener, root, 4, 3, "dog")
    send(listener, root, 7, 2, "dog")
    wait_stable(listener, root, "dog")
    wait_frames(listener, root, 8)
    since = len(listener.on(f"{root}/cameras/"))
    first.send_signal(signal.SIGCONT)
    wait_for(lambda: first.said("no longer observing") or first.said("not observing"), what="it notices")
    wait_for(lambda: active(listener, root) == [second.id], what="one active")
    send(listener, root, 9, 2, "dog")
    wait_frames(listener, root, 10)
    assert all(state.frames > 8 for state in states(listener, root)[since:])
    assert [event.label for event in events(listener, root)] == ["cat", "dog"]
    assert second.is_active


def test_one_that_leaves_hands_over_all_that_it_has_counted(
    mosquitto_url: str, root: str, observe: Observe, fleet: Fleet
) -> None:
    listener = fleet.listen("#")
    first = observe(mosquitto_url, "o1")
    first.wait_active()
    send(listener, root, 1, 3)
    wait_stable(listener, root, "cat")
    send(listener, root, 4, 2)
    assert first.stop() == 0
    wait_frames(listener, root, 5)
    assert listener.on(f"{root}/observers/o1")[-1].payload == b""
    second = observe(mosquitto_url, "o2")
    second.wait_active()
    send(listener, root, 6, 1)
    wait_frames(listener, root, 6)
    assert {state.stable for state in states(listener, root) if state.frames > 3} == {"cat"}


def test_who_asks_gets_every_state_again(
    mosquitto_url: str, root: str, observe: Observe, fleet: Fleet
) -> None:
    listener = fleet.listen("cameras/+")
    observe(mosquitto_url).wait_active()
    for camera in ("door", "garden"):
        send(listener, root, 1, 1, camera=camera)
        wait_frames(listener, root, 1, camera)
    before = len(listener.messages)
    listener.publish(f"{root}/control/announce", b"")
    wait_for(lambda: len(listener.messages) == before + 2, what="both states")
    assert {m.topic for m in listener.messages[before:]} == {
        f"{root}/cameras/{c}" for c in ("door", "garden")
    }


def test_another_model_has_every_state_published_again(
    mosquitto_url: str, root: str, observe: Observe, fleet: Fleet
) -> None:
    listener = fleet.listen("cameras/+")
    observe(mosquitto_url).wait_active()
    publish_status(listener, root, "nano-1")
    send(listener, root, 1, 1)
    wait_frames(listener, root, 1)
    before = len(listener.messages)
    publish_status(listener, root, "nano-1", model="resnet18")
    wait_for(lambda: len(listener.messages) == before + 1, what="the state again")


def test_models_that_change_all_the_time_flood_nobody(
    mosquitto_url: str, root: str, observe: Observe, fleet: Fleet
) -> None:
    listener = fleet.listen("cameras/+", "workers/+")
    observe(mosquitto_url).wait_active()
    send(listener, root, 1, 1)
    wait_frames(listener, root, 1)
    for n in range(100):
        publish_status(listener, root, "nano-1", model=f"m{n}")
        send(listener, root, n + 2, 1)
        wait_for(lambda n=n: listener.on(f"{root}/workers/")[n:], what="the status")
    wait_frames(listener, root, 101)
    assert len(listener.on(f"{root}/cameras/")) < 12


def test_nobody_keeps_it_from_going_on_by_messages_that_are_not_retained(
    mosquitto_url: str, root: str, observe: Observe, fleet: Fleet
) -> None:
    listener = fleet.listen("nothing")
    topics = (f"{root}/settings/cameras/x", f"homeassistant/device/{root}/x/config")
    observer = observe(mosquitto_url)

    def is_active_in_spite_of_them() -> bool:
        for topic in topics:
            listener.publish(topic, b"{}")
        return observer.is_active

    wait_for(is_active_in_spite_of_them, what="active")


def test_a_camera_that_sends_nothing_is_silent(
    mosquitto_url: str, root: str, observe: Observe, fleet: Fleet
) -> None:
    listener = fleet.listen("cameras/+")
    observe(mosquitto_url, "o1", "--silent-after", "1").wait_active()
    send(listener, root, 1, 1)
    wait_for(lambda: states(listener, root) and states(listener, root)[-1].silent, what="silence")
    send(listener, root, 2, 1)
    wait_for(lambda: not states(listener, root)[-1].silent, what="the end of the silence")


def test_settings_are_followed_at_once_and_wrong_ones_change_nothing(
    mosquitto_url: str, root: str, observe: Observe, fleet: Fleet
) -> None:
    listener = fleet.listen("cameras/+")
    observer = observe(mosquitto_url)
    observer.wait_active()
    send(listener, root, 1, 1)
    wait_frames(listener, root, 1)
    settings = CameraSettings(name="Front door", stable=Stability(k=1, n=1))
    topic = f"{root}/settings/cameras/door"
    listener.publish(topic, settings.encode(), retain=True)
    wait_for(lambda: states(listener, root)[-1].name == "Front door", what="the name")
    for wrong in (b"{", b'{"stable": {"k": 4, "n": 3}}', b'{"nmae": "x"}', b'{"nmae": "x"}'):
        listener.publish(topic, wrong)
    send(listener, root, 2, 1, "dog")
    wait_stable(listener, root, "dog")  # by one frame
    assert states(listener, root)[-1].name == "Front door"
    assert observer.log.read_text().count("settings of camera door are ignored") == 3
    assert "nmae" in observer.log.read_text()
    listener.publish(topic, b"", retain=True)
    wait_for(lambda: states(listener, root)[-1].name == "", what="no name")


def test_lies_and_rubbish_end_nobody(mosquitto_url: str, root: str, observe: Observe, fleet: Fleet) -> None:
    listener = fleet.listen("nothing")
    for topic in ("cameras/old", "observers/o9", "workers/w", "settings/cameras/door"):
        listener.publish(f"{root}/{topic}", b"rubbish", retain=True)
    observer = observe(mosquitto_url)
    observer.wait_active()
    names = ("observers/o8", "results/door", "rejects/door", "workers/v", "control/announce", "cameras/x")
    for topic in (*names, "cameras/a b", "cameras/door", "settings/cameras/x", "results/" + 300 * "x"):
        listener.publish(f"{root}/{topic}", b'{"schema": 1}')
        listener.publish(f"{root}/{topic}", b"")
    reader = fleet.listen("cameras/door")
    send(listener, root, 1, 3)
    wait_stable(reader, root, "cat")
    assert observer.process.poll() is None


def test_a_worker_observes_beside_its_work(
    mosquitto_url: str,
    root: str,
    fleet: Fleet,
    photos: Path,
) -> None:
    worker = fleet.worker("--observe", "--status-interval", "0.5")
    worker.wait_said("observing the cameras of")
    listener = fleet.listen("cameras/+", "observers/+")
    listener.publish(f"{root}/frames/door", (photos / "coffee.png").read_bytes())
    wait_frames(listener, root, 1)
    assert states(listener, root)[-1].label == COFFEE
    assert states(listener, root)[-1].worker == worker.id
    assert worker.stop() == 0
    wait_for(lambda: listener.on(f"{root}/observers/")[-1].payload == b"", what="its farewell")


def test_a_killed_worker_is_replaced_as_observer_too(mosquitto_url: str, root: str, fleet: Fleet) -> None:
    quick = ("--observe", "--status-interval", "0.5", "--adopt-after", "0")
    workers = [fleet.worker(*quick, id=f"w{n}", wait=False) for n in (1, 2)]
    first = wait_for(lambda: [each for each in workers if each.said("observing the cameras of")])[0]
    (second,) = [each for each in workers if each is not first]
    second.wait_ready()
    first.stop(signal.SIGKILL)
    second.wait_said("observing the cameras of")
    listener = fleet.listen("cameras/+")
    send(listener, root, 1, 3)
    wait_stable(listener, root, "cat")


def test_a_broker_that_lets_it_write_no_status_is_named(
    mosquitto: Callable[..., Mosquitto], root: str, observe: Observe, tmp_path: Path
) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic read #\ntopic write frames/+\n")
    observer = observe(mosquitto("user root", "allow_anonymous true", f"acl_file {acl}").url)
    assert observer.process.wait(30) == 3
    assert f"refuses {root}/observers/o1 (0x87): its ACL must let this user write there" in (
        observer.log.read_text()
    )


def test_one_that_stands_by_reads_no_answer(
    mosquitto: Callable[..., Mosquitto], root: str, observe: Observe, fleet: Fleet
) -> None:
    broker = mosquitto()
    observers = [observe(broker.url, f"o{n}") for n in (1, 2, 3)]
    first = wait_for(lambda: [each for each in observers if each.is_active])[0]
    listener = fleet.at(broker.url).listen("cameras/+", "observers/+")
    wait_for(lambda: len({m.topic for m in listener.on(f"{root}/observers/")}) == 3, what="all three")
    others = [each for each in observers if each is not first]
    said = f"standing by: {first.id} observes {root}"
    wait_for(lambda: all(each.said(said) for each in others), what="who observes instead")
    send(listener, root, 1, 3)
    wait_stable(listener, root, "cat")
    sent = [line for line in broker.log.read_text().splitlines() if f"'{root}/results/door'" in line]
    receivers = {line.partition("Sending PUBLISH to ")[2].split()[0] for line in sent if "Sending" in line}
    assert len(receivers) == 1
    assert receivers.pop().startswith(f"nanofleet-following-{first.id}-")
    assert [each.log.read_text().count("standing by") for each in others] == [1, 1]


def test_it_waits_for_a_broker_and_goes_on_with_the_next_one(
    mosquitto: Callable[..., Mosquitto], root: str, observe: Observe, fleet: Fleet
) -> None:
    broker = mosquitto()
    broker.stop()
    observer = observe(broker.url)
    wait_for(lambda: observer.said("trying again"), what="its complaint")
    broker.start()
    observer.wait_active()
    broker.stop(signal.SIGKILL)
    broker.start()
    listener = fleet.at(broker.url).listen("#")
    wait_for(lambda: active(listener, root) == ["o1"], what="active again")
    subscribed = f"{root}/results/+ (QoS"  # by a connection of its own, which may come later
    wait_for(lambda: broker.log.read_text().count(subscribed) == 2, what="subscribed to both brokers")
    send(listener, root, 1, 3)
    wait_stable(listener, root, "cat")
