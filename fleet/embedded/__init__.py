"""The embedded broker: rumqttd in a child process, for the demo and for a home without Mosquitto."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import subprocess
import tempfile
from pathlib import Path
from typing import Iterator, Tuple, TypeVar
from urllib.parse import urlsplit

from fleet.embedded.probe import Probe
from fleet.ports import free_port
from wire.broker import BrokerSettings
from wire.errors import NanofleetError, SettingsError, failure_of
from wire.install import how_to_install
from wire.signals import blocked_in_children

log = logging.getLogger(__name__)

B = TypeVar("B", bound=BrokerSettings)

#: Frames of a 4K camera pass; rumqttd's own default of 20 KB would cut a thumbnail.
MAX_PAYLOAD = 64 * 1024 * 1024

#: Seconds after which the broker is killed: it ignores other signals.
STOP_SECONDS = 0.5

# rumqttd speaks each MQTT version on a port of its own. It keeps what is undelivered in memory, by topic
# filter, in segments: 8 of 64 MiB. It ignores Receive Maximum: a worker has 100 frames in
# hand at most, whatever its window, and receives nothing more until it acks one (see worker.delivery.outbox).
_CONFIG = """
id = 0
[router]
id = 0
max_connections = 10010
max_outgoing_packet_count = 200
max_segment_size = 67108864
max_segment_count = 8
[v5.1]
name = "mqtt5"
listen = "{host}:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = {max_payload}
max_inflight_count = 100
[v4.1]
name = "mqtt311"
listen = "{host}:{port311}"
next_connection_delay_ms = 1
[v4.1.connections]
connection_timeout_ms = 60000
max_payload_size = {max_payload}
max_inflight_count = 100
"""


@contextlib.contextmanager
def embedded_broker(host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Run a broker while the block lasts: MQTT 5 on `port`, MQTT 3.1.1 on the next.

    Args:
        host: the address to listen on. There are no passwords: loopback unless you trust the network.
        port: 0 for any two free ones.

    Yields:
        The broker's URL for MQTT 5.

    Raises:
        SettingsError: no broker for this Python, no such address, or the ports are taken.
    """
    try:
        from iotcore import Broker
    except ModuleNotFoundError:
        raise SettingsError(
            f"the embedded broker needs Python 3.9 or later and iotcore: {how_to_install('demo')}; "
            "or name a broker that runs, such as --broker mqtt://localhost"
        ) from None
    port = port or _two_free_ports(host)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "rumqttd.toml"
        text = _CONFIG.format(host=_bracketed(host), port=port, port311=port + 1, max_payload=MAX_PAYLOAD)
        config.write_text(text, encoding="utf-8")
        logging.getLogger("iotcore").setLevel(logging.WARNING)  # it logs both ports, and not which is which
        try:
            broker = Broker(config_path=str(config))
            with blocked_in_children():
                broker.start()
        except (OSError, RuntimeError, ValueError) as error:
            raise NanofleetError(
                f"--broker embedded: cannot listen on {host}, ports {port} and {port + 1}: {error}; "
                f"name others with --broker embedded://{host}:PORT"
            ) from None
        try:
            yield f"mqtt://{_bracketed(host)}:{port}"
        finally:
            with contextlib.suppress(subprocess.TimeoutExpired):  # the end of this process ends it, too
                broker.stop(timeout=STOP_SECONDS)


@contextlib.contextmanager
def with_broker(settings: B, default_port: int = 1883) -> Iterator[B]:
    """Settings that name a real broker: `embedded` or `embedded://HOST[:PORT]` starts one for the block.

    Raises:
        NanofleetError: it cannot be started; or, at the end of the block, it has stopped letting members in.
    """
    if not is_embedded(settings.broker):
        yield settings
        return
    host, port = _address(settings.broker, default_port)
    with embedded_broker(host, port) as url:
        port = urlsplit(url).port or port
        log.info("embedded broker: %s for MQTT 5, port %d for MQTT 3.1.1", url, port + 1)
        if not ipaddress.ip_address(host).is_loopback:
            log.warning(
                "anyone who reaches %s can publish and listen: the embedded broker has no passwords", host
            )
        reachable = url.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")
        ready = settings.model_copy(update={"broker": reachable})
        with Probe(ready.open_broker()):
            yield ready


def is_embedded(broker: str) -> bool:
    """Whether a setting asks for a broker of its own."""
    return broker == "embedded" or broker.startswith("embedded://")


def _address(broker: str, default_port: int) -> Tuple[str, int]:
    url = urlsplit(broker if "://" in broker else "embedded://127.0.0.1")
    if "@" in url.netloc:
        raise SettingsError("--broker embedded: it has no users; write embedded://ADDRESS[:PORT]")
    try:
        host = str(ipaddress.ip_address(url.hostname or "127.0.0.1"))
        port = url.port or default_port
        if port > 65534:
            raise ValueError("the port must leave the next one for MQTT 3.1.1")
        return host, port
    except ValueError as error:
        raise SettingsError(f"--broker {broker}: {error}; write embedded://ADDRESS[:PORT]") from None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _two_free_ports(host: str) -> int:
    try:
        return free_port(host, count=2)
    except OSError as error:
        raise failure_of(f"--broker embedded: cannot listen on {host}", error) from None
