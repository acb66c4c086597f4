"""`nanofleet cameras …` on a real broker, beside a real observer where one is needed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Callable

import pytest

from tests.fleet.observer.observing import ObserverProcess, send, states
from tests.fleets import Fleet
from tests.harness import Listener, nanofleet, wait_for
from wire.cameras import CameraSettings, CameraState
from wire.messages import utc_now

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def listener(mosquitto_url: str, root: str, fleet: Fleet) -> Listener:
    return fleet.listen("#")


@pytest.fixture
def cameras(mosquitto_url: str, root: str) -> Run:
    """Run `nanofleet cameras …` on this test's fleet."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return nanofleet("cameras", *arguments, "--broker", mosquitto_url, "--root", root)

    return run


def settings(listener: Listener, root: str) -> CameraSettings:
    """The settings of the door that were published last."""
    return CameraSettings.decode(listener.on(f"{root}/settings/cameras/door")[-1].payload)


def test_list_and_show(listener: Listener, root: str, cameras: Run) -> None:
    assert cameras("list").returncode == 1
    assert "no observer runs" in cameras("list").stdout
    door = CameraState(camera="door", name="Front [b]door", stable="cat", stable_confidence=0.9, frames=7)
    garden = CameraState(camera="garden", silent=True, last_seen=utc_now(), rejected_last=True)
    for state in (garden, door):
        listener.publish(f"{root}/cameras/{state.camera}", state.encode(), retain=True)
    listener.publish(f"{root}/cameras/lie", door.encode(), retain=True)
    shown = cameras("list")
    assert (shown.returncode, shown.stderr) == (0, "")
    _, first, second = shown.stdout.splitlines()
    assert all(text in first for text in ("door", "Front [b]door", "cat 90%", "7"))
    assert all(text in second for text in ("garden", "none", "silent, last one rejected"))
    in_json = [CameraState.decode(line.encode()) for line in cameras("list", "--json").stdout.splitlines()]
    assert in_json == [door, garden]
    assert cameras("show", "nobody").returncode == 1
    shown = cameras("show", "door")
    assert shown.returncode == 0
    assert "stable            cat" in shown.stdout
    assert "settings: none" in shown.stdout
    assert json.loads(cameras("show", "garden", "--json").stdout)["state"]["silent"] is True


def test_set_changes_what_is_named_and_keeps_the_rest(
    listener: Listener, root: str, cameras: Run, tmp_path: Path
) -> None:
    assert cameras("set", "door", "name=Front door", "region=0,0.25,1,1", "k=2", "n=4").returncode == 0
    found = settings(listener, root)
    assert (found.name, found.region) == ("Front door", (0, 0.25, 1, 1))
    assert (found.stable.k, found.stable.n, found.stable.min_confidence) == (2, 4, 0.5)
    groups = tmp_path / "pets.toml"
    groups.write_text('pet = ["tabby", "beagle"]', encoding="utf-8")
    assert cameras("set", "door", "region=", f"groups={groups}", "of=group", "max_age=2.5").returncode == 0
    found = settings(listener, root)
    assert (found.name, found.region, found.groups) == ("Front door", None, {"pet": ("tabby", "beagle")})
    assert (found.stable.k, found.stable.of, found.max_age) == (2, "group", 2.5)
    assert '"pet"' in cameras("show", "door").stdout
    assert found.skip_still is None
    for text, value in (("true", True), ("false", False), ("", None)):
        assert cameras("set", "door", f"skip_still={text}").returncode == 0
        assert settings(listener, root).skip_still is value
        shown = cameras("show", "door").stdout
        assert f"skip_still        {json.dumps(value) if text else '-'}" in shown


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("nmae=x", "'nmae=x': write SETTING=VALUE; there are name, area"),
        ("name", "'name': write SETTING=VALUE"),
        (
            "k=9",
            "nothing was changed: stable: k is 9, but n is 5",
        ),
        ("region=0,0,2,1", "nothing was changed: region: a region is left, top, right, bottom"),
        ("region=0,0.5,1", "region=0,0.5,1: write left,top,right,bottom from 0 to 1"),
        ("region=0,a,1,1", "region=0,a,1,1: write left,top,right,bottom"),
        ("min_confidence=x", "min_confidence=x: write a number above 0, at most 1"),
        ("min_confidence=50", "nothing was changed: stable.min_confidence"),
        ("silent_after=never", "silent_after=never: write seconds; 0: never"),
        ("groups=pets", "groups=pets: write home, none, or a file that ends in .toml"),
        ("skip_still=perhaps", "skip_still=perhaps: write true or false"),
        ("of=both", "of=both: write label or group"),
        ("groups=missing.toml", "group file missing.toml: No such file"),
    ],
)
def test_a_wrong_value_changes_nothing(
    listener: Listener, root: str, cameras: Run, change: str, said: str
) -> None:
    run = cameras("set", "door", "area=Hall", change)
    assert run.returncode == 2
    assert said in run.stderr
    assert not listener.on(f"{root}/settings/")


def test_settings_that_cannot_be_read_are_replaced_on_demand_alone(
    listener: Listener, root: str, cameras: Run
) -> None:
    """Such as those that a newer release has written, with a field that this one does not know."""
    newer = CameraSettings(region=(0, 0, 1, 0.5)).encode()[:-1] + b', "zoom": 2}'
    listener.publish(f"{root}/settings/cameras/door", newer, retain=True)
    run = cameras("set", "door", "name=Door")
    assert run.returncode == 2
    assert f"nothing was changed: what stands on {root}/settings/cameras/door cannot be read" in run.stderr
    assert "zoom: Extra inputs are not permitted" in run.stderr
    assert [message.payload for message in listener.on(f"{root}/settings/")] == [newer]
    shown = cameras("show", "door")
    assert (shown.returncode, shown.stdout) == (1, "state: none\nsettings: cannot be read\n")
    assert "zoom" in shown.stderr
    assert cameras("set", "door", "name=Door", "--replace").returncode == 0
    assert settings(listener, root) == CameraSettings(name="Door")


def test_groups_of_all_labels_of_a_large_model(
    listener: Listener, root: str, cameras: Run, tmp_path: Path
) -> None:
    groups = tmp_path / "groups.toml"
    labels = [f"species {n}" for n in range(10_000)]
    groups.write_text(f"fish = {json.dumps(labels)}", encoding="utf-8")
    assert cameras("set", "door", f"groups={groups}").returncode == 0
    assert settings(listener, root).groups == {"fish": tuple(labels)}
    assert cameras("set", "door", "name=Door").returncode == 0
    assert settings(listener, root).groups == {"fish": tuple(labels)}


def test_settings_that_nobody_would_read_are_not_set(
    listener: Listener, root: str, cameras: Run, tmp_path: Path
) -> None:
    groups = tmp_path / "groups.toml"
    groups.write_text(f"fish = {json.dumps([f'{n:0200}' for n in range(2000)])}", encoding="utf-8")
    run = cameras("set", "door", f"groups={groups}")
    assert run.returncode == 2
    assert "nothing was changed: not a CameraSettings: 406" in run.stderr
    assert "bytes, at most 262144 are read" in run.stderr
    assert not listener.on(f"{root}/settings/")


def test_a_removed_camera_is_gone_until_it_sends_a_frame(
    mosquitto_url: str,
    root: str,
    tmp_path: Path,
    listener: Listener,
    fleet: Fleet,
    cameras: Run,
) -> None:
    observer = ObserverProcess(tmp_path, mosquitto_url, root, "o1")
    try:
        observer.wait_active()
        assert cameras("set", "door", "name=Front door").returncode == 0
        for n in range(30):
            send(listener, root, n, 1)
        wait_for(lambda: states(listener, root) and states(listener, root)[-1].name == "Front door")
        listener.publish(f"{root}/snapshots/door", b"jpeg", retain=True)
        removed = cameras("remove", "door")
        assert (removed.returncode, removed.stdout) == (0, "door: removed\n")
        listener.publish(f"{root}/control/announce", b"")
        send(listener, root, 0, 1, camera="garden")  # by its state the observer has read all before it
        wait_for(lambda: states(listener, root, "garden"))
        late = fleet.listen("#")
        listener.publish(f"{root}/marker", b"after all that is retained")
        wait_for(lambda: late.on(f"{root}/marker"), what="the marker")
        assert not [m.topic for m in late.messages if "door" in m.topic]
        assert cameras("remove", "door").returncode == 1
        send(listener, root, 100, 1)
        wait_for(lambda: (states(listener, root)[-1].frames, states(listener, root)[-1].name) == (1, ""))
    finally:
        assert observer.stop() == 0


def test_a_camera_is_named_as_its_topic_can_be(cameras: Run) -> None:
    for command in (["show", "a/b"], ["set", "a b", "name=x"], ["remove", "door", "+"]):
        run = cameras(*command)
        assert run.returncode == 2
        assert "a camera is 1 to 64 letters, digits, - and _" in run.stderr
