"""The settings of cameras in a file, and which go before which."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from wire.camera_settings import MAX_BYTES, MAX_CAMERAS, CameraBook, read_cameras
from wire.cameras import CameraSettings
from wire.errors import SettingsError


def test_a_table_for_each_camera(tmp_path: Path) -> None:
    file = tmp_path / "cameras.toml"
    file.write_text(
        '[door]\nname = "Front door"\nregion = [0, 0.2, 1, 1]\nstable = {k = 2, n = 3}\n'
        '[garden]\narea = "Out"\n'
    )
    found = read_cameras(file)
    assert list(found) == ["door", "garden"]
    assert (found["door"].name, found["door"].region, found["door"].stable.k) == (
        "Front door",
        (0, 0.2, 1, 1),
        2,
    )


def test_each_fault_of_a_file_is_named_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "cameras.toml"
    file.write_text('name = "x"\n["a b"]\n[door]\nnmae = "x"\n[garden]\nregion = [0, 0, 0, 1]\n')
    with pytest.raises(SettingsError) as error:
        read_cameras(file)
    faults = str(error.value).splitlines()
    assert len(faults) == 4
    assert all(fault.startswith(f"--cameras {file}: ") for fault in faults)
    assert "[door] nmae" in str(error.value)
    with pytest.raises(SettingsError, match="No such file"):
        read_cameras(tmp_path / "none.toml")
    file.write_text("door = ")
    with pytest.raises(SettingsError, match=str(file)):
        read_cameras(file)


def test_what_the_broker_retains_goes_before_the_file(caplog: pytest.LogCaptureFixture) -> None:
    book = CameraBook({"door": CameraSettings(name="Filed", area="Hall")})
    assert book.of("door").name == "Filed"
    assert book.of("other") == CameraSettings()
    assert book.receive("door", CameraSettings(name="Set").encode())
    assert not book.receive("door", CameraSettings(name="Set").encode())
    assert (book.of("door").name, book.of("door").area) == ("Set", "")
    for _ in range(3):
        assert not book.receive("door", b'{"region": [1, 0, 0, 1]}')
    assert book.of("door").name == "Set"
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "settings of camera door are ignored, and change nothing" in record.getMessage()
    assert "region" in record.getMessage()
    assert book.receive("door", b"")
    assert book.of("door").name == "Filed"


def test_it_keeps_a_bounded_number(caplog: pytest.LogCaptureFixture) -> None:
    book = CameraBook()
    for n in range(MAX_CAMERAS + 5):
        book.receive(f"c{n}", CameraSettings(name="x").encode())
        book.receive(f"w{n}", b"wrong")
    assert book.of(f"c{MAX_CAMERAS - 1}").name == "x"
    assert book.of(f"c{MAX_CAMERAS}").name == ""
    assert len(caplog.records) <= MAX_CAMERAS


def test_it_keeps_a_bounded_number_of_bytes(caplog: pytest.LogCaptureFixture) -> None:
    """A thousand cameras' settings of 256 KiB would be more than a small machine has."""
    book = CameraBook()
    long = CameraSettings(name="x").encode()
    long += b" " * (CameraSettings.MAX_BYTES - len(long))
    fitting = MAX_BYTES // len(long)
    for n in range(fitting + 1):
        book.receive(f"c{n}", long)
    assert list(book.retained) == [f"c{n}" for n in range(fitting)]
    assert "settings of camera" in caplog.text
    assert book.receive("c0", CameraSettings(name="y").encode()), "in the place of its own there is room"
    assert book.receive("c1", b"")
    assert book.receive(f"c{fitting}", long)


@pytest.mark.parametrize("name", ["k", "n", "min_confidence", "of"])
def test_a_setting_of_the_stable_label_is_shown_its_place(tmp_path: Path, name: str) -> None:
    file = tmp_path / "cameras.toml"
    file.write_text(f"[door]\n{name} = 4\n")
    with pytest.raises(SettingsError) as refused:
        read_cameras(file)
    assert str(refused.value) == (
        f"--cameras {file}: [door] {name} is a setting of the stable label: write stable = {{{name} = …}}"
    )


def test_a_name_is_one_line_without_blanks_around_it() -> None:
    family = "\N{MAN}\N{ZERO WIDTH JOINER}\N{BOY}"
    found = CameraSettings(name="  Front door ", area=f"\u00a0{family}")
    assert (found.name, found.area) == ("Front door", family)
    assert CameraSettings(name="", area="").name == ""


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (" ", "nothing but blanks"),
        *((text, "a control character") for text in ("a\nb", "door\n", "\x1b[2J", "a\u2028b")),
    ],
)
def test_a_name_that_shows_nothing_or_more_than_text_is_refused(text: str, fault: str) -> None:
    for field in ("name", "area"):
        with pytest.raises(ValidationError, match=f"{field}\n.*{fault}"):
            CameraSettings.model_validate({field: text})


@pytest.mark.parametrize("group", ["none", "None", " none ", "", "  ", "c\nat"])
def test_no_group_is_called_as_what_is_not_seen(group: str) -> None:
    with pytest.raises(ValidationError, match=r"a group is not called|control character|nothing but blanks"):
        CameraSettings.model_validate({"groups": {"cat": ["tabby"], group: ["beagle"]}})


def test_groups_may_have_as_many_labels_as_fit() -> None:
    groups = {"some": tuple(f"l{n:06}" for n in range(20_000))}
    assert CameraSettings.decode(CameraSettings(groups=groups).encode()).groups == groups
