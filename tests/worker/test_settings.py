"""What a worker's settings make of what they are given."""

from __future__ import annotations

from pathlib import Path
from typing import List

import pytest

from wire.errors import SettingsError
from worker import memory
from worker.settings import WorkerSettings


def settings(*argv: str) -> WorkerSettings:
    return WorkerSettings.from_command_line("nanofleet worker", argv)


def test_a_frame_is_never_too_old_by_default() -> None:
    assert settings().max_age_of("door") is None


def test_ages_for_all_cameras_and_for_one() -> None:
    given = settings("--max-age", "30", "--max-age", "door=0.5,hall=2")
    assert [given.max_age_of(camera) for camera in ("door", "hall", "yard")] == [0.5, 2, 30]
    assert settings("--max-age", "door=0.5").max_age_of("yard") is None


@pytest.mark.parametrize("text", ["max_age = 1.5", 'max_age = [1.5, "door=9"]', 'max_age = "1.5"'])
def test_ages_in_a_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "worker.toml").write_text(text)
    assert settings("--config", str(tmp_path / "worker.toml")).max_age_of("yard") == 1.5


@pytest.mark.parametrize("argv", [["0"], ["-1"], ["soon"], ["inf"], ["nan"], ["a door=3"], ["=3x"]])
def test_ages_that_are_none(argv: List[str]) -> None:
    with pytest.raises(SettingsError, match=r"--max-age.*seconds, or CAMERA=SECONDS"):
        settings("--max-age", *argv)


def test_frames_to_calibrate_with_are_for_int8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asks = "its frames are for --precision int8 alone: say that as well, or leave them out"
    with pytest.raises(SettingsError, match=f"^--calibration: {asks}$"):
        settings("--calibration", str(tmp_path))
    file = tmp_path / "fleet.toml"
    file.write_text('[worker]\ncalibration = "frames"\n')
    with pytest.raises(SettingsError, match=f"^calibration in .worker. of {file}: {asks}$"):
        settings("--config", str(file))
    monkeypatch.setenv("NANOFLEET_PRECISION", "int8")
    assert settings("--config", str(file)).precision == "int8"
    # To see what int8 gains, say.
    assert settings("--config", str(file), "--precision", "half").calibration == Path("frames")


def test_work_is_what_keeps_the_engine_busy_and_never_more_than_the_window() -> None:
    assert settings("--max-batch", "8", "--decoders", "2").at_work == 26
    assert settings("--max-batch", "64", "--window", "32").at_work == 32


@pytest.mark.parametrize(("gibibytes", "mebibytes_each"), [(64, 1024), (4, 512), (2, 256), (1, 192)])
def test_decoders_leave_half_of_the_memory_to_others(
    monkeypatch: pytest.MonkeyPatch, gibibytes: int, mebibytes_each: int
) -> None:
    monkeypatch.setattr(memory, "total", lambda: gibibytes << 30)
    assert settings("--decoders", "4").decoder_bytes == mebibytes_each << 20
    assert settings("--decoders", "4", "--decoder-memory", "300").decoder_bytes == 300_000_000
