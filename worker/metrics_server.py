"""The worker's HTTP server: /metrics for Prometheus, /healthz and /readyz for supervisors.

It may listen on a network where anyone connects: connections are limited in number, and each in time.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import socket
import socketserver
import sys
import threading
import time
from typing import Any, Callable, Dict, Iterable, Iterator, List, Sequence
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

from wire.errors import failure_of
from worker.metrics import Metrics

log = logging.getLogger(__name__)

#: Workers beside each other on one machine each take the next port.
_PORTS_TO_TRY = 100
#: An address that is no other port's fault: none of this machine, or IPv6 where there is none.
_NO_ADDRESS = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
#: Connections at the same time. More are closed at once: each costs a thread and a file descriptor.
_MAX_CONNECTIONS = 32
#: Seconds of silence after which a connection is closed, and seconds after which it is, whatever comes: a
#: request that arrives byte by byte would have one of the few connections for itself.
_MOST_SILENCE_SECONDS = 5.0
_MOST_SECONDS = 10.0


@contextlib.contextmanager
def serve_metrics(
    metrics: Metrics,
    host: str,
    port: int,
    *,
    or_next: bool,
    healthy: Callable[[], bool],
    ready: Callable[[], bool],
) -> Iterator[str]:
    """Serve /metrics, /healthz and /readyz while the block lasts; yields the address, empty for port 0.

    Args:
        metrics: what /metrics shows.
        host: the address to listen on.
        port: 0 for no metrics.
        or_next: whether to take the next free port where this one is taken, by another worker for example.
        healthy: what /healthz asks.
        ready: what /readyz asks.

    Raises:
        NanofleetError: the address cannot be listened on.
    """
    if port == 0:
        yield ""
        return
    app = _App(metrics, host, {"/healthz": healthy, "/readyz": ready})
    server = _listen(app, host, range(port, min(port + _PORTS_TO_TRY, 65536)) if or_next else [port])
    port = server.server_port
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield f"http://[{host}]:{port}/metrics" if ":" in host else f"http://{host}:{port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _App:
    """What is answered, as WSGI has it."""

    def __init__(self, metrics: Metrics, host: str, probes: Dict[str, Callable[[], bool]]) -> None:
        self._exposition = make_wsgi_app(metrics.registry)
        self._host = host
        self._probes = probes

    def __call__(self, environ: Dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if _is_loopback(self._host) and not _is_loopback(_hostname(environ.get("HTTP_HOST", ""))):
            # A page in a browser on this machine may have had its own name resolved to this address.
            return _text(start_response, "403 Forbidden", f"only for {self._host} and localhost\n")
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return self._expose(environ, start_response)
        probe = self._probes.get(path)
        if probe is None:
            return _text(start_response, "404 Not Found", "/metrics, /healthz or /readyz\n")
        if not probe():
            return _text(start_response, "503 Service Unavailable", "no\n")
        return _text(start_response, "200 OK", "ok\n")

    def _expose(self, environ: Dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            return self._exposition(environ, start_response)  # type: ignore[no-any-return]
        except Exception as error:  # noqa: BLE001 - a header that it stumbles over
            log.warning("metrics: a request cannot be answered: %s: %s", type(error).__name__, error)
            return _text(start_response, "500 Internal Server Error", "see the worker's log\n")


def _listen(app: Callable[..., Any], host: str, ports: Sequence[int]) -> WSGIServer:
    for port in ports:
        try:
            return make_server(host, port, app, _Server6 if ":" in host else _Server, _QuietHandler)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and port != ports[-1]:
                continue
            no_address = isinstance(error, socket.gaierror) or error.errno in _NO_ADDRESS
            setting = "--metrics-host" if no_address else "--metrics-port"
            where = f"cannot listen on {host}, port {port}; name another, or port 0 for no metrics"
            raise failure_of(f"{setting}: {where}", error) from None
    raise AssertionError("there is at least one port")


def _hostname(host: str) -> str:
    """The name in a Host header; empty where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _text(start_response: Callable[..., Any], status: str, text: str) -> List[bytes]:
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [text.encode()]


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """Serves each connection in a thread, within limits."""

    daemon_threads = True
    #: What the kernel holds until it is accepted: with 5, a few connections at once make others wait seconds.
    request_queue_size = 128

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._free = threading.Semaphore(_MAX_CONNECTIONS)
        #: When each connection that is open was opened.
        self._since: Dict[socket.socket, float] = {}

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread, or close it where too many are open."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        self._since[request] = time.monotonic()
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._end(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._end(request)

    def _end(self, request: socket.socket) -> None:
        del self._since[request]
        self._free.release()

    def service_actions(self) -> None:
        """Close what is open for too long: its thread then finds the end. Called twice a second."""
        for request, since in list(self._since.items()):
            if time.monotonic() - since > _MOST_SECONDS:
                with contextlib.suppress(OSError):  # it has just ended by itself
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing where a client hangs up in the middle, or is silent."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def server_bind(self) -> None:
        """Bind, without http.server's look-up of the host's name, which waits where DNS does not answer."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()


class _Server6(_Server):
    address_family = socket.AF_INET6


class _QuietHandler(WSGIRequestHandler):
    timeout = _MOST_SILENCE_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: there is a scrape every few seconds."""
