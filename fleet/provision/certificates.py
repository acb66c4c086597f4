"""The fleet's own certificate authorities, and the certificates that they sign.

    Authority(ca/ca)                         ca.key, made if it is missing  ──> ca.crt, signed by itself
        └── certify(members/door/client)     client.key                     ──> client.crt, signed by ca.key

What exists is kept for as long as it will do.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, List, NamedTuple, Sequence

from fleet.files import put
from fleet.provision import keys
from wire.errors import SettingsError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate

RENEW_WITHIN = timedelta(days=30)


class Certified(NamedTuple):
    """A certificate that is there now."""

    ends: datetime
    #: Whether this call has written it, or its key.
    new: bool


class Authority:
    """A certificate authority in two files, FILE.key and FILE.crt."""

    def __init__(self, file: Path, name: str) -> None:
        """Open an authority; make it if there is none, or from its key if that is all there is.

        Args:
            file: the two files without their suffixes.
            name: its common name.

        Raises:
            SettingsError: the files cannot be used, or the authority is about to end.
        """
        certificate_file, key_file = file.with_suffix(".crt"), file.with_suffix(".key")
        certificate = keys.load_certificate(certificate_file)
        if certificate is not None and not key_file.exists():
            raise SettingsError(
                f"{key_file} is missing, and only with it can certificates be signed: bring it back, or "
                f"remove {certificate_file.name} as well to have both made again, and then bring all folders "
                "to their machines again"
            )
        self._key = keys.open_key(key_file)
        self._certificate = certificate or keys.sign(keys.authority_builder(self._key, name), self._key)
        self._check(file)
        put(certificate_file, self.pem)

    def _check(self, file: Path) -> None:
        if keys.public_bytes(self._certificate) != keys.public_bytes(self._key):
            raise SettingsError(
                f"{file}.crt and {file.name}.key do not belong together: bring the right one back"
            )
        if self.ends - RENEW_WITHIN < keys.now():
            raise SettingsError(
                f"{file}.crt ends on {self.ends:%Y-%m-%d}: remove it and run this again, to have another "
                "made with the same key, and then bring all folders to their machines again"
            )

    @property
    def pem(self) -> bytes:
        """The certificate, as a file holds it."""
        return keys.pem_of(self._certificate)

    @property
    def ends(self) -> datetime:
        """When the certificate is no longer valid."""
        return self._certificate.not_valid_after_utc

    def certify(self, file: Path, name: str, days: int, hosts: Sequence[str] = ()) -> Certified:
        """Keep or make a key in FILE.key, and a certificate for it in FILE.crt.

        Args:
            file: the two files without their suffixes.
            name: the certificate's common name.
            days: its validity, unless the authority ends before.
            hosts: the names and IP addresses of a server; a client has none.

        Raises:
            SettingsError: a file is there and cannot be read.
        """
        key = keys.open_key(file.with_suffix(".key"))
        there = keys.load_certificate(file.with_suffix(".crt"))
        if there is not None and self._will_do(there, key, name, hosts):
            return Certified(there.not_valid_after_utc, new=False)
        ends = min(keys.now() + timedelta(days=days), self.ends)
        builder = keys.member_builder(key, name, hosts).issuer_name(self._certificate.subject)
        made = keys.sign(builder.not_valid_after(ends), self._key)
        put(file.with_suffix(".crt"), keys.pem_of(made))
        return Certified(made.not_valid_after_utc, new=True)

    def _will_do(
        self, there: Certificate, key: EllipticCurvePrivateKey, name: str, hosts: Sequence[str]
    ) -> bool:
        life = there.not_valid_after_utc - there.not_valid_before_utc
        return (
            there.not_valid_before_utc
            <= keys.now()
            <= there.not_valid_after_utc - min(RENEW_WITHIN, life / 3)
            and there.subject == keys.common_name(name)
            and keys.public_bytes(there) == keys.public_bytes(key)
            and keys.hosts_in(there) == list(hosts)
            and keys.issuer_key_id(there) == keys.key_id(self._key)
        )


def hosts_of(file: Path) -> List[str]:
    """The names that a server's certificate was made for; none if there is no such file.

    Raises:
        SettingsError: it cannot be read.
    """
    certificate = keys.load_certificate(file)
    return [] if certificate is None else keys.hosts_in(certificate)
