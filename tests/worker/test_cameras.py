"""What a worker heeds of each camera's settings."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from typing import Mapping, Optional

import pytest

from tests.worker.path import FramesPath
from wire.cameras import CameraSettings, Stability
from wire.messages import utc_now
from wire.picture.region import WHOLE
from worker.camera_notes import CameraNotes
from worker.cameras import Cameras
from worker.settings import WorkerSettings

RIGHT_HALF = (0.5, 0.0, 1.0, 1.0)


def begun(folder: Path, file: Optional[Mapping[str, CameraSettings]] = None) -> Cameras:
    """Cameras of a worker that has started, with what one before it has noted."""
    return Cameras(WorkerSettings(), file or {}, CameraNotes(folder / "w1.cameras"))


def test_a_camera_without_settings_is_seen_whole_and_in_the_homes_groups(tmp_path: Path) -> None:
    cameras = begun(tmp_path)
    assert (cameras.of("door").region, cameras.of("door").max_age) == (WHOLE, None)
    assert cameras.of("door").grouping is cameras.of("garden").grouping
    assert cameras.of("door").grouping is not None


def test_what_is_retained_replaces_what_the_file_says_until_it_is_taken_back(
    tmp_path: Path,
) -> None:
    cameras = begun(tmp_path, {"door": CameraSettings(max_age=5.0)})
    cameras.receive("door", CameraSettings(region=RIGHT_HALF, groups="none").encode())
    assert (cameras.of("door").region, cameras.of("door").max_age) == (RIGHT_HALF, None)
    assert cameras.of("door").grouping is None
    cameras.receive("door", b"")
    assert (cameras.of("door").region, cameras.of("door").max_age) == (WHOLE, 5.0)


def test_groups_of_ones_own_change_with_the_settings(tmp_path: Path) -> None:
    cameras = begun(tmp_path)
    cameras.receive("door", CameraSettings(groups={"pet": ("tabby",)}).encode())
    first = cameras.of("door").grouping
    assert cameras.of("door").grouping is first
    assert first is not cameras.of("garden").grouping
    cameras.receive("door", CameraSettings(groups={"pet": ("pug",)}).encode())
    assert cameras.of("door").grouping is not first


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b'{"regoin": [0, 0, 1, 1]}', "regoin"),
        (b'{"region": [0.5, 0, 0.5, 1]}', "region"),
        (b'{"groups": "hoem"}', "groups"),
        (b'{"groups": {"cat": ["tabby"], "pet": ["tabby"]}}', "'tabby' stands in 'cat' and in 'pet'"),
        (b'{"stable": {"k": 4, "n": 3}}', "k is 4"),
        (b"region", "JSON"),
    ],
)
def test_wrong_settings_change_nothing_and_are_logged_once(
    tmp_path: Path, payload: bytes, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    cameras = begun(tmp_path)
    cameras.receive("door", CameraSettings(region=RIGHT_HALF, stable=Stability(k=2)).encode())
    with caplog.at_level(logging.WARNING):
        cameras.receive("door", payload)
        cameras.receive("door", payload)
    assert cameras.of("door").region == RIGHT_HALF
    assert [said in record.getMessage() for record in caplog.records] == [True]


def test_a_frame_takes_its_cameras_settings_along(tmp_path: Path) -> None:
    path = FramesPath(tmp_path)
    path.cameras.receive("door", CameraSettings(region=RIGHT_HALF, groups="none").encode())
    with path.pipeline:
        path.receive(1)
    assert (path.models.jobs[0].region, path.models.jobs[0].grouping) == (RIGHT_HALF, None)


def test_a_cameras_own_age_goes_before_the_workers(tmp_path: Path) -> None:
    path = FramesPath(tmp_path, max_age=["3600"])
    path.cameras.receive("door", CameraSettings(max_age=0.5).encode())
    now = utc_now()
    with path.pipeline:
        path.receive(1, captured_at=(now - timedelta(seconds=10)).isoformat(), sent_at=now.isoformat())
        (rejection,) = path.answers()
    assert "at most 0.5 s are taken" in rejection.detail


def test_the_age_0_is_never_too_old(tmp_path: Path) -> None:
    path = FramesPath(tmp_path, max_age=["1"])
    path.cameras.receive("door", CameraSettings(max_age=0).encode())
    now = utc_now()
    with path.pipeline:
        path.receive(1, captured_at=(now - timedelta(seconds=10)).isoformat(), sent_at=now.isoformat())
        assert path.answers() == []
        assert len(path.models.jobs) == 1


def test_the_next_process_begins_with_what_was_retained(tmp_path: Path) -> None:
    """A broker that has kept the session may hand over frames first, or never send the settings again."""
    cameras = begun(tmp_path)
    cameras.receive("door", CameraSettings(region=RIGHT_HALF).encode())
    cameras.receive("door", b"not these")
    cameras.receive("garden", CameraSettings(max_age=3.0).encode())
    cameras.receive("hall", CameraSettings(max_age=3.0).encode())
    cameras.receive("hall", b"")
    again = begun(tmp_path, {"hall": CameraSettings(max_age=9.0)})
    assert again.of("door").region == RIGHT_HALF
    assert (again.of("garden").max_age, again.of("hall").max_age) == (3.0, 9.0)
    modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "w1.cameras").iterdir()]
    assert modes == [0o600, 0o600]


def test_a_broken_note_is_named_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cameras = begun(tmp_path)
    for camera in ("door", "garden"):
        cameras.receive(camera, CameraSettings(max_age=3.0).encode())
    broken = tmp_path / "w1.cameras" / "door.json"
    broken.write_bytes(broken.read_bytes()[:-4])
    again = begun(tmp_path)
    assert (again.of("door").max_age, again.of("garden").max_age) == (None, 3.0)
    assert [f"{broken} is ignored: " in line for line in caplog.messages] == [True]
    again.receive("door", CameraSettings(max_age=4.0).encode())
    assert begun(tmp_path).of("door").max_age == 4.0


def test_a_disk_that_takes_no_note_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "w1.cameras").write_bytes(b"a file, and no folder")
    cameras = begun(tmp_path)
    cameras.receive("door", CameraSettings(max_age=3.0).encode())
    assert cameras.of("door").max_age == 3.0
    cameras.receive("door", b"")
    assert cameras.of("door").max_age is None
    assert "settings of camera door are not noted, for the next start: " in caplog.text


@pytest.mark.parametrize("everywhere", [False, True])
def test_whether_still_frames_are_skipped_is_each_cameras_own_matter(
    tmp_path: Path, everywhere: bool
) -> None:
    settings = WorkerSettings(skip_still=everywhere)
    file = {"garden": CameraSettings(skip_still=not everywhere)}
    cameras = Cameras(settings, file, CameraNotes(tmp_path / "w1.cameras"))
    cameras.receive("door", CameraSettings(skip_still=not everywhere).encode())
    found = [cameras.of(camera).skip_still for camera in ("hall", "garden", "door")]
    assert found == [everywhere, not everywhere, not everywhere]
    cameras.receive("door", b"")
    assert cameras.of("door").skip_still is everywhere
