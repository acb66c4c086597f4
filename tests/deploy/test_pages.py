"""The pages of deploy/: what they claim was run, and commands that can be run as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import List

import pytest

from tests.deploy.files import DEPLOY, PAGES, ROOT, run


def test_every_folder_says_what_was_run() -> None:
    folders = [path for path in DEPLOY.iterdir() if path.is_dir()]
    assert len(folders) == 10
    table = (DEPLOY / "README.md").read_text()
    for folder in folders:
        said = (folder / "README.md").read_text().splitlines()[:3]
        begins = ["Run for real", "Emulated", "Only checked or read"]
        assert [line.partition(": ")[0] for line in said] == begins, folder.name
        assert f"| [{folder.name}]({folder.name}) |" in table


#: What is done to the system, by a line that does not begin with sudo.
FOR_ROOT = re.compile(
    r"(?:^|&& |; )(?:apt-get|systemctl (?!show)|groupadd|chown|(?:cp|install|sed) .*/etc/|"
    r"python3 -m venv .*/opt/|/opt/\S+/pip )"
)


def commands(page: Path) -> List[str]:
    """The lines of a page's blocks for a shell, those that go on put together."""
    blocks = re.findall(r"(?ms)^ *```sh\n(.*?)^ *```$", page.read_text(encoding="utf-8"))
    return [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_commands_find_their_files_and_have_the_rights_they_need(page: Path) -> None:
    here = ROOT
    for line in commands(page):
        assert not FOR_ROOT.search(line), f"who is not root may not: {line}"
        words = shlex.split(line, comments=True)
        for word in words:
            if word.startswith("deploy/") or (page.parent / word).is_file():
                assert (here / word).exists(), f"not where the page says one is: {line}"
        here = here / words[1] if words[:1] == ["cd"] else here


def test_a_pis_service_is_given_the_model_and_the_broker(tmp_path: Path) -> None:
    """The page's own lines, on a copy of the file."""
    target, copy = "/etc/nanofleet/worker.env", tmp_path / "worker.env"
    copy.write_text((DEPLOY / "systemd" / "worker.env").read_text())
    page = commands(DEPLOY / "raspberry-pi" / "README.md")
    for line in page:
        if line.startswith("sudo sed "):
            assert target in line
            edit = shlex.split(line.replace(target, str(copy)))[1:]
            assert run(*edit).returncode == 0
    told = dict(line.split("=", 1) for line in copy.read_text().splitlines() if re.match("[A-Z]", line))
    text = "\n".join(page)
    assert {told["NANOFLEET_BROKER"]} == set(re.findall(r"nanofleet worker .*--broker (\S+)", text))
    assert {told["NANOFLEET_MODEL"]} == set(re.findall(r"install .* (/etc/nanofleet/\S+\.onnx)", text))
