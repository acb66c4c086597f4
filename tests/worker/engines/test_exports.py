"""The cache of exports: made once, by a child, whole or not at all, anew when something changed."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Iterator, List

import numpy as np
import pytest
import torch
import torchvision.models as zoo

from tests.harness import processes_of, wait_for
from wire.errors import NanofleetError, SettingsError
from wire.model_choice import ModelChoice
from worker.engines.exports import cache, entry
from worker.engines.exports.cache import KEPT, ExportError, exported
from worker.engines.exports.entry import find
from worker.engines.exports.folder import _made_temporary_folder
from worker.engines.select import open_model
from worker.models.weights import file_of, lock, sha256_of

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights folder with a small network's checkpoint, and its export."""
    folder = tmp_path_factory.mktemp("made")
    torch.manual_seed(0)
    torch.save(zoo.squeezenet1_1(weights=None, num_classes=3).state_dict(), folder / "mine.pth")
    exported(choice_in(folder), folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to do with as one likes."""
    return Path(shutil.copytree(made, tmp_path / "weights"))


def choice_in(folder: Path, **fields: object) -> ModelChoice:
    model = f"squeezenet1_1@{folder / 'mine.pth'}"
    return ModelChoice(**{"model": model, "crop": 64, "resize": 72, **fields})


def entries(folder: Path) -> List[str]:
    """Exports, and what should not be left beside them."""
    names = (path.name for path in (folder / "nanofleet").iterdir())
    return sorted(name for name in names if not name.endswith(".lock"))


def test_an_entry_is_a_model_and_a_graph(folder: Path) -> None:
    model, path = exported(choice_in(folder), folder)
    assert (model.name, model.weights, model.classes) == ("squeezenet1_1", "mine.pth", ("0", "1", "2"))
    assert not model.named
    assert model.preprocessing.crop == 64
    assert path.name.startswith("squeezenet1_1-")
    assert entries(folder) == [path.with_suffix(".json").name, path.name]


def test_it_is_exported_once_wherever_the_same_file_lies(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    before = entries(folder)
    (folder / "elsewhere").mkdir()
    moved = Path(shutil.copy(folder / "mine.pth", folder / "elsewhere"))
    labels = tmp_path / "labels.txt"
    labels.write_text("x\ny\nz\n", encoding="utf-8")
    choice = choice_in(folder, model=f"SqueezeNet1_1@{moved}", labels=labels)
    model, _ = open_model(choice, engine="onnxruntime", device="cpu", max_batch=1, weights_dir=folder)
    assert (model.classes, model.named) == (("x", "y", "z"), True)
    assert entries(folder) == before
    assert "exporting" not in caplog.text


def test_other_weights_or_other_preprocessing_make_another(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first = exported(choice_in(folder), folder)[1]
    second = exported(choice_in(folder, mean="0.5,0.5,0.5"), folder)[1]
    torch.manual_seed(1)
    torch.save(zoo.squeezenet1_1(weights=None, num_classes=3).state_dict(), folder / "mine.pth")
    third = exported(choice_in(folder), folder)[1]
    assert len({first, second, third}) == 3
    assert caplog.text.count("exporting") == 2


def test_the_pinned_hash_counts_for_a_cached_one_too(folder: Path, weights_dir: Path) -> None:
    model, _ = exported(choice_in(folder), folder)
    assert exported(choice_in(folder, sha256=model.sha256), folder)[0] == model
    with pytest.raises(SettingsError, match="as --sha256 demands"):
        exported(choice_in(folder, sha256="0" * 64), folder)
    with pytest.raises(SettingsError, match="as --sha256 demands"):
        exported(ModelChoice(model="efficientnet_lite0", sha256="0" * 64), weights_dir)


NAMED = ModelChoice(model="squeezenet1_1", crop=64, resize=72)


def put_weights(folder: Path, seed: int) -> str:
    """Put other weights where torchvision's would be downloaded to; returns their hash."""
    torch.manual_seed(seed)
    path = folder / file_of(zoo.get_model_weights("squeezenet1_1").DEFAULT.url)
    torch.save(zoo.squeezenet1_1(weights=None).state_dict(), path)
    return sha256_of(path)


def test_replaced_weights_of_a_name_are_what_is_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    first = put_weights(tmp_path, 0)
    model, path = exported(NAMED, tmp_path)
    assert model.sha256 == first
    assert exported(NAMED, tmp_path) == (model, path)
    hashed: List[Path] = []
    monkeypatch.setattr(entry, "sha256_of", lambda file: hashed.append(file) or sha256_of(file))
    exported(NAMED, tmp_path)
    assert hashed == [], "a file that is as it was is not read at each start"

    second = put_weights(tmp_path, 1)
    (file,) = tmp_path.glob("squeezenet1_1-*.pth")
    assert find(path, tmp_path, None) == (None, f"{file} is not what its export was made from")
    pinned = NAMED.model_copy(update={"sha256": second})
    again, _ = exported(pinned, tmp_path)
    assert again.sha256 == second != first
    assert exported(NAMED, tmp_path) == exported(pinned, tmp_path) == (again, path)
    with pytest.raises(SettingsError, match=f"{file} has the SHA-256 {second}, and not {first} as --sha256"):
        exported(NAMED.model_copy(update={"sha256": first}), tmp_path)
    assert caplog.text.count("exporting") == 2
    file.unlink()  # as where the folder was copied to: nothing to compare with
    assert exported(NAMED, tmp_path) == (again, path)


def test_a_package_that_was_upgraded_is_exported_anew(
    tmp_path: Path, weights_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lite0 = ModelChoice(model="efficientnet_lite0")
    model, path = exported(lite0, weights_dir)
    assert find(path, weights_dir, None) == (model, "")
    upgraded = tmp_path / "efficientnet-lite0-0123abcd.pth"
    upgraded.write_bytes(b"other weights")
    monkeypatch.setattr(entry, "efficientnet_lite0_file", lambda: str(upgraded))
    assert find(path, weights_dir, None) == (None, f"{upgraded} is not what its export was made from")


def test_a_folder_that_cannot_be_written_to_is_read(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    model, path = exported(choice_in(folder), folder)
    with read_only(folder):
        assert exported(choice_in(folder), folder) == (model, path)
        assert exported(choice_in(folder, sha256=model.sha256), folder) == (model, path)
    assert not caplog.text


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Without the right to write; for root, who may write anyway, mounted read-only."""
    if os.geteuid() != 0:
        (folder / "nanofleet").chmod(0o555)
        yield
        (folder / "nanofleet").chmod(0o755)
        return
    mount = shutil.which("mount")
    done = mount and subprocess.run(
        [mount, "--bind", "-o", "ro", str(folder), str(folder)], capture_output=True, check=False
    )
    if not done or done.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


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


def test_the_childs_errors_are_the_workers(folder: Path) -> None:
    with pytest.raises(SettingsError, match="did you mean squeezenet1_1"):
        exported(ModelChoice(model="squeezenet11"), folder)
    with pytest.raises(SettingsError, match="cannot crop 80 pixels"):
        exported(choice_in(folder, crop=80), folder)
    with pytest.raises(SettingsError, match="No such file"):
        exported(choice_in(folder, model=f"resnet18@{folder / 'missing.pth'}"), folder)


def test_a_damaged_graph_is_made_anew(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, path = exported(choice_in(folder), folder)
    for damage in (b"", b"no graph", path.read_bytes()[:1000]):
        caplog.clear()
        path.write_bytes(damage)
        with pytest.raises(SettingsError, match=r"mine\.pth has 3 classes: name them in a file.*--labels"):
            open_model(choice_in(folder), engine="onnxruntime", device="cpu", max_batch=2, weights_dir=folder)
        assert "exporting it anew" in caplog.text
    assert "exporting it anew" not in _reopened(folder, caplog)


def _reopened(folder: Path, caplog: pytest.LogCaptureFixture) -> str:
    caplog.clear()
    labels = folder / "labels.txt"
    labels.write_text("x\ny\nz\n", encoding="utf-8")
    _, engine = open_model(
        choice_in(folder, labels=labels), engine="auto", device="cpu", max_batch=2, weights_dir=folder
    )
    assert engine.infer(np.zeros((2, 64, 64, 3), np.uint8)).shape == (2, 3)
    return caplog.text


@pytest.mark.parametrize("damage", [b"", b"{", b'{"name": "x"}'])
def test_a_damaged_description_is_made_anew(damage: bytes, folder: Path) -> None:
    model, path = exported(choice_in(folder), folder)
    path.with_suffix(".json").write_bytes(damage)
    assert exported(choice_in(folder), folder) == (model, path)


def start_exporting(folder: Path) -> subprocess.Popen[str]:
    script = """
        import logging, sys
        from pathlib import Path
        from wire.model_choice import ModelChoice
        from worker.engines.exports.cache import exported

        logging.basicConfig(level="INFO")
        exported(ModelChoice.model_validate_json(sys.argv[1]), Path(sys.argv[2]))
    """
    command = [sys.executable, "-c", textwrap.dedent(script), choice_in(folder).model_dump_json()]
    return subprocess.Popen([*command, str(folder)], cwd=ROOT, stderr=subprocess.PIPE, text=True)


def test_two_workers_at_once_export_once(folder: Path) -> None:
    before = entries(folder)
    shutil.rmtree(folder / "nanofleet")
    both = [start_exporting(folder) for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert "".join(said).count("exporting") == 1
    assert entries(folder) == before


def exporters(folder: Path) -> List[int]:
    """The processes that export below a folder."""
    return processes_of("worker.engines.exports.process", folder)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_told_to_stop_it_leaves_nothing(folder: Path) -> None:
    shutil.rmtree(folder / "nanofleet")
    stop = threading.Event()
    stop.set()
    with pytest.raises(NanofleetError, match="told to stop"):
        exported(choice_in(folder), folder, stop)
    assert exporters(folder) == []
    assert entries(folder) == []


def start_classifying(folder: Path) -> subprocess.Popen[str]:
    """In a process group of its own, as a shell starts it."""
    shutil.rmtree(folder / "nanofleet")
    flags = ["--model", f"squeezenet1_1@{folder / 'mine.pth'}", "--weights-dir", str(folder)]
    command = [sys.executable, "-m", "fleet", "classify", str(folder / "cat.jpg"), *flags]
    return subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("late", [False, True], ids=["while it starts", "while it exports"])
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_signal_to_all_ends_it_without_a_word(
    signum: signal.Signals, code: int, late: bool, folder: Path
) -> None:
    with start_classifying(folder) as process:
        (exporter,) = wait_for(lambda: exporters(folder), what="a child")
        assert process.stderr
        said = process.stderr.readline() if late else ""
        os.killpg(process.pid, signum)
        more = process.stderr.read()
    assert process.returncode == code
    assert " INFO    exporting squeezenet1_1@" in said or not late
    assert more == ""
    assert entries(folder) == []
    assert not Path(f"/proc/{exporter}").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_a_killed_one_leaves_is_gone_with_the_next_start(folder: Path) -> None:
    with start_classifying(folder) as process:
        wait_for(lambda: any((folder / "nanofleet").glob(".*.part")), what="a part")
        process.kill()
    wait_for(lambda: not exporters(folder), what="the child's end")
    assert any(".part" in name for name in entries(folder))
    # What is under way in another process stays.
    (folder / "nanofleet" / ".other-0123.onnx.part").mkdir()
    with lock(folder / "nanofleet" / "other-0123.onnx"):
        _, path = exported(choice_in(folder), folder)
        kept = {".other-0123.onnx.part", path.name, path.with_suffix(".json").name}
        assert set(entries(folder)) == kept
    exported(choice_in(folder), folder)
    assert set(entries(folder)) == kept - {".other-0123.onnx.part"}


def test_only_what_exists_is_said_to_be_exported_and_by_nobody_else(
    folder: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(SettingsError, match="did you mean squeezenet1_1"):
        exported(ModelChoice(model="squeezenet11"), folder)
    assert "exporting" not in caplog.text
    exported(choice_in(folder, crop=66), folder)
    assert "exporting squeezenet1_1@" in caplog.text
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_child_that_somebody_ends_is_an_export_error_and_auto_goes_on_with_torch(folder: Path) -> None:
    shutil.rmtree(folder / "nanofleet")

    def end() -> None:
        os.kill(wait_for(lambda: exporters(folder), what="a child")[0], signal.SIGHUP)

    killer = threading.Thread(target=end)
    killer.start()
    with pytest.raises(ExportError, match=r"the export was killed \(SIGHUP\), without a word"):
        exported(choice_in(folder), folder)
    killer.join()
    assert entries(folder) == []

    killer = threading.Thread(target=end)
    killer.start()
    labels = folder / "labels.txt"
    labels.write_text("x\ny\nz\n", encoding="utf-8")
    choice = choice_in(folder, labels=labels)
    _, engine = open_model(choice, engine="auto", device="cpu", max_batch=1, weights_dir=folder)
    killer.join()
    assert engine.name == "torch"
    assert "onnxruntime is faster, but the export was killed (SIGHUP), without a word" in engine.why


def test_what_nobody_used_for_long_goes(folder: Path) -> None:
    old = folder / "nanofleet" / "old-0123.json"
    old.write_text(json.dumps({}), encoding="utf-8")
    old.with_suffix(".onnx").touch()
    _, used = exported(choice_in(folder), folder)
    long_ago = time.time() - KEPT - 60
    for path in (old, used.with_suffix(".json")):
        os.utime(path, (long_ago, long_ago))
    early = old.with_name("early-0123.json")  # of 1970: written before the machine heard of the time
    early.write_text(json.dumps({}), encoding="utf-8")
    os.utime(early, (86_400, 86_400))
    exported(choice_in(folder), folder)  # uses it, and so keeps it
    exported(choice_in(folder, crop=65), folder)
    assert not old.exists()
    assert not old.with_suffix(".onnx").exists()
    assert used.exists()
    assert early.exists()
    early.unlink()


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


def test_too_little_memory_costs_no_export(folder: Path) -> None:
    script = """
        import resource, sys
        from pathlib import Path
        from wire.model_choice import ModelChoice
        from wire.errors import NanofleetError, SettingsError
        from worker.engines.select import open_model

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        import onnxruntime, worker.engines.exports.cache, worker.engines.onnx_engine
        choice, folder = ModelChoice.model_validate_json(sys.argv[1]), Path(sys.argv[2])
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, ((pages << 12) + (2 << 20),) * 2)
        try:
            open_model(choice, engine="onnxruntime", device="cpu", max_batch=2, weights_dir=folder)
        except SettingsError as error:
            print("settings", error)
        except NanofleetError as error:
            print("other", error)
    """
    before = entries(folder)
    command = [sys.executable, "-c", textwrap.dedent(script), choice_in(folder).model_dump_json()]
    done = subprocess.run([*command, str(folder)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("other "), done.stdout + done.stderr
    assert entries(folder) == before


def test_a_folder_as_the_model_is_known_from_where_the_user_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my models").mkdir()
    (tmp_path / "some").write_bytes(b"?")
    for name, says in (("my models", "my models is a folder: give a file"), ("some", "some is a file")):
        with pytest.raises(SettingsError, match=says):
            exported(ModelChoice(model=name), tmp_path)
