"""`nanofleet provision`: a fleet's certificates, passwords and Mosquitto ACL.

    FOLDER/root             the first level of its topics
    FOLDER/ca/              ca.crt, ca.key
    FOLDER/broker/          ca.crt, server.crt, server.key, passwords, acl, mosquitto.conf
    FOLDER/members/NAME/    ca.crt, client.crt, client.key, password, member.env, role

The folder is all the state there is: each run reads what is there, and adds what is missing. A run that was
cut off is therefore completed by the next one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import os
import secrets
import shlex
import tempfile
import warnings
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Union

from fleet.provision_settings import ProvisionSettings
from wire.errors import SettingsError
from wire.topics import Topics, is_id

with warnings.catch_warnings():
    # The last release for Python 3.8 says so to everybody, at each import.
    warnings.filterwarnings("ignore", message="Python 3.8 is no longer supported")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: In the order in which they are listed.
ROLES = ("camera", "worker", "listener", "operator")

CA_DAYS = 3650
RENEW_WITHIN = timedelta(days=30)
#: A machine without a clock battery may be late.
_BACKDATED = timedelta(days=1)

_PUBLIC = 0o644
_SECRET = 0o600

# The passwords made here are random: nobody can guess them, however fast. A password that somebody has put in
# their place is protected a little; each login costs the broker, which has one thread, these iterations.
_ITERATIONS = 1000

#: The limits of deploy/mosquitto/mosquitto.conf, which explains them; a test compares.
LIMITS = {
    "max_packet_size": "16777216",
    "max_inflight_messages": "64",
    "max_queued_messages": "10000",
    "max_queued_bytes": "256000000",
    "persistence": "true",
    "persistence_location": "/var/lib/mosquitto/",
    "autosave_interval": "5",
    "autosave_on_changes": "false",
}

_MOSQUITTO_CONF = """\
# Written by `nanofleet provision`; it takes the place of /etc/mosquitto/mosquitto.conf.
listener 8883
cafile /etc/mosquitto/ca.crt
certfile /etc/mosquitto/server.crt
keyfile /etc/mosquitto/server.key
# Lets nobody in who has no client certificate of the fleet's, on top of the password.
#require_certificate true

allow_anonymous false
password_file /etc/mosquitto/passwords
acl_file /etc/mosquitto/acl

# deploy/mosquitto/mosquitto.conf of nanofleet's repository explains these.
"""


@dataclass(frozen=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def provision(settings: ProvisionSettings) -> int:
    """Create what is missing in a fleet's folder, and say what was done; returns the exit code.

    Raises:
        SettingsError: a member would have two roles, or a file cannot be used.
    """
    folder = Path(settings.folder)
    try:
        before = _known_members(folder)
        members = _with_new_members(before, settings)
        _make_folders(folder, members)
        root = _keep_root(folder, settings)
        authority = _open_authority(folder / "ca")
        hosts = _hosts(folder / "broker", settings)
        renewed = [
            name
            for name, role in members.items()
            if _write_member(folder, name, role, root, hosts[0], authority, settings.days)
        ]
        new_server = _write_broker(folder, members, root, hosts, authority, settings.days)
    except OSError as error:
        raise SettingsError(f"{folder}: {error}") from None
    _tell(folder, authority, hosts, new_server, members, before, renewed)
    return 0


# --- members ------------------------------------------------------------------------------------------


def acl(root: str, members: Mapping[str, str]) -> str:
    """Mosquitto's ACL file: what each member may read and write; all else is denied.

    Args:
        root: first level of the fleet's topics.
        members: the role of each, by name.
    """
    sections = (
        "\n".join([f"# {role}", f"user {name}", *(f"topic {right}" for right in _rights(root, name, role))])
        for name, role in _in_order(members).items()
    )
    return "\n\n".join(sections) + "\n"


def _rights(root: str, name: str, role: str) -> List[str]:
    topics = Topics(root)
    listens = [f"read {topics.results('+')}", f"read {topics.rejects('+')}", f"read {topics.worker('+')}"]
    return {
        "camera": [
            f"write {topics.frames(name)}",
            f"read {topics.results(name)}",
            f"read {topics.rejects(name)}",
        ],
        "worker": [
            f"read {topics.frames('+')}",
            f"write {topics.results('+')}",
            f"write {topics.rejects('+')}",
            f"write {root}/replies/#",
            # The others' as well: a worker reads their statuses, and writes the one of a worker it adopts.
            f"readwrite {topics.worker('+')}",
            f"read {root}/control/#",
        ],
        "listener": listens,
        "operator": [
            *listens,
            f"write {topics.frames('+')}",
            f"read {root}/replies/#",
            f"readwrite {root}/control/#",
        ],
    }[role]


def _in_order(members: Mapping[str, str]) -> Dict[str, str]:
    return dict(sorted(members.items(), key=lambda item: (ROLES.index(item[1]), item[0])))


def _known_members(folder: Path) -> Dict[str, str]:
    members = {}
    for file in (folder / "members").glob("*/role"):
        name, role = file.parent.name, file.read_text(encoding="utf-8").strip()
        if not is_id(name) or role not in ROLES:
            raise SettingsError(f"{file}: expected one of {', '.join(ROLES)}, for a member with a valid name")
        members[name] = role
    return members


def _with_new_members(known: Mapping[str, str], settings: ProvisionSettings) -> Dict[str, str]:
    members = dict(known)
    given = {role: getattr(settings, role) for role in ROLES}
    for role, names in given.items():
        for name in names:
            if members.setdefault(name, role) != role:
                raise SettingsError(
                    f"--{role} {name}: there is a {members[name]} of that name; give each member its own"
                )
    return _in_order(members)


def _write_member(
    folder: Path, name: str, role: str, root: str, host: str, authority: _Authority, days: int
) -> bool:
    """Write what a member has not yet; returns whether it has a new certificate."""
    home = folder / "members" / name
    _put(home / "role", f"{role}\n")
    if not (home / "password").exists():
        _put(home / "password", secrets.token_urlsafe(32) + "\n", _SECRET)
    _put(home / "ca.crt", _pem(authority.certificate))
    _put(home / "member.env", _member_env(name, role, root, host))
    key = _open_key(home / "client.key")
    return _certify(home / "client.crt", key, name, [], authority, days)


def _member_env(name: str, role: str, root: str, host: str) -> str:
    variables = {
        "BROKER": f"mqtts://{name}@[{host}]" if ":" in host else f"mqtts://{name}@{host}",
        "ROOT": root,
        "CA_FILE": "ca.crt",
        "PASSWORD_FILE": "password",
        "CERT_FILE": "client.crt",
        "KEY_FILE": "client.key",
    }
    if role == "camera":
        variables["CAMERA"] = name
    if role == "worker":
        variables["WORKER_ID"] = name
    return "\n".join(
        [
            f"# The {role} {name}. Written by `nanofleet provision`, and anew by each run of it.",
            "# The paths are relative: run nanofleet in this folder.",
            *(f"NANOFLEET_{variable}={shlex.quote(value)}" for variable, value in variables.items()),
            "",
        ]
    )


# --- the broker ---------------------------------------------------------------------------------------


def _hosts(home: Path, settings: ProvisionSettings) -> List[str]:
    """The broker's names so far, then those that are new."""
    kept = _names(_load_certificate(home / "server.crt"))
    given = settings.host if "host" in settings.model_fields_set or not kept else []
    return list(dict.fromkeys([*kept, *given]))


def _write_broker(
    folder: Path,
    members: Mapping[str, str],
    root: str,
    hosts: Sequence[str],
    authority: _Authority,
    days: int,
) -> bool:
    """Write the broker's files; returns whether it has a new certificate."""
    home = folder / "broker"
    _put(home / "ca.crt", _pem(authority.certificate))
    _put(home / "acl", f"# Written by `nanofleet provision`.\n\n{acl(root, members)}")
    _put(home / "mosquitto.conf", mosquitto_conf())
    _put(home / "passwords", _passwords(home / "passwords", folder / "members", members), _SECRET)
    key = _open_key(home / "server.key")
    return _certify(home / "server.crt", key, "nanofleet broker", hosts, authority, days)


def mosquitto_conf() -> str:
    """The configuration for a Mosquitto whose files are in /etc/mosquitto."""
    return _MOSQUITTO_CONF + "".join(f"{option} {value}\n" for option, value in LIMITS.items())


def _passwords(file: Path, homes: Path, members: Mapping[str, str]) -> str:
    """Mosquitto's password file: one line a member, and the same line for the same password."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    before = dict(line.split(":", 1) for line in lines if ":" in line)
    after = {}
    for name in members:
        password = _read_password(homes / name / "password")
        known = before.get(name, "")
        after[name] = known if _matches(password, known) else hashed(password)
    return "".join(f"{name}:{entry}\n" for name, entry in after.items())


def _read_password(file: Path) -> str:
    try:
        password = file.read_text(encoding="utf-8").rstrip("\r\n")  # as the member will read it
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file}: {error}") from None
    if not password:
        raise SettingsError(f"{file} is empty: remove it, and another password will be made")
    return password


def hashed(password: str, salt: Optional[bytes] = None) -> str:
    """A password as Mosquitto 2 keeps it: `$7$iterations$salt$hash`, by PBKDF2 with SHA-512."""
    salt = salt or secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS)
    return f"$7${_ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def _matches(password: str, entry: str) -> bool:
    try:
        salt = base64.b64decode(entry.split("$")[3], validate=True)
    except (IndexError, binascii.Error):
        return False
    return hmac.compare_digest(hashed(password, salt), entry)


# --- certificates -------------------------------------------------------------------------------------


def _open_authority(home: Path) -> _Authority:
    """The fleet's own CA; made if there is none, or from the key if that is all there is."""
    file = home / "ca.crt"
    certificate = _load_certificate(file)
    if certificate is not None and not (home / "ca.key").exists():
        raise SettingsError(f"{home / 'ca.key'} is missing, and only with it can certificates be made")
    key = _open_key(home / "ca.key")
    if certificate is None:
        certificate = _sign(_ca_builder(key), key)
        _put(file, _pem(certificate))
    elif _ends(certificate) - RENEW_WITHIN < _now():
        raise SettingsError(
            f"{file} ends on {_ends(certificate):%Y-%m-%d}: remove it and run this again, to have another "
            "made with the same key; then bring ca.crt to the broker and to every member"
        )
    if _public(certificate.public_key()) != _public(key.public_key()):
        raise SettingsError(f"{file} and ca.key do not belong together")
    return _Authority(certificate, key)


def _certify(
    file: Path,
    key: ec.EllipticCurvePrivateKey,
    name: str,
    hosts: Sequence[str],
    authority: _Authority,
    days: int,
) -> bool:
    """Write a certificate, unless the one that is there will do; returns whether it was written.

    Args:
        file: where it is kept.
        key: whose certificate it is.
        name: its common name.
        hosts: a server's names; a client has none.
        authority: signs it.
        days: its validity.
    """
    there = _load_certificate(file)
    if (
        there is not None
        and _ends(there) - RENEW_WITHIN >= _now()
        and _public(there.public_key()) == _public(key.public_key())
        and _names(there) == list(hosts)
        and _issuer_key(there) == _key_id(authority.key)
    ):
        return False
    ends = min(_now() + timedelta(days=days), _ends(authority.certificate))
    builder = _member_builder(key, name, hosts).not_valid_after(ends)
    builder = builder.issuer_name(authority.certificate.subject)
    _put(file, _pem(_sign(builder, authority.key)))
    return True


def _ca_builder(key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    name = _common_name("nanofleet CA")
    return (
        _builder(key, name)
        .issuer_name(name)
        .not_valid_after(_now() + timedelta(days=CA_DAYS))
        # No CA below this one.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
    )


def _member_builder(
    key: ec.EllipticCurvePrivateKey, name: str, hosts: Sequence[str]
) -> x509.CertificateBuilder:
    # A member's certificate must not do for a broker's, nor the other way round.
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = (
        _builder(key, _common_name(name))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    )
    if hosts:
        names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    return builder


def _builder(key: ec.EllipticCurvePrivateKey, name: x509.Name) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - _BACKDATED)
        .add_extension(x509.SubjectKeyIdentifier(_key_id(key)), critical=False)
    )


def _sign(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    # Python 3.13 verifies strictly, and wants both key identifiers.
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    return builder.add_extension(issuer, critical=False).sign(key, hashes.SHA256())


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
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


def _names(certificate: Optional[x509.Certificate]) -> List[str]:
    """The hosts that a certificate is for."""
    if certificate is None:
        return []
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in names]


def _key_id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest


def _issuer_key(certificate: x509.Certificate) -> Optional[bytes]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except x509.ExtensionNotFound:
        return None
    return extension.value.key_identifier


def _ends(certificate: x509.Certificate) -> datetime:
    return certificate.not_valid_after_utc


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _public(key: object) -> bytes:
    """A public key's bytes, to compare."""
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


# --- files --------------------------------------------------------------------------------------------


def _make_folders(folder: Path, members: Mapping[str, str]) -> None:
    """Make what folders are missing, each for this user alone; those that exist keep their modes."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("ca", "broker", "members", *(f"members/{member}" for member in members)):
        (folder / name).mkdir(mode=0o700, exist_ok=True)


def _keep_root(folder: Path, settings: ProvisionSettings) -> str:
    """The fleet's root: the one that is given, or else the one of the run before."""
    file = folder / "root"
    if "root" in settings.model_fields_set or not file.exists():
        _put(file, f"{settings.root}\n")
        return settings.root
    return file.read_text(encoding="utf-8").rstrip("\n")


def _open_key(file: Path) -> ec.EllipticCurvePrivateKey:
    """A private key; made if there is none."""
    if not file.exists():
        made = ec.generate_private_key(ec.SECP256R1())
        pem = made.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _put(file, pem, _SECRET)
        return made
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except (ValueError, TypeError) as error:  # TypeError: it is encrypted
        raise SettingsError(f"{file}: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SettingsError(f"{file}: expected the key of an elliptic curve")
    return key


def _load_certificate(file: Path) -> Optional[x509.Certificate]:
    """A certificate that was made here, if there is one."""
    if not file.exists():
        return None
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
    except ValueError as error:
        raise SettingsError(f"{file}: {error}") from None
    if not isinstance(certificate.public_key(), ec.EllipticCurvePublicKey):
        raise SettingsError(f"{file}: expected the key of an elliptic curve")
    return certificate


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _put(file: Path, content: Union[str, bytes], mode: int = _PUBLIC) -> None:
    """Write a file in one step, unless it is as it should be."""
    wanted = content.encode() if isinstance(content, str) else content
    if file.exists() and file.read_bytes() == wanted:
        return
    handle, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=str(file.parent))  # with mode 0600
    draft = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(wanted)
            stream.flush()
            os.fsync(stream.fileno())
        draft.chmod(mode)
        draft.replace(file)
    except BaseException:
        draft.unlink()
        raise


# --- what is told -------------------------------------------------------------------------------------


def _tell(
    folder: Path,
    authority: _Authority,
    hosts: Sequence[str],
    new_server: bool,
    members: Mapping[str, str],
    before: Mapping[str, str],
    renewed: Sequence[str],
) -> None:
    """Print what there is, what is new, and what to do next; nothing secret."""
    server = _load_certificate(folder / "broker" / "server.crt")
    assert server is not None
    print(f"CA        ends {_ends(authority.certificate):%Y-%m-%d}")
    print(
        f"broker    {', '.join(hosts)}: certificate {'made' if new_server else 'kept'}, "
        f"ends {_ends(server):%Y-%m-%d}"
    )
    for name, role in members.items():
        done = "made" if name not in before else "certificate renewed" if name in renewed else "kept"
        print(f"{role:<10}{name}: {done}")
    here = shlex.quote(str(folder))
    print(
        f"""
Next:
  broker    sudo install -m 600 -o mosquitto {here}/broker/* /etc/mosquitto/
            sudo systemctl restart mosquitto
  members   bring {here}/members/NAME to its machine, and there, in that folder:
            set -a; . ./member.env; nanofleet worker   (a camera: nanofleet publish photos/)
  you       keep {here}/ca/ca.key to yourself: whoever has it can make members"""
    )
