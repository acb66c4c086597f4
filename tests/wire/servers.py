"""Small real servers, for what no broker at hand does: answer as an old one, die in time, speak WebSocket."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import select
import socket
import ssl
import struct
import sys
import termios
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Callable, Generator, Iterator, List, Optional, Sequence, Tuple, Type


def server_tls(certificates: Path) -> ssl.SSLContext:
    """TLS by the certificate for localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(certificates / "server.pem"), str(certificates / "server.key"))
    return context


class Server:
    """Accepts TCP connections on a free port, each served in a thread; a context manager."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._open: List[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    def serve(self, client: socket.socket) -> None:
        """Speak with one client."""
        raise NotImplementedError

    def __enter__(self) -> Server:
        self._threads[0].start()
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for sock in self._open:
            with contextlib.suppress(OSError):  # the other side may have left first
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def keep(self, sock: socket.socket) -> socket.socket:
        """Shut this socket down when the server ends."""
        self._open.append(sock)
        return sock

    def start(self, function: Callable[[], None]) -> None:
        """Run a function in a thread that the server waits for."""
        thread = threading.Thread(target=function)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # shut down
            self.keep(client)
            self.start(lambda client=client: self._serve(client))  # type: ignore[misc]

    def _serve(self, client: socket.socket) -> None:
        # A client that leaves in the middle of a word is what some tests are about.
        with contextlib.suppress(OSError, EOFError), client:
            self.serve(client)


class _Answering(Server):
    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self._answer = answer

    def serve(self, client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(self._answer)


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """The port of a server that says one thing to everybody, and hangs up."""
    with _Answering(answer) as server:
        yield server.port


class ForgetfulBroker(Server):
    """Speaks just enough MQTT 5 to take a frame, and hangs up on the first one before its PUBACK."""

    def __init__(self) -> None:
        super().__init__()
        self.published: List[bytes] = []

    def serve(self, client: socket.socket) -> None:
        for kind, body in _packets(client):
            if kind == 3:  # PUBLISH, at QoS 1
                self.published.append(body)
                if len(self.published) == 1:
                    return
                (topic,) = struct.unpack_from("!H", body)
                client.sendall(b"\x40\x02" + body[2 + topic : 4 + topic])


class RefusingBroker(Server):
    """Speaks just enough MQTT 5 to let a member subscribe, and answers its publications with given codes."""

    def __init__(self, codes: Sequence[int], granted: int = 1) -> None:
        """Prepare the answers.

        Args:
            codes: the reason codes of the PUBACKs, in turn; the last one holds for all that come later.
            granted: what each subscription gets: a QoS, or a reason code that refuses it.
        """
        super().__init__()
        self._codes = list(codes)
        self._granted = granted
        self.publications = 0

    def serve(self, client: socket.socket) -> None:
        for kind, body in _packets(client):
            if kind == 8:  # SUBSCRIBE to the results and the rejects of one camera
                client.sendall(b"\x90\x05" + body[:2] + bytes([0, self._granted, self._granted]))
            elif kind == 3:  # PUBLISH, at QoS 1
                self.publications += 1
                client.sendall(self.answer(body))

    def answer(self, body: bytes) -> bytes:
        """The PUBACK to a PUBLISH."""
        code = self._codes.pop(0) if len(self._codes) > 1 else self._codes[0]
        (topic,) = struct.unpack_from("!H", body)
        return b"\x40\x03" + body[2 + topic : 4 + topic] + bytes([code])


class LateUnsubacks(Server):
    """Answers the first UNSUBSCRIBE at the second, a message behind it, and the second at a PUBLISH."""

    def serve(self, client: socket.socket) -> None:
        unanswered: List[bytes] = []
        for kind, body in _packets(client):
            if kind == 10:  # UNSUBSCRIBE
                unanswered.append(b"\xb0\x04" + body[:2] + b"\x00\x00")
                if len(unanswered) == 2:
                    client.sendall(unanswered.pop(0) + b"\x30\x05\x00\x01a\x00m")
            elif kind == 3:  # PUBLISH, at QoS 1
                (topic,) = struct.unpack_from("!H", body)
                client.sendall(b"".join(unanswered) + b"\x40\x02" + body[2 + topic : 4 + topic])


class NoAnswers(Server):
    """Accepts each member, and answers nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: List[int] = []

    def serve(self, client: socket.socket) -> None:
        for kind, body in _packets(client):
            if kind in (3, 8, 10):  # PUBLISH at QoS 1, SUBSCRIBE, UNSUBSCRIBE
                at = 2 + struct.unpack_from("!H", body)[0] if kind == 3 else 0
                self.ids += struct.unpack_from("!H", body, at)


class LastWords(Server):
    """Speaks just enough MQTT 5 to take a publication, answers the first one, and hangs up by a reset.

    Attributes:
        published: the payloads, each with its connection's number.
        speak: set to have it say so.
        gone: set once it has hung up.
    """

    def __init__(self, words: Callable[[bytes], bytes], certificates: Optional[Path] = None) -> None:
        """Prepare what it says to a packet id; over TLS, if there are certificates."""
        super().__init__()
        self._words = words
        self._tls = certificates and server_tls(certificates)
        self.published: List[Tuple[int, bytes]] = []
        self.speak, self.gone = threading.Event(), threading.Event()
        self._connections = 0

    def serve(self, client: socket.socket) -> None:
        number, self._connections = self._connections, self._connections + 1
        if self._tls:
            client = self.keep(self._tls.wrap_socket(client, server_side=True))
        with client, contextlib.closing(_packets(client)) as packets:
            for kind, body in packets:
                if kind != 3:  # PUBLISH, at QoS 1
                    continue
                (topic,) = struct.unpack_from("!H", body)
                self.published.append((number, body[5 + topic :]))
                mid = body[2 + topic : 4 + topic]
                if number:
                    client.sendall(b"\x40\x02" + mid)
                    continue
                assert self.speak.wait(60)
                client.sendall(self._words(mid))
                _reset_on_close(client)
                break
        self.gone.set()


def _reset_on_close(sock: socket.socket) -> None:
    """Wait until the other side's kernel has what was sent, and have a close be a reset."""
    while int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder):
        time.sleep(0.01)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _packets(client: socket.socket) -> Generator[Tuple[int, bytes], None, None]:
    """What a client sends, by kind and body, but for its CONNECT, which is accepted.

    Raises:
        EOFError: it has left.
    """
    with client.makefile("rb") as stream:
        while True:
            kind, body = _packet(stream)
            if kind == 1:  # CONNECT
                client.sendall(b"\x20\x03\x00\x00\x00")
            else:
                yield kind, body


def _packet(stream: BinaryIO) -> Tuple[int, bytes]:
    first = _exactly(stream, 1)[0]
    length = shift = 0
    while True:
        byte = _exactly(stream, 1)[0]
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return first >> 4, _exactly(stream, length)


def _exactly(stream: BinaryIO, count: int) -> bytes:
    found = b""
    while len(found) < count:
        more = stream.read(count - len(found))
        if not more:
            raise EOFError
        found += more
    return found


class Boaster(Server):
    """A broker behind it, whose CONNACKs name a Maximum Packet Size that no packet could have."""

    def __init__(self, broker: str, size: int) -> None:
        super().__init__()
        host, _, port = broker[len("mqtt://") :].partition(":")
        self._broker = (host, int(port))
        self._size = size

    def serve(self, client: socket.socket) -> None:
        with socket.create_connection(self._broker) as broker, broker.makefile("rb", 0) as stream:
            self.keep(broker)
            broker.sendall(client.recv(65536))
            _, body = _packet(stream)  # CONNACK: flags, reason, the length of its properties, and these
            properties = body[3:] + struct.pack("!BI", 39, self._size)
            client.sendall(bytes([0x20, 3 + len(properties), *body[:2], len(properties)]) + properties)
            self.start(lambda: _pass_on(client, broker))
            _pass_on(broker, client)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            content = source.recv(65536)
            target.sendall(content)
            if not content:
                break
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


class WebSocketProxy(Server):
    """WebSocket (RFC 6455) in front, plain MQTT behind."""

    def __init__(self, broker: str, certificates: Optional[Path] = None) -> None:
        super().__init__()
        host, _, port = broker[len("mqtt://") :].partition(":")
        self._broker = (host, int(port))
        self.paths: List[str] = []
        self._tls: Optional[ssl.SSLContext] = None
        if certificates:
            self._tls = server_tls(certificates)

    def serve(self, client: socket.socket) -> None:
        # One thread for both ways: an SSLSocket may not be read and written at once (before Python 3.13).
        if self._tls:
            client = self.keep(self._tls.wrap_socket(client, server_side=True))
        with client, client.makefile("rb", 0) as stream, socket.create_connection(self._broker) as broker:
            self.keep(broker)
            self._shake_hands(client, stream)
            while True:
                buffered = isinstance(client, ssl.SSLSocket) and client.pending()
                ready, _, _ = select.select([client, broker], [], [], 0 if buffered else None)
                if client in ready or buffered:
                    broker.sendall(_read_frame(stream))
                if broker in ready:
                    content = broker.recv(65536)
                    if not content:
                        return
                    client.sendall(_frame(content))

    def _shake_hands(self, client: socket.socket, stream: BinaryIO) -> None:
        self.paths.append(stream.readline().split()[1].decode())
        headers = {}
        for line in iter(stream.readline, b"\r\n"):
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        assert headers["sec-websocket-protocol"] == "mqtt"
        key = headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        client.sendall(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n".encode()
        )


def _frame(content: bytes) -> bytes:
    if len(content) < 126:
        return b"\x82" + bytes([len(content)]) + content
    if len(content) < 65536:
        return b"\x82\x7e" + struct.pack("!H", len(content)) + content
    return b"\x82\x7f" + struct.pack("!Q", len(content)) + content


def _read_frame(stream: BinaryIO) -> bytes:
    _, length = _exactly(stream, 2)
    length &= 0x7F
    if length == 126:
        (length,) = struct.unpack("!H", _exactly(stream, 2))
    elif length == 127:
        (length,) = struct.unpack("!Q", _exactly(stream, 8))
    mask = _exactly(stream, 4)
    masked = int.from_bytes(_exactly(stream, length), "big")
    pattern = int.from_bytes((mask * (length // 4 + 1))[:length], "big")
    return (masked ^ pattern).to_bytes(length, "big")
