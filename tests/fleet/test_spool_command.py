"""`nanofleet spool list | retry | drop`, on a spool as publishers leave it. None needs a broker."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Dict, List, Set

import pytest

from publisher.settings import PublishSettings
from publisher.spool import Spool
from tests.harness import nanofleet
from wire.messages import utc_now

URL, ROOT = "mqtt://127.0.0.1:1", "yard"
#: Frames with their ages in days, and the code for which those that are not None were refused.
FRAMES = {"aaaa1": (9, 0x87), "aaaa2": (1, 0x95), "bbbb1": (9, None), "bbbb2": (1, None)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The fleet's folder, with two frames that wait, and two that were refused."""
    settings = PublishSettings(sources=["x"], broker=URL, root=ROOT, spool_dir=tmp_path / "spool")
    with Spool(settings.spool_folder, 1_000_000) as spool:
        for name, (days, code) in FRAMES.items():
            taken = utc_now() - timedelta(days=days)
            spool.put(name, "door", f"{name}.jpg", taken.isoformat(), b"image")
            if code:
                spool.set_aside(name, code)
    return settings.spool_folder


@pytest.fixture
def where(tmp_path: Path) -> List[str]:
    return ["--broker", URL, "--root", ROOT, "--spool-dir", str(tmp_path / "spool")]


def states(where: List[str]) -> Dict[str, str]:
    run = nanofleet("spool", "list", "--json", *where)
    assert (run.returncode, run.stderr) == (0, "")
    return {facts["id"]: facts["state"] for facts in map(json.loads, run.stdout.splitlines())}


def test_list(folder: Path, where: List[str]) -> None:
    run = nanofleet("spool", "list", *where)
    assert run.returncode == 0, run.stderr
    rows = {line.split()[0]: line for line in run.stdout.splitlines()[1:]}
    assert list(rows) == ["aaaa1", "bbbb1", "aaaa2", "bbbb2"], "oldest first"
    assert "refused  not authorised: the broker's ACL must let" in rows["aaaa1"]
    assert "refused  larger than the broker takes" in rows["aaaa2"]
    assert "waiting  no answer; the next run sends it" in rows["bbbb1"]
    run = nanofleet("spool", "list", "--json", *where)
    first = json.loads(run.stdout.splitlines()[0])
    assert Path(first.pop("file")).read_bytes().endswith(b"image")
    assert first.pop("since") < utc_now().isoformat()
    assert "ACL" in first.pop("why")
    assert first.pop("bytes") > 5
    expected = {"id": "aaaa1", "camera": "door", "topic": "yard/frames/door", "source": "aaaa1.jpg"}
    assert first == {**expected, "state": "refused", "reason_code": 0x87}


def test_an_empty_one_names_those_of_other_brokers(folder: Path, where: List[str], tmp_path: Path) -> None:
    run = nanofleet("spool", "list", "--spool-dir", str(tmp_path / "spool"))
    assert run.returncode == 0, run.stderr
    assert "No frame is in " in run.stdout
    assert f"There are frames for another broker or root: {folder}\n" in run.stdout
    run = nanofleet("spool", "list", "--spool-dir", str(tmp_path / "none"))
    assert len(run.stdout.splitlines()) == 1
    assert not (tmp_path / "none").exists()


def test_its_place_is_a_setting_like_any_other(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "spool.toml").write_text(
        f'broker = "{URL}"\nroot = "{ROOT}"\nspool_dir = "{tmp_path}/spool"\n'
    )
    assert len(states(["--config", str(tmp_path / "spool.toml")])) == 4


def test_retry_by_id_and_of_all(folder: Path, where: List[str]) -> None:
    run = nanofleet("spool", "retry", "aaaa2", *where)
    assert run.returncode == 0, run.stderr
    assert "aaaa2  door  aaaa2.jpg: waits again" in run.stdout
    assert states(where)["aaaa1"] == "refused"
    assert states(where)["aaaa2"] == "waiting"
    run = nanofleet("spool", "retry", "aaaa", "bbbb1", "cccc", *where)
    assert run.returncode == 1
    assert "bbbb1: no refused frame has it" in run.stderr
    assert "cccc: no refused frame has it" in run.stderr
    assert set(states(where).values()) == {"waiting"}
    with Spool(folder, 1_000_000) as spool:
        assert sorted(spool.kept) == sorted(FRAMES)
        assert all(spool.image(kept) == b"image" for kept in spool.kept.values())
    run = nanofleet("spool", "retry", *where)
    assert (run.returncode, run.stdout) == (0, "No frame waits again\n")


@pytest.mark.parametrize(
    ("words", "exit_code", "left"),
    [
        ([], 0, {"bbbb1", "bbbb2"}),
        (["bbbb1"], 0, {"aaaa1", "aaaa2", "bbbb2"}),
        (["bbbb2", "aaaa1", "nothing"], 1, {"aaaa2", "bbbb1"}),
        (["bbbb"], 1, set(FRAMES)),
        (["--older-than", "7d"], 0, {"aaaa2", "bbbb1", "bbbb2"}),
        (["--all", "--older-than", "7d"], 0, {"aaaa2", "bbbb2"}),
        (["--all"], 0, set()),
    ],
)
def test_drop(words: List[str], exit_code: int, left: Set[str], folder: Path, where: List[str]) -> None:
    run = nanofleet("spool", "drop", *words, *where)
    assert run.returncode == exit_code, run.stderr
    assert set(states(where)) == left
    for name in set(FRAMES) - left:
        assert f"{name}  door  {name}.jpg: dropped" in run.stdout
    assert f"{4 - len(left)} dropped" in run.stdout
    if "bbbb" in words:
        assert "the ids of 2 frames begin so" in run.stderr


def test_what_is_named_is_not_described_too(folder: Path, where: List[str]) -> None:
    run = nanofleet("spool", "drop", "aaaa1", "--all", *where)
    assert run.returncode == 2
    assert len(states(where)) == 4


def test_beside_a_publisher_that_runs(folder: Path, where: List[str]) -> None:
    """What waits is its own; what was refused is nobody's."""
    with Spool(folder, 1_000_000) as running:
        run = nanofleet("spool", "drop", "bbbb1", "aaaa1", *where)
        assert run.returncode == 1
        assert "bbbb1  door  bbbb1.jpg: kept: a publisher that runs sends it. Stop that first" in run.stderr
        assert "aaaa1  door  aaaa1.jpg: dropped" in run.stdout
        assert "a publisher is at work on it" in nanofleet("spool", "list", *where).stdout
        assert nanofleet("spool", "retry", *where).returncode == 0
        assert sorted(running.kept) == ["bbbb1", "bbbb2"]
    with Spool(folder, 1_000_000) as after:
        assert sorted(after.kept) == ["aaaa2", "bbbb1", "bbbb2"]


def test_what_is_no_frame_is_named(folder: Path, where: List[str]) -> None:
    strange = folder / "1" / "00000000000000000009-b.frame"
    strange.write_text("{")
    run = nanofleet("spool", "list", *where)
    assert run.returncode == 2
    assert f"{strange}: this is no frame of the spool's" in run.stderr


def test_it_needs_the_base_install_alone(folder: Path, where: List[str]) -> None:
    blocked = ["torch", "torchvision", "numpy", "PIL", "prometheus_client", "iotcore", "cryptography", "onnx"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked!r}))\n"
        "from fleet.cli import main\n"
        "sys.exit(main())"
    )
    for words in (["list"], ["retry"], ["drop", "--all"]):
        command = [sys.executable, "-c", code, "spool", *words, *where]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (run.returncode, run.stderr) == (0, "")
