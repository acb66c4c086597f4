"""How a member logs in: its password, certificate and CA, read from their files again at each connect.

To rotate one of them, replace its file; the next connect uses it, without a restart.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import socket
import ssl
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Optional

from wire import private
from wire.errors import SettingsError
from wire.settings import PASSWORD_VARIABLE

log = logging.getLogger(__name__)

#: An X.509 certificate's Validity [RFC 5280, 4.1.2.5]: two times, each a UTCTime or a GeneralizedTime.
_TIME = rb"(?:\x17\x0d(\d{12})Z|\x18\x0f(\d{14})Z)"
_VALIDITY = re.compile(rb"\x30[\x1e-\x22]" + _TIME + _TIME)


@dataclass(frozen=True)
class Credentials:
    """The user and the files; all of them may be missing."""

    user: Optional[str] = None
    password_file: Optional[Path] = None
    ca_file: Optional[Path] = None
    cert_file: Optional[Path] = None
    key_file: Optional[Path] = None

    def password(self) -> Optional[str]:
        """The password in the file, or else in the environment.

        Raises:
            SettingsError: the file cannot be read, or holds no text.
        """
        if self.password_file is None:
            return os.environ.get(PASSWORD_VARIABLE)
        _warn_if_shared("--password-file", self.password_file)
        try:
            return self.password_file.read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise SettingsError(f"--password-file {self.password_file}: {error.strerror}") from None
        except UnicodeDecodeError:  # its text would reveal a byte of the password
            raise SettingsError(f"--password-file {self.password_file}: expected text in UTF-8") from None

    def tls(self) -> ssl.SSLContext:
        """A context that verifies the broker's certificate and name, and shows this member's.

        Raises:
            SettingsError: a file cannot be read, or holds something else; the text names it.
        """
        try:
            context = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
        except OSError as error:  # an SSLError is one
            raise SettingsError(f"--ca-file {self.ca_file}: {_explain(error, 'certificate')}") from None
        if self.cert_file:
            self._show_certificate(context, self.cert_file)
        return context

    def _show_certificate(self, context: ssl.SSLContext, cert_file: Path) -> None:
        for setting, file in (("--cert-file", cert_file), ("--key-file", self.key_file)):
            try:
                if file is not None:
                    file.read_bytes()
            except OSError as error:
                raise SettingsError(f"{setting} {file}: {error.strerror or error}") from None
        try:
            # Without a file OpenSSL would ask the terminal for the passphrase of a key that has one.
            context.load_cert_chain(
                str(cert_file), self.key_file and str(self.key_file), password=_no_passphrase
            )
        except _Passphrase:
            raise SettingsError(
                f"--key-file {self.key_file or cert_file}: the key has a passphrase; store it without one "
                "(openssl pkey -in KEY -out NEW), readable for this member alone"
            ) from None
        except OSError as error:
            if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
                key = self.key_file or cert_file
                raise SettingsError(
                    f"--key-file {key}: it is not the key of --cert-file {cert_file}"
                ) from None
            if _VALIDITY.search(_der(cert_file)) is None:
                raise SettingsError(f"--cert-file {cert_file}: {_explain(error, 'certificate')}") from None
            raise SettingsError(
                f"--key-file {self.key_file or cert_file}: {_explain(error, 'private key')}"
            ) from None
        _warn_if_shared("--key-file", self.key_file or cert_file)

    def ends(self) -> Optional[datetime]:
        """When this member's certificate expires; None without one, or if that cannot be read."""
        if self.cert_file is None:
            return None
        try:
            found = _VALIDITY.search(_der(self.cert_file))
        except OSError:
            return None  # it is being replaced: the next connect reads it
        if found is None:
            return None
        short, long = found.group(3), found.group(4)
        # Two digits stand for the years 1950 to 2049 [RFC 5280, 4.1.2.5.1].
        text = (long or (b"20" if short < b"50" else b"19") + short).decode()
        return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=timezone.utc)


class FreshTls:
    """A stand-in for an SSLContext, so that each connect uses a new one, made from the present files.

    paho accepts a context only once; all that it does with it is to wrap a socket.
    """

    check_hostname = True

    def __init__(self) -> None:
        self._context: Optional[ssl.SSLContext] = None

    def renew(self, credentials: Credentials) -> None:
        """Read the files again.

        Raises:
            SettingsError: as `Credentials.tls` raises it.
        """
        self._context = credentials.tls()

    def wrap_socket(self, sock: socket.socket, **options: Any) -> ssl.SSLSocket:
        """Wrap a socket as SSLContext does."""
        assert self._context is not None
        return self._context.wrap_socket(sock, **options)


class _Passphrase(Exception):
    """OpenSSL asks for the passphrase of a key."""


def _no_passphrase() -> str:
    raise _Passphrase


@functools.lru_cache(maxsize=None)
def _warn_once(secret: str, who: str, file: Path) -> None:
    log.warning(
        "%s can be read by %s: chmod 600 %s (a secret of Kubernetes: defaultMode: 0400, "
        "of Docker: mode: 0400)",
        secret,
        who,
        file,
    )


def _warn_if_shared(setting: str, file: Path) -> None:
    """Only warn: Kubernetes and Docker mount secrets like this where there are no other users."""
    with contextlib.suppress(OSError):  # reading it reports that
        who = private.readers(file)
        if who:
            _warn_once(f"{setting} {file}", who, file)


def _der(file: Path) -> bytes:
    """The first certificate in a PEM file; empty if there is none."""
    text = file.read_text(encoding="ascii", errors="replace")
    begin = text.find(ssl.PEM_HEADER)
    end = text.find(ssl.PEM_FOOTER, begin)
    if begin < 0 or end < 0:
        return b""
    try:
        return ssl.PEM_cert_to_DER_cert(text[begin : end + len(ssl.PEM_FOOTER)])
    except ValueError:
        return b""


def _explain(error: OSError, wanted: str) -> str:
    if isinstance(error, ssl.SSLError):
        return f"there is no {wanted} (PEM) in it: {error.reason or error}"
    return error.strerror or str(error)
