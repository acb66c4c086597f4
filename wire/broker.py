"""Where the broker is, and how to log in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import Field, field_validator

from wire.credentials import Credentials
from wire.errors import SettingsError
from wire.settings import PASSWORD_VARIABLE, Settings
from wire.topics import Topics

_DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}


@dataclass(frozen=True)
class Broker:
    """An address with what it takes to log in. Its text never holds the password."""

    scheme: str
    host: str
    port: int
    path: str = "/mqtt"
    credentials: Credentials = field(default_factory=Credentials)
    #: Seconds between packets, at most; after one and a half times that either side takes the other for gone.
    keepalive: int = 30

    @property
    def websocket(self) -> bool:
        """Whether MQTT travels inside a WebSocket."""
        return self.scheme in ("ws", "wss")

    @property
    def secure(self) -> bool:
        """Whether the connection is TLS."""
        return self.scheme in ("mqtts", "wss")

    def __str__(self) -> str:
        user = f"{self.credentials.user}@" if self.credentials.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{user}{host}:{self.port}{self.path if self.websocket else ''}"


class BrokerSettings(Settings):
    """The settings by which a member finds its broker and its fleet."""

    broker: str = Field(
        "mqtt://localhost", description="mqtt://, mqtts://, ws:// or wss:// [USER@]HOST[:PORT][/PATH]"
    )
    root: str = Field("nanofleet", max_length=256, description="First level of the fleet's topics")
    password_file: Optional[Path] = Field(
        None, description=f"File with the password; or set {PASSWORD_VARIABLE}"
    )
    ca_file: Optional[Path] = Field(None, description="CA certificates to trust instead of the system's")
    cert_file: Optional[Path] = Field(
        None, description="Client certificate (PEM), if the broker asks for one"
    )
    key_file: Optional[Path] = Field(None, description="Private key of the client certificate")
    keepalive: int = Field(
        30,
        ge=2,
        le=65535,
        description="Seconds between signs of life; a dead line is noticed after 1.5 times that",
    )

    @field_validator("root")
    @classmethod
    def _root_is_plain(cls, root: str) -> str:
        if not root or set(root) & set("+#\0{}") or root.startswith(("/", "$")) or root.endswith("/"):
            raise ValueError(f"a plain topic such as nanofleet or site/nanofleet, not {root!r}")
        return root

    @property
    def topics(self) -> Topics:
        """The fleet's topics."""
        return Topics(self.root)

    def open_broker(self) -> Broker:
        """Resolve the address, the password and the certificates.

        Raises:
            SettingsError: the URL is malformed, or a file cannot be read.
        """
        broker = self.find_broker()
        # At the start a file that cannot be used is a wrong setting; later it may just be being replaced.
        broker.credentials.password()
        if broker.secure:
            broker.credentials.tls()
        return broker

    def find_broker(self) -> Broker:
        """Resolve the address, and read none of the files.

        Raises:
            SettingsError: the URL is malformed.
        """
        url = self._parse_url()
        return Broker(
            scheme=url.scheme,
            host=url.hostname or "",
            port=url.port or _DEFAULT_PORTS[url.scheme],
            path=url.path or "/mqtt",
            credentials=Credentials(
                unquote(url.username) if url.username else None,
                self.password_file,
                self.ca_file,
                self.cert_file,
                self.key_file,
            ),
            keepalive=self.keepalive,
        )

    def _parse_url(self) -> SplitResult:
        """The parts of --broker, which fit the other settings."""
        # Found in the text, because a URL that cannot be parsed must not be echoed either.
        user, at, _ = self.broker.rpartition("://")[2].rpartition("@")
        if at and ":" in user:
            raise SettingsError(
                "--broker: a password in the URL can be read in the process list; "
                f"put it in a --password-file, or in {PASSWORD_VARIABLE}"
            )
        try:
            url = urlsplit(self.broker)
            if url.port == 0:  # and a ValueError where it is no number
                raise ValueError("no broker listens on port 0")
            (url.hostname or "").encode("idna")  # as connecting does, with the same ValueError
        except ValueError as error:
            raise SettingsError(f"--broker {self.broker}: {error}") from None
        if url.scheme not in _DEFAULT_PORTS or not url.hostname:
            raise SettingsError(
                f"--broker {self.broker}: write mqtt://HOST, mqtts://HOST, ws://HOST/PATH or wss://HOST/PATH"
            )
        if self.password_file and not url.username:
            raise SettingsError(f"--password-file: name the user as well: {url.scheme}://USER@{url.hostname}")
        if (self.ca_file or self.cert_file or self.key_file) and url.scheme not in ("mqtts", "wss"):
            raise SettingsError(f"--broker {self.broker}: certificates need mqtts:// or wss://")
        if self.key_file and not self.cert_file:
            raise SettingsError(f"--key-file {self.key_file}: name the certificate as well, with --cert-file")
        return url
