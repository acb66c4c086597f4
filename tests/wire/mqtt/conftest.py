"""Members that leave with the test, and certificates for brokers that speak TLS."""

from __future__ import annotations

import gc
import subprocess
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest

from tests.harness import Mosquitto, need
from tests.wire.mqtt.members import (
    NEVER,
    Member,
)


@pytest.fixture(autouse=True)
def _own_garbage() -> Iterator[None]:
    """A socket that a test left open is that test's fault, not that of the next one."""
    yield
    gc.collect()


@pytest.fixture
def join() -> Iterator[Callable[..., Member]]:
    """Connect members that leave with the test, and end their sessions."""
    members: List[Member] = []

    def connect(url: str, *subscriptions: str, wait: bool = True, **options: Any) -> Member:
        member = Member(url, *subscriptions, **options)
        members.append(member)
        member.connection.__enter__()
        if wait:
            assert member.connection.wait_connected(NEVER)
            member.wait_subscribed()
        return member

    yield connect
    for member in members:
        member.connection.close(session_expiry=0)
        assert member.connection.ended.wait(30), "the network thread has not ended"


def openssl(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [need("openssl"), *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem, a server certificate for localhost, and a client's, made here."""
    folder = tmp_path_factory.mktemp("certificates")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    extensions = {
        "ca": "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n",
        "server": "subjectAltName=DNS:localhost\nauthorityKeyIdentifier=keyid\n",
        "client": "extendedKeyUsage=clientAuth\nauthorityKeyIdentifier=keyid\n",
    }
    for name, extension in extensions.items():
        (folder / f"{name}.ext").write_text(extension)
        openssl(folder, "req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signed_by = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
        openssl(
            folder,
            *("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", "-days", "2"),
            *("-extfile", f"{name}.ext", *(["-signkey", "ca.key"] if name == "ca" else signed_by)),
        )
    for path in folder.iterdir():
        path.chmod(0o644)
    return folder


@pytest.fixture
def secure(mosquitto: Callable[..., Mosquitto], certificates: Path) -> Callable[..., Mosquitto]:
    """Start a broker whose only listener speaks TLS."""

    def start(*lines: str) -> Mosquitto:
        files = [f"cafile {certificates}/ca.pem", f"certfile {certificates}/server.pem"]
        return mosquitto(
            "allow_anonymous true", *files, f"keyfile {certificates}/server.key", "user root", *lines
        )

    return start
