"""`nanofleet completion`, as the shells themselves use it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import List, Set

import pytest

from fleet.commands.completion import bash, fish
from tests.harness import nanofleet

CASES = [
    (["wor"], {"worker", "workers"}),
    (["models", "u"], {"use"}),
    (["models", ""], {"list", "show", "download", "export", "use", "reset"}),
    (["workers", "--wa"], {"--watch"}),
    (["workers", "forget", "--g"], {"--gone"}),
    (["worker", "--engine", ""], {"auto", "torch", "onnxruntime", "openvino"}),
    (["worker", "--broker", "localhost", "--log-fo"], {"--log-format"}),
    (["models", "use", "resnet50", "--fit", "s"], {"squeeze"}),
    (["completion", ""], {"bash", "zsh", "fish"}),
    (["results", "--no-"], {"--no-rejections", "--no-json"}),
    (["help", "mod"], {"models"}),
    (["settings", "pub"], {"publish"}),
    (["spool", ""], {"list", "retry", "drop"}),
    (["spool", "drop", "--ol"], {"--older-than"}),
    (["worker", "--broker", "zzz"], set()),
]


@pytest.mark.parametrize(("words", "expected"), CASES)
def test_bash(tmp_path: Path, words: List[str], expected: Set[str]) -> None:
    script = tmp_path / "nanofleet.bash"
    script.write_text(bash())
    typed = 'source "$0"; COMP_WORDS=(nanofleet "$@"); COMP_CWORD=$#; _nanofleet; echo "${COMPREPLY[@]}"'
    run = subprocess.run(
        ["bash", "--norc", "-c", typed, str(script), *words], capture_output=True, text=True, check=False
    )
    assert run.stderr == ""
    assert set(run.stdout.split()) == expected


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.parametrize(("words", "expected"), CASES[:-1])
def test_fish(tmp_path: Path, words: List[str], expected: Set[str]) -> None:
    script = tmp_path / "nanofleet.fish"
    script.write_text(fish())
    line = " ".join(["nanofleet", *words])
    run = subprocess.run(
        ["fish", "--no-config", "-c", f"source {script}; complete -C '{line}'"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stderr == ""
    assert {found.split("\t")[0] for found in run.stdout.splitlines()} == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_takes_its_script(tmp_path: Path, shell: str) -> None:
    run = nanofleet("completion", shell)
    assert (run.returncode, run.stderr) == (0, "")
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "script").write_text(run.stdout)
    checked = subprocess.run(
        [shell, "-n", str(tmp_path / "script")], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")
