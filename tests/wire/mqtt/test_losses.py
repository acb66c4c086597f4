"""Why there is no connection: what ends a member that never had one, and what it reads otherwise."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Callable, List, Optional, Tuple

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from tests.harness import wait_for
from tests.wire.mqtt.members import Member
from tests.wire.servers import LastWords, answering
from wire.broker import Broker
from wire.credentials import Credentials
from wire.errors import ConnectionRefused, DuplicateMember, NanofleetError, SettingsError
from wire.mqtt.losses import NOT_YET_VALID, explain_disconnect, explain_error
from wire.mqtt.packets import Publication
from wire.mqtt.reach import because

PLAIN = Broker("mqtt", "broker.lan", 1883)
SECURE = Broker("mqtts", "broker.lan", 8883)


def not_verified(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError("certificate verify failed")
    error.verify_code, error.verify_message = code, "unable to get local issuer certificate"
    return error


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (not_verified(20), ConnectionRefused, "name the CA that signed it with --ca-file"),
        (ssl.SSLError("unsupported protocol"), ConnectionRefused, "is this its TLS port"),
        (SettingsError("--cert-file gone.pem: No such file"), SettingsError, "gone.pem"),
    ],
    ids=["not trusted", "no TLS in common", "a file that is gone"],
)
def test_what_another_try_does_not_change_ends_only_a_first_one(
    error: Exception, kind: type, text: str
) -> None:
    with pytest.raises(NanofleetError, match=text) as caught:
        explain_error(error, SECURE, first=True)
    assert caught.type is kind
    assert explain_error(error, SECURE, first=False) == str(error)


@pytest.mark.parametrize("first", [True, False])
def test_a_certificate_that_is_not_yet_valid_waits_for_the_clock(first: bool) -> None:
    text = explain_error(not_verified(NOT_YET_VALID), SECURE, first=first)
    assert text.startswith("its certificate is not yet valid by this machine's clock (")
    assert "NTP" in text


@pytest.mark.parametrize("error", [ConnectionResetError("reset"), ssl.SSLEOFError("EOF")])
def test_a_broker_that_hangs_up_on_tls_may_speak_none(error: Exception) -> None:
    hint = "if it speaks no TLS on this port, write mqtt://"
    assert explain_error(error, SECURE, first=True).endswith(hint)
    assert hint not in explain_error(error, SECURE, first=False)
    if not isinstance(error, ssl.SSLError):
        assert hint not in explain_error(error, PLAIN, first=True)


def test_an_error_without_a_text_is_named_by_its_kind() -> None:
    assert explain_error(TimeoutError(), PLAIN, first=True) == "TimeoutError"


def test_an_end_before_the_connack_comes_with_hints() -> None:
    reason = ReasonCode(PacketTypes.DISCONNECT, "Unspecified error")
    assert explain_disconnect(reason, PLAIN, connected=True) == "Unspecified error"
    plain = explain_disconnect(reason, PLAIN, connected=False)
    assert plain.startswith("Unspecified error before CONNACK; is this the broker's MQTT port?")
    assert plain.endswith("write mqtts://")
    assert "--cert-file" in explain_disconnect(reason, SECURE, connected=False)


@pytest.mark.parametrize(
    ("year", "text"), [(b"20", "has expired: put a new one in its place"), (b"49", "does it not take --cert")]
)
def test_an_end_before_the_connack_may_be_for_the_certificate(tmp_path: Path, year: bytes, text: str) -> None:
    own = tmp_path / "client.crt"
    validity = b"\x30\x1e\x17\x0d190101000000Z\x17\x0d" + year + b"0101000000Z"
    own.write_text(ssl.DER_cert_to_PEM_cert(validity))
    broker = Broker("mqtts", "broker.lan", 8883, credentials=Credentials(cert_file=own))
    reason = ReasonCode(PacketTypes.DISCONNECT, "Unspecified error")
    assert text in explain_disconnect(reason, broker, connected=False)


def test_one_that_does_not_connect_again_says_why(join: Callable[..., Member]) -> None:
    with answering(b"") as port:
        member = join(f"mqtt://127.0.0.1:{port}", wait=False, reconnect=False)
        assert member.connection.ended.wait(60)
    assert "before CONNACK" in member.connection.trouble
    assert because(member.connection) == f": {member.connection.trouble}"


Codes = List[Tuple[bytes, int]]


def write_before_reading(
    join: Callable[..., Member], broker: LastWords, certificates: Optional[Path]
) -> Tuple[Member, Codes]:
    """A member that is busy while the broker says its last, and then publishes; with its PUBACKs."""
    codes: Codes = []
    url = f"mqtts://localhost:{broker.port}" if certificates else broker.url
    member = join(url, wait=False, settings={"ca_file": certificates / "ca.pem"} if certificates else {})

    def publish(payload: bytes) -> None:
        publication = Publication("t", payload, on_puback=lambda code: codes.append((payload, code)))
        member.connection.publish(publication)

    def be_busy() -> None:
        broker.speak.set()
        assert broker.gone.wait(60)
        publish(b"second")

    publish(b"first")
    wait_for(lambda: broker.published, what="the first publication")
    member.connection.call(be_busy)
    return member, codes


@pytest.mark.parametrize("tls", [False, True], ids=["TCP", "TLS"])
def test_a_takeover_is_heard_also_where_writing_meets_the_end_first(
    tls: bool, certificates: Path, join: Callable[..., Member]
) -> None:
    """Else it would come back, and take the session from the other in turn."""
    words = b"\xe0\x07\x8e\x05\x1f\x00\x02no"
    with LastWords(lambda mid: words, certificates if tls else None) as broker:
        member, _ = write_before_reading(join, broker, certificates if tls else None)
        assert member.connection.ended.wait(60)
        assert isinstance(member.connection.failure, DuplicateMember)


@pytest.mark.parametrize("tls", [False, True], ids=["TCP", "TLS"])
def test_a_puback_counts_also_where_writing_meets_the_end_first(
    tls: bool, certificates: Path, join: Callable[..., Member]
) -> None:
    """Else the frame would be sent, and answered, twice."""
    with LastWords(lambda mid: b"\x40\x02" + mid, certificates if tls else None) as broker:
        _, codes = write_before_reading(join, broker, certificates if tls else None)
        wait_for(lambda: len(codes) == 2, what="both PUBACKs")
        assert broker.published == [(0, b"first"), (1, b"second")]
