"""The fleet's own certificate authorities, and the certificates that they sign.

    Authority(ca/ca)                         ca.key, made if it is missing  ──> ca.crt, signed by itself
        └── certify(members/door/client)     client.key                     ──> client.crt, signed by ca.key

What exists is kept for as long as it will do. Keys are of the curve P-256, which every TLS library knows.
"""

from __future__ import annotations

import ipaddress
import warnings
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import List, NamedTuple, Optional, Sequence

from fleet.files import hide, put
from wire.errors import SettingsError
from wire.files import SECRET

with warnings.catch_warnings():
    # The last release for a Python that has reached its end says so at each import, to everybody.
    warnings.filterwarnings("ignore", message=r"Python 3\.\d+ is no longer supported")
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFE = timedelta(days=3650)
RENEW_WITHIN = timedelta(days=30)
#: A machine without a clock battery may be late.
_BACKDATED = timedelta(days=1)


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
        certificate = _load_certificate(certificate_file)
        if certificate is not None and not key_file.exists():
            raise SettingsError(
                f"{key_file} is missing, and only with it can certificates be signed: bring it back, or "
                f"remove {certificate_file.name} as well to have both made anew, and then bring all folders "
                "to their machines again"
            )
        self._key = _open_key(key_file)
        self._certificate = certificate or _sign(_authority_builder(self._key, name), self._key)
        self._check(file)
        put(certificate_file, self.pem)

    def _check(self, file: Path) -> None:
        if _public(self._certificate) != _public(self._key):
            raise SettingsError(
                f"{file}.crt and {file.name}.key do not belong together: bring the right one back"
            )
        if self.ends - RENEW_WITHIN < _now():
            raise SettingsError(
                f"{file}.crt ends on {self.ends:%Y-%m-%d}: remove it and run this again, to have another "
                "made with the same key, and then bring all folders to their machines again"
            )

    @property
    def pem(self) -> bytes:
        """The certificate, as a file holds it."""
        return _pem(self._certificate)

    @property
    def ends(self) -> datetime:
        """When the certificate is no longer valid."""
        return self._certificate.not_valid_after_utc

    def certify(self, file: Path, name: str, days: int, hosts: Sequence[str] = ()) -> Certified:
        """See to a key in FILE.key and a certificate for it in FILE.crt.

        Args:
            file: the two files without their suffixes.
            name: the certificate's common name.
            days: its validity, unless the authority ends before.
            hosts: the names and IP addresses of a server; a client has none.

        Raises:
            SettingsError: a file is there and cannot be read.
        """
        key = _open_key(file.with_suffix(".key"))
        there = _load_certificate(file.with_suffix(".crt"))
        if there is not None and self._will_do(there, key, name, hosts):
            return Certified(there.not_valid_after_utc, new=False)
        ends = min(_now() + timedelta(days=days), self.ends)
        builder = _member_builder(key, name, hosts).issuer_name(self._certificate.subject)
        made = _sign(builder.not_valid_after(ends), self._key)
        put(file.with_suffix(".crt"), _pem(made))
        return Certified(made.not_valid_after_utc, new=True)

    def _will_do(
        self, there: x509.Certificate, key: ec.EllipticCurvePrivateKey, name: str, hosts: Sequence[str]
    ) -> bool:
        life = there.not_valid_after_utc - there.not_valid_before_utc
        return (
            there.not_valid_before_utc <= _now() <= there.not_valid_after_utc - min(RENEW_WITHIN, life / 3)
            and there.subject == _common_name(name)
            and _public(there) == _public(key)
            and _hosts(there) == list(hosts)
            and _issuer_key_id(there) == _key_id(self._key)
        )


def hosts_of(file: Path) -> List[str]:
    """The names that a server's certificate was made for; none if there is no such file.

    Raises:
        SettingsError: it cannot be read.
    """
    certificate = _load_certificate(file)
    return [] if certificate is None else _hosts(certificate)


# --- what is signed -----------------------------------------------------------------------------------


def _authority_builder(key: ec.EllipticCurvePrivateKey, name: str) -> x509.CertificateBuilder:
    return (
        _builder(key, name)
        .issuer_name(_common_name(name))
        .not_valid_after(_now() + CA_LIFE)
        # No authority below this one.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )


def _member_builder(
    key: ec.EllipticCurvePrivateKey, name: str, hosts: Sequence[str]
) -> x509.CertificateBuilder:
    # A member's certificate must not do for a broker's, nor the other way round.
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = (
        _builder(key, name)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    )
    if hosts:
        names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    return builder


def _builder(key: ec.EllipticCurvePrivateKey, name: str) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_common_name(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - _BACKDATED)
        .add_extension(x509.SubjectKeyIdentifier(_key_id(key)), critical=False)
    )


def _sign(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    # Python 3.13 verifies strictly, and wants both key identifiers.
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    return builder.add_extension(issuer, critical=False).sign(key, hashes.SHA256())


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


# --- what is there ------------------------------------------------------------------------------------


def _open_key(file: Path) -> ec.EllipticCurvePrivateKey:
    """The private key in a file; made if there is none."""
    if not file.exists():
        made = ec.generate_private_key(ec.SECP256R1())
        pem = made.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        put(file, pem, SECRET)
        return made
    hide(file)
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it is encrypted
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SettingsError(
            f"{file}: expected the unencrypted key of an elliptic curve, as PEM: bring it back"
        )
    return key


def _load_certificate(file: Path) -> Optional[x509.Certificate]:
    if not file.exists():
        return None
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise SettingsError(
            f"{file}: expected a certificate, as PEM: remove it to have another made"
        ) from None
    return certificate


def _hosts(certificate: x509.Certificate) -> List[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in names]


def _key_id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest


def _issuer_key_id(certificate: x509.Certificate) -> Optional[bytes]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except x509.ExtensionNotFound:
        return None
    return extension.value.key_identifier


def _public(of: object) -> bytes:
    """A public key's bytes, to compare."""
    assert isinstance(of, (x509.Certificate, ec.EllipticCurvePrivateKey))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return of.public_key().public_bytes(serialization.Encoding.DER, form)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _now() -> datetime:
    return datetime.now(timezone.utc)
