"""Keys and certificates: made, signed, kept in files as PEM, and read again.

Keys are of the curve P-256, which every TLS library knows.
"""

from __future__ import annotations

import ipaddress
import warnings
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import List, Optional, Sequence

from fleet.files import hide, put
from wire.errors import SettingsError
from wire.files import SECRET

with warnings.catch_warnings():
    # The last release for a Python that has reached its end warns at each import.
    warnings.filterwarnings("ignore", message=r"Python 3\.\d+ is no longer supported")
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFE = timedelta(days=3650)
#: A machine without a clock battery may be late.
_BACKDATED = timedelta(days=1)


# --- what is signed -----------------------------------------------------------------------------------


def authority_builder(key: ec.EllipticCurvePrivateKey, name: str) -> x509.CertificateBuilder:
    """An authority's certificate, which its own key is to sign."""
    return (
        _builder(key, name)
        .issuer_name(common_name(name))
        .not_valid_after(now() + CA_LIFE)
        # No authority below this one.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )


def member_builder(
    key: ec.EllipticCurvePrivateKey, name: str, hosts: Sequence[str]
) -> x509.CertificateBuilder:
    """A certificate for a client, or with hosts for a server; its issuer and its end are missing yet."""
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
        .subject_name(common_name(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now() - _BACKDATED)
        .add_extension(x509.SubjectKeyIdentifier(key_id(key)), critical=False)
    )


def sign(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """The certificate, signed."""
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


def common_name(name: str) -> x509.Name:
    """A subject of this name alone."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


# --- what is in a file --------------------------------------------------------------------------------


def open_key(file: Path) -> ec.EllipticCurvePrivateKey:
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


def load_certificate(file: Path) -> Optional[x509.Certificate]:
    """The certificate in a file; None if there is none."""
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


def hosts_in(certificate: x509.Certificate) -> List[str]:
    """The names and addresses of a server that a certificate is good for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in names]


def key_id(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The identifier of a key, by its public half."""
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest


def issuer_key_id(certificate: x509.Certificate) -> Optional[bytes]:
    """The identifier of the key that signed a certificate, if the certificate has it."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except x509.ExtensionNotFound:
        return None
    return extension.value.key_identifier


def public_bytes(of: object) -> bytes:
    """A public key's bytes, to compare."""
    assert isinstance(of, (x509.Certificate, ec.EllipticCurvePrivateKey))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return of.public_key().public_bytes(serialization.Encoding.DER, form)


def pem_of(certificate: x509.Certificate) -> bytes:
    """A certificate, as a file holds it."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def now() -> datetime:
    """The time, by which certificates are judged."""
    return datetime.now(timezone.utc)
