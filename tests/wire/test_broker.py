"""Where the broker is and how to get in."""

from __future__ import annotations

import ssl
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.harness import need
from wire.broker import Broker, BrokerSettings
from wire.errors import SettingsError


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*BrokerSettings.variables(), "NANOFLEET_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


def opened(url: str, **settings: Any) -> Broker:
    return BrokerSettings(broker=url, **settings).open_broker()


def refusal(url: str, **settings: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        opened(url, **settings)
    return str(caught.value)


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "path"),
    [
        ("mqtt://broker", "mqtt", "broker", 1883, "/mqtt"),
        ("mqtt://broker:1234", "mqtt", "broker", 1234, "/mqtt"),
        ("mqtts://broker", "mqtts", "broker", 8883, "/mqtt"),
        ("ws://broker", "ws", "broker", 80, "/mqtt"),
        ("ws://broker:9001/deep/path", "ws", "broker", 9001, "/deep/path"),
        ("wss://broker/", "wss", "broker", 443, "/"),
        ("mqtt://[::1]", "mqtt", "::1", 1883, "/mqtt"),
        ("mqtt://[fe80::1]:1884", "mqtt", "fe80::1", 1884, "/mqtt"),
        ("MQTT://Broker.Local", "mqtt", "broker.local", 1883, "/mqtt"),
    ],
)
def test_addresses(url: str, scheme: str, host: str, port: int, path: str) -> None:
    broker = opened(url)
    assert (broker.scheme, broker.host, broker.port, broker.path) == (scheme, host, port, path)
    assert broker.websocket == (scheme in ("ws", "wss"))
    assert broker.secure == (scheme in ("mqtts", "wss"))
    assert broker.credentials.user is None


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("mqtt://broker", "mqtt://broker:1883"),
        ("mqtt://me@[::1]:5", "mqtt://me@[::1]:5"),
        ("ws://broker/x", "ws://broker:80/x"),
    ],
)
def test_its_text_can_be_given_again(url: str, text: str) -> None:
    assert str(opened(url)) == text
    assert opened(text) == opened(url)


def test_a_user_may_need_escaping() -> None:
    assert opened("mqtt://me%40home@broker").credentials.user == "me@home"


@pytest.mark.parametrize("url", ["", "broker", "broker:1883", "http://broker", "mqtt://", "mqtt:broker"])
def test_what_is_no_address(url: str) -> None:
    assert "write mqtt://HOST" in refusal(url)


@pytest.mark.parametrize(
    "url",
    [
        "mqtt://broker:port",
        "mqtt://broker:0",
        "mqtt://broker:99999",
        "mqtt://[::1",
        "mqtt://a..b",
        f"mqtt://{'x' * 64}.local",
    ],
)
def test_what_cannot_be_connected_to(url: str) -> None:
    assert refusal(url).startswith(f"--broker {url}: ")


@pytest.mark.parametrize(
    "url",
    [
        "mqtt://me:s3cret@broker",
        "mqtt://:s3cret@broker",
        "mqtt://me:s3cret@broker:99999",
        "http://me:s3cret@broker",
        "mqtt://me:s3cret@",
        "mqtt://me:s3c/s3cret@broker",
        "mqtt://me:s3@s3cret@broker",
        "me:s3cret@broker",
        "mqtt://me:s3cret@[::1",
    ],
)
def test_a_password_in_the_url_is_refused_and_not_echoed(url: str) -> None:
    text = refusal(url)
    assert "s3" not in text
    assert "--password-file" in text
    assert "NANOFLEET_PASSWORD" in text


def test_the_password_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert opened("mqtt://me@broker").credentials.password() is None
    monkeypatch.setenv("NANOFLEET_PASSWORD", "from the environment")
    assert opened("mqtt://me@broker").credentials.password() == "from the environment"
    secret = tmp_path / "password"
    secret.write_bytes("  grün und blau \r\n".encode())
    broker = opened("mqtt://me@broker", password_file=secret)
    assert broker.credentials.password() == "  grün und blau "
    assert "blau" not in repr(broker) + str(broker)


def test_a_password_file_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert refusal("mqtt://me@broker", password_file=missing).startswith(f"--password-file {missing}: ")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert "--password-file" in refusal("mqtt://me@broker", password_file=tmp_path / "binary")


def test_a_password_without_a_user_would_not_be_sent(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("x")
    assert "USER@broker" in refusal("mqtt://broker", password_file=secret)


def test_certificates_without_tls_would_not_be_used(tmp_path: Path) -> None:
    assert "mqtts://" in refusal("mqtt://broker", ca_file=tmp_path / "ca.pem")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate, its key, the same key under a passphrase, and another key."""
    folder = tmp_path_factory.mktemp("pair")
    openssl = [need("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-subj", "/CN=me", "-days", "3"]
    for name in ("me", "other"):
        files = ["-noenc", "-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt")]
        subprocess.run([*openssl, *files], check=True, capture_output=True)
    locked = ["-out", str(folder / "locked.key"), "-aes256", "-passout", "pass:secret"]
    key = ["pkey", "-in", str(folder / "me.key")]
    subprocess.run([need("openssl"), *key, *locked], check=True, capture_output=True)
    (folder / "none.pem").write_text("no certificate")
    return folder


@pytest.mark.parametrize(
    ("ca", "cert", "key", "says"),
    [
        ("gone.pem", "", "", "--ca-file {}/gone.pem: No such file"),
        ("none.pem", "", "", "--ca-file {}/none.pem: there is no certificate (PEM) in it"),
        ("", "gone.crt", "me.key", "--cert-file {}/gone.crt: No such file"),
        ("", "none.pem", "me.key", "--cert-file {}/none.pem: there is no certificate (PEM) in it"),
        ("", "me.crt", "gone.key", "--key-file {}/gone.key: No such file"),
        ("", "me.crt", "none.pem", "--key-file {}/none.pem: there is no private key (PEM) in it"),
        ("", "me.crt", "other.key", "--key-file {}/other.key: it is not the key of --cert-file"),
        ("", "me.crt", "locked.key", "--key-file {}/locked.key: the key has a passphrase"),
        ("", "me.crt", "", "--key-file {}/me.crt: there is no private key (PEM) in it"),
        ("", "", "me.key", "--key-file {}/me.key: name the certificate as well"),
    ],
)
def test_the_one_file_that_cannot_be_used_is_named(
    ca: str, cert: str, key: str, says: str, pair: Path
) -> None:
    given = {"ca_file": ca, "cert_file": cert, "key_file": key}
    fields = {name: pair / file for name, file in given.items() if file}
    assert refusal("mqtts://broker", **fields).startswith(says.format(pair))


def test_the_end_of_a_certificate_is_read_from_it(pair: Path) -> None:
    broker = opened("mqtts://broker", cert_file=pair / "me.crt", key_file=pair / "me.key")
    ends = broker.credentials.ends()
    assert ends is not None
    assert timedelta(days=2.9) < ends - datetime.now(timezone.utc) < timedelta(days=3.1)
    assert opened("mqtts://broker").credentials.ends() is None


def test_a_certificate_of_the_far_future(pair: Path, tmp_path: Path) -> None:
    """From 2050 on the times are written in another form."""
    days = ["-days", "20000", "-noenc", "-keyout", str(tmp_path / "k"), "-out", str(tmp_path / "c")]
    command = [need("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-subj", "/CN=me", *days]
    subprocess.run(command, check=True, capture_output=True)
    ends = opened("mqtts://b", cert_file=tmp_path / "c", key_file=tmp_path / "k").credentials.ends()
    assert ends is not None
    assert ends.year == (datetime.now(timezone.utc) + timedelta(days=20000)).year


def test_tls_checks_certificate_and_name() -> None:
    tls = opened("mqtts://broker").credentials.tls()
    assert tls.verify_mode == ssl.CERT_REQUIRED
    assert tls.check_hostname


@pytest.mark.parametrize("root", ["", "/a", "a/", "a/+", "#", "$SYS", "{camera}", "a\0"])
def test_a_root_is_a_plain_topic(root: str) -> None:
    with pytest.raises(ValueError, match="a plain topic"):
        BrokerSettings(root=root)


def test_the_root_carries_the_topics() -> None:
    assert BrokerSettings(root="site/cams").topics.frames("door") == "site/cams/frames/door"
