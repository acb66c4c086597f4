"""Sends what is queued in few system calls, where paho makes one for each packet, and for each a copy."""

from __future__ import annotations

import itertools
import socket
import ssl
import time
from typing import List, Union

import paho.mqtt.client as mqtt

#: The most packets in one system call; the kernel takes 1024 pieces.
MOST_AT_ONCE = 64
#: Bytes of a TLS record, at most: OpenSSL sends one at a time.
_RECORD = 1 << 14
_DISCONNECT, _KIND = 0xE0, 0xF0

Piece = Union[bytes, bytearray, memoryview]


def enqueue(client: mqtt.Client, first: int, piece: bytes) -> None:
    """Queue a packet, or a piece of one, with paho's: as `_packet_queue` does, which wakes others as well.

    Args:
        client: paho's.
        first: the packet's first byte.
        piece: its bytes.
    """
    client._out_packet.append(
        {
            "command": first,
            "mid": 0,
            "qos": 1,
            "pos": 0,
            "to_process": len(piece),
            "packet": piece,
            "info": None,
        }
    )


def write(client: mqtt.Client) -> None:
    """Send what is queued, as far as the socket takes it.

    A DISCONNECT is left to paho, which closes the socket behind it.

    Raises:
        OSError: the connection is lost; paho does not know that yet, and has not closed the socket.
    """
    sock, queue = client.socket(), client._out_packet
    while queue:
        pieces = _pieces(client)
        if not pieces:
            client.loop_write()
            return
        try:
            if isinstance(sock, socket.socket) and not isinstance(sock, ssl.SSLSocket):
                sent = sock.sendmsg(pieces)
            else:
                sent = client._sock_send(_record(pieces))  # type: ignore[arg-type]
        except BlockingIOError:
            return
        client._last_msg_out = time.monotonic()
        while queue and sent >= queue[0]["to_process"]:
            sent -= queue.popleft()["to_process"]
        if sent:
            queue[0]["pos"] += sent
            queue[0]["to_process"] -= sent


def _pieces(client: mqtt.Client) -> List[Piece]:
    """What is left of the first packets; nothing if the first is a DISCONNECT."""
    pieces: List[Piece] = []
    for packet in itertools.islice(client._out_packet, MOST_AT_ONCE):
        if packet["command"] & _KIND == _DISCONNECT:
            break
        at = packet["pos"]
        pieces.append(memoryview(packet["packet"])[at:] if at else packet["packet"])
    return pieces


def _record(pieces: List[Piece]) -> Piece:
    """The beginning of a large packet, or some small ones together.

    Where TLS or a WebSocket could not send, it wants the same bytes again, and takes more behind them.
    """
    record = bytearray()
    for piece in pieces:
        if len(piece) >= _RECORD and not record:
            return piece
        record += piece[: _RECORD - len(record)]
        if len(record) == _RECORD:
            break
    return record
