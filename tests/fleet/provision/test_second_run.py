"""A later run of `nanofleet provision`: what stays, and what changes."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from fleet.cli import main
from fleet.provision import certificates, keys
from tests.fleet.provision.folder import (
    MEMBER_FILES,
    MEMBERS,
    changed,
    ends,
    environment,
    modes,
    openssl,
    refusal,
    snapshot,
)
from tests.fleet.provisioned import REFUSED, Client, GuardedBroker, provision


def test_a_second_run_changes_nothing(fleet: Path) -> None:
    before = snapshot(fleet)
    assert provision(fleet).endswith("\nNothing has changed.\n")
    assert "kept" in provision(fleet, *MEMBERS)
    assert snapshot(fleet) == before


def test_secrets_are_hidden_again(fleet: Path) -> None:
    before = modes(fleet)
    for file in before:
        (fleet / file).chmod(0o644)
    provision(fleet)
    assert modes(fleet) == before


def test_a_new_member_changes_nothing_for_the_others(fleet: Path) -> None:
    before = snapshot(fleet)
    printed = provision(fleet, "--worker", "nano-2")
    new = [f"members/nano-2/{file}" for file in sorted(MEMBER_FILES)]
    assert changed(before, snapshot(fleet)) == ["broker/acl", "broker/passwords", *new]
    assert "worker    nano-2: made" in printed
    assert "worker    nano-1: kept" in printed
    assert "to the machine of nano-2;" in printed
    lines = (fleet / "broker" / "passwords").read_text().splitlines()
    assert set(before["broker/passwords"][0].decode().splitlines()) < set(lines)
    shared = [environment(fleet / "members" / name)["NANOFLEET_GROUP"] for name in ("nano-1", "nano-2")]
    assert shared[0] == shared[1]


def test_root_and_hosts_are_kept_until_others_are_named(tmp_path: Path) -> None:
    provision(tmp_path, "--root", "site/cams", "--host", "a.local,b.local", "--camera", "door")
    before = snapshot(tmp_path)
    assert "a.local, b.local: kept" in provision(tmp_path)
    assert snapshot(tmp_path) == before
    assert "b.local, c.local: changed" in provision(tmp_path, "--host", "b.local,c.local")
    assert changed(before, snapshot(tmp_path)) == ["broker/server.crt", "members/door/member.env"]
    provision(tmp_path, "--root", "elsewhere")
    told = environment(tmp_path / "members" / "door")
    assert told["NANOFLEET_ROOT"] == "elsewhere"
    assert told["NANOFLEET_BROKER"] == "mqtts://door@b.local:8883"
    assert "topic write elsewhere/frames/door\n" in (tmp_path / "broker" / "acl").read_text()
    assert "site/cams" not in (tmp_path / "broker" / "acl").read_text()


def test_announcements_are_below_the_prefix_and_of_this_root_alone(tmp_path: Path) -> None:
    members = ("--worker", "nano-1", "--operator", "admin")
    provision(tmp_path, "--root", "site/my_cams", "--discovery-prefix", "ha", *members)
    before = snapshot(tmp_path)
    acl = (tmp_path / "broker/acl").read_text()
    assert "topic readwrite ha/device/site_2fmy__cams/+/config\n" in acl
    assert "topic read homeassistant/status\n" in acl, "Home Assistant's birth has no other topic for that"
    for name in ("nano-1", "admin"):
        assert environment(tmp_path / "members" / name)["NANOFLEET_DISCOVERY_PREFIX"] == "ha"
    provision(tmp_path)
    assert snapshot(tmp_path) == before
    assert "worker    nano-1: changed" in provision(tmp_path, "--discovery-prefix", "homeassistant")
    assert "ha/device" not in (tmp_path / "broker" / "acl").read_text().replace("homeassistant/device", "")
    assert "NANOFLEET_DISCOVERY_PREFIX" not in environment(tmp_path / "members" / "nano-1")


def test_workers_observe_until_there_is_an_observer(fleet: Path) -> None:
    before = snapshot(fleet)
    written = ["broker/acl", "members/nano-1/member.env"]
    printed = provision(fleet, "--observer", "watch")
    assert "worker    nano-1: changed" in printed
    assert "to the machine of nano-1, watch;" in printed
    assert environment(fleet / "members" / "nano-1")["NANOFLEET_OBSERVE"] == "false"
    observer = environment(fleet / "members" / "watch")
    assert observer["NANOFLEET_OBSERVER_ID"] == "watch"
    assert observer["NANOFLEET_BROKER"] == "mqtts://watch@localhost:8884"
    shutil.rmtree(fleet / "members" / "watch")
    provision(fleet)
    assert [snapshot(fleet)[file][0] for file in written] == [before[file][0] for file in written]


def test_the_brokers_configuration_is_ones_own_once_it_is_there(fleet: Path) -> None:
    config = fleet / "broker" / "mosquitto.conf"
    config.write_text(config.read_text() + "max_connections 50\n")
    before = snapshot(fleet)
    provision(fleet)
    assert snapshot(fleet) == before


def test_a_password_of_ones_own(fleet: Path) -> None:
    password = fleet / "members" / "door" / "password"
    password.write_text("ein schöner Gruß\r\n", encoding="utf-8")
    password.chmod(0o644)
    before = snapshot(fleet)
    printed = provision(fleet)
    assert changed(before, snapshot(fleet)) == ["broker/passwords"]
    assert "camera    door: changed" in printed
    assert "to the machine of door;" in printed
    assert modes(fleet)["members/door/password"] == 0o600
    made = (fleet / "broker" / "passwords").read_bytes()
    assert "camera    door: kept" in provision(fleet)
    assert (fleet / "broker" / "passwords").read_bytes() == made


def test_a_member_whose_password_was_removed_is_named_with_its_new_one(fleet: Path) -> None:
    (fleet / "members" / "nano-1" / "password").unlink()
    printed = provision(fleet)
    assert "worker    nano-1: changed" in printed
    assert "to the machine of nano-1;" in printed
    assert provision(fleet).endswith("\nNothing has changed.\n")


@pytest.mark.parametrize(("days", "kept", "renewed_after"), [(825, 794, 796), (9, 5, 7)])
def test_certificates_are_made_again_30_days_before_their_end_or_after_two_thirds_of_their_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, kept: int, renewed_after: int
) -> None:
    def made(days_ago: int) -> None:
        then = datetime.now(timezone.utc) - timedelta(days=days_ago)
        with monkeypatch.context() as patched:
            patched.setattr(keys, "now", lambda: then)
            members = ("--camera", "door", "--worker", "nano-1")
            assert main(["provision", str(tmp_path), *members, "--days", str(days)]) == 0

    made(kept)
    before = snapshot(tmp_path)
    provision(tmp_path)
    assert snapshot(tmp_path) == before
    shutil.rmtree(tmp_path)
    made(renewed_after)
    before = snapshot(tmp_path)
    printed = provision(tmp_path)
    now = datetime.now(timezone.utc)
    renewed = ["broker/server.crt", "members/door/client.crt", "members/nano-1/client.crt"]
    assert changed(before, snapshot(tmp_path)) == renewed
    for file in renewed:
        assert timedelta(days=824) < ends(tmp_path / file) - now < timedelta(days=826)
    assert f"door: changed, certificate good until {now + timedelta(days=825):%Y-%m-%d}" in printed
    assert "to the machine of door, nano-1;" in printed


def test_no_certificate_outlives_its_authority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path)
    monkeypatch.setattr(keys, "CA_LIFE", timedelta(days=40))
    assert main(["provision", folder, "--camera", "door"]) == 0
    authority = tmp_path / "ca" / "ca.crt"
    assert ends(tmp_path / "members/door/client.crt") == ends(authority)


def test_an_authority_that_ends_is_made_again_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All members need its new files, so it does not happen by the way."""
    monkeypatch.setattr(keys, "CA_LIFE", timedelta(days=40))
    assert main(["provision", str(tmp_path), "--camera", "door", "--worker", "nano-1"]) == 0
    before = {key: key.read_bytes() for key in tmp_path.rglob("*.key")}
    monkeypatch.setattr(keys, "CA_LIFE", timedelta(days=3650))
    monkeypatch.setattr(certificates, "RENEW_WITHIN", timedelta(days=41))
    for name in ("ca", "inner-ca"):
        file = tmp_path / "ca" / f"{name}.crt"
        assert refusal(capsys, str(tmp_path)).startswith(f"{file} ends on {ends(file):%Y-%m-%d}: remove it")
        file.rename(tmp_path / f"old-{name}.crt")
    assert main(["provision", str(tmp_path)]) == 0
    assert {key: key.read_bytes() for key in tmp_path.rglob("*.key")} == before
    # The key is the same, so a member without the new files can go on under the old one.
    for ca, member in (("ca", "door"), ("inner-ca", "nano-1")):
        for authority in (tmp_path / "ca" / f"{ca}.crt", tmp_path / f"old-{ca}.crt"):
            openssl("verify", "-CAfile", str(authority), str(tmp_path / f"members/{member}/client.crt"))


def test_other_authorities_sign_everything_again(fleet: Path) -> None:
    for file in (fleet / "ca").iterdir():
        file.unlink()
    provision(fleet)
    for ca, member in (("ca", "door"), ("inner-ca", "nano-1")):
        openssl("verify", "-CAfile", str(fleet / f"ca/{ca}.crt"), str(fleet / f"members/{member}/client.crt"))


def test_a_folder_under_another_name_is_another_member(fleet: Path) -> None:
    (fleet / "members" / "garden").rename(fleet / "members" / "yard")
    printed = provision(fleet)
    assert "member    garden: removed" in printed
    assert "camera    yard: changed" in printed
    assert environment(fleet / "members" / "yard")["NANOFLEET_CAMERA"] == "yard"
    subject = openssl("x509", "-in", str(fleet / "members/yard/client.crt"), "-noout", "-subject")
    assert subject.strip().endswith("yard")


def test_a_member_whose_folder_was_removed_is_out(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet"
    provision(fleet, "--camera", "door,garden", "--worker", "nano-1,nano-2")
    shutil.copytree(fleet, tmp_path / "before")
    broker = GuardedBroker(tmp_path, fleet).start()
    try:
        for name in ("door", "garden", "nano-1", "nano-2"):
            with Client(broker, name) as client:
                assert client.connack == 0, client.fault
        for name in ("garden", "nano-2"):
            shutil.rmtree(fleet / "members" / name)
        printed = provision(fleet)
        assert "member    garden: removed" in printed
        assert "member    nano-2: removed" in printed
        assert "members   bring" not in printed
        broker.stop()
        broker.start()
        for name, connack in (("door", 0), ("garden", REFUSED), ("nano-1", 0), ("nano-2", REFUSED)):
            with Client(broker, name, home=tmp_path / "before" / "members" / name) as client:
                assert client.connack == connack, (name, client.fault)
    finally:
        broker.stop()
    assert "garden" not in provision(fleet)
