"""Where an export lies: in folders that cannot be written to, or that others may write to."""

from __future__ import annotations

import contextlib
import errno
import shutil
from pathlib import Path

import pytest

from tests.worker.engines.exports import choice_in, read_only
from wire.errors import SettingsError
from wire.model_choice import ModelChoice
from worker.engines.exports import cache
from worker.engines.exports.cache import exported
from worker.engines.exports.folder import _made_temporary_folder
from worker.models.weights import lock


def test_a_folder_that_cannot_be_written_to_is_read(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    model, path = exported(choice_in(folder), folder)
    with read_only(folder):
        assert exported(choice_in(folder), folder) == (model, path)
        assert exported(choice_in(folder, sha256=model.sha256), folder) == (model, path)
    assert not caplog.text


def test_under_a_pin_no_export_is_taken_that_another_user_may_have_made(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What stands beside it would say that it is of the right weights."""
    model, path = exported(choice_in(folder), folder)
    path.write_bytes(b"planted")
    path.parent.chmod(0o777)
    _made_temporary_folder.cache_clear()
    pinned = choice_in(folder, sha256=model.sha256)
    again, elsewhere = exported(pinned, folder)
    assert again == model
    assert elsewhere.name == path.name
    assert elsewhere.read_bytes() != b"planted"
    assert elsewhere.parent.stat().st_mode & 0o777 == 0o700
    assert f"may write {path.parent} (chmod o-w): under --sha256 no export is taken from there" in caplog.text
    assert exported(pinned, folder)[1] == elsewhere
    assert exported(choice_in(folder), folder)[1] == path
    shutil.rmtree(elsewhere.parent)
    _made_temporary_folder.cache_clear()


def test_a_folder_that_cannot_be_written_to_costs_an_export_at_each_start(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    _made_temporary_folder.cache_clear()
    _, path = exported(choice_in(folder), tmp_path / "file")
    assert "the export is made again at each start" in caplog.text
    assert path.exists()
    shutil.rmtree(path.parent)
    _made_temporary_folder.cache_clear()


def test_another_users_lock_costs_no_more(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def anothers(path: Path) -> contextlib.AbstractContextManager[None]:
        if folder in path.parents:  # root may do what others may not
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return lock(path)

    monkeypatch.setattr(cache, "lock", anothers)
    assert exported(choice_in(folder), folder)[1].parent == folder / "nanofleet"
    assert not caplog.text
    _, path = exported(choice_in(folder, crop=60), folder)
    assert path.exists()
    assert "Permission denied: the export is made again at each start" in caplog.text
    shutil.rmtree(path.parent)
    _made_temporary_folder.cache_clear()


def test_a_relative_folder_is_the_callers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(folder / "nanofleet")
    monkeypatch.chdir(folder.parent)
    assert exported(choice_in(folder), Path("weights"))[1].parent == folder / "nanofleet"


def test_a_folder_as_the_model_is_known_from_where_the_user_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my models").mkdir()
    (tmp_path / "some").write_bytes(b"?")
    for name, says in (("my models", "my models is a folder: give a file"), ("some", "some is a file")):
        with pytest.raises(SettingsError, match=says):
            exported(ModelChoice(model=name), tmp_path)
