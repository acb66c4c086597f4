"""The systemd unit, by systemd-analyze; and what it lets a worker read."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.files import DEPLOY, FILES, ROOT, run
from tests.fleet.provisioned import GuardedBroker, provision
from tests.harness import need, wait_for
from tests.tiny import tiny_model


@pytest.mark.parametrize("more", ["", "password.conf", "member.conf"])
def test_systemd_accepts_the_unit(tmp_path: Path, more: str) -> None:
    sources = [DEPLOY / "systemd" / "nanofleet-worker.service"]
    if more:
        sources.append(DEPLOY / "systemd" / "nanofleet-worker.service.d" / more)
    for source in sources:
        copy = tmp_path / source.relative_to(DEPLOY / "systemd")
        copy.parent.mkdir(exist_ok=True)
        # The command must exist, and nobody has installed one in /opt here.
        copy.write_text(
            source.read_text().replace("/opt/nanofleet/bin/nanofleet", shlex.quote(sys.executable))
        )
    verified = run(need("systemd-analyze"), "verify", "--man=no", str(tmp_path / "nanofleet-worker.service"))
    assert (verified.returncode, verified.stderr) == (0, "")


def test_a_service_finds_its_members_files_and_a_new_password(tmp_path: Path) -> None:
    """As systemd would start it: in the member's folder, with member.env; secrets are never copied."""
    fleet = tmp_path / "fleet"
    provision(fleet, "--worker", "nano-1")
    broker = GuardedBroker(tmp_path, fleet)
    member = broker.home("nano-1")
    told = dict(
        line.split("=", 1) for line in (member / "member.env").read_text().splitlines() if "=" in line
    )
    told.update(NANOFLEET_STATE_DIR=str(tmp_path / "state"), NANOFLEET_METRICS_PORT="0")
    flags = iter(tiny_model())
    told.update({f"NANOFLEET_{flag[2:].upper()}": value for flag, value in zip(flags, flags)})
    units = [path for path in FILES if path.suffix in (".service", ".conf")]
    assert not any(re.search("(?m)^LoadCredential", path.read_text()) for path in units)
    drop_in = (DEPLOY / "systemd" / "nanofleet-worker.service.d" / "member.conf").read_text()
    assert set(re.findall("(?m)^(?:EnvironmentFile|WorkingDirectory)=(.+)$", drop_in)) == {
        "/etc/nanofleet/member",
        "/etc/nanofleet/member/member.env",
    }
    log = tmp_path / "log"
    with contextlib.ExitStack() as stack:
        stack.callback(broker.stop)
        broker.start()
        output = stack.enter_context(log.open("wb"))
        command = [sys.executable, "-m", "fleet", "worker"]
        environment = {"PYTHONPATH": str(ROOT), **os.environ, **told}
        worker = stack.enter_context(
            subprocess.Popen(command, env=environment, cwd=member, stdout=output, stderr=output)
        )
        stack.callback(worker.kill)
        wait_for(lambda: "connected to mqtts" in log.read_text() or worker.poll() is not None, 60, "the log")
        (member / "password").unlink()
        provision(fleet)
        new = (member / "password").read_text()
        (member / "password").write_text("the one before")
        broker.stop()
        broker.start()
        wait_for(lambda: "refused: not authorised" in log.read_text(), 60, "the refusal")
        (member / "password").write_text(new)
        wait_for(lambda: "connected again" in log.read_text() or worker.poll() is not None, 60, "the log")
        worker.terminate()
        assert worker.wait(30) == 0, log.read_text()
