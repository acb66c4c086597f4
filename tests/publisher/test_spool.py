"""The spool: what it has taken is there after a kill, a full disk or a restart, until its answer comes."""

from __future__ import annotations

from pathlib import Path
from typing import List

import pytest

from publisher.settings import PublishSettings
from publisher.spool import Spool, SpoolFull
from tests.harness import is_open, nanofleet
from tests.publisher.answerer import kept
from wire.errors import SettingsError


def put(spool: Spool, name: str, image: bytes = b"image") -> None:
    spool.put(name, "door", f"{name}.jpg", "2026-01-01T00:00:00+00:00", image)


def test_frames_outlive_the_process_in_their_order(tmp_path: Path) -> None:
    with Spool(tmp_path, 10_000) as spool:
        for name in "cab":
            put(spool, name, f"{name}\n\0 bytes".encode())
        spool.remove("a")
        identity = spool.client_id
    with Spool(tmp_path, 10_000) as spool:
        assert list(spool.kept) == ["c", "b"]
        kept = spool.kept["c"]
        assert (kept.camera, kept.source) == ("door", "c.jpg")
        assert spool.image(kept) == b"c\n\0 bytes"
        assert spool.client_id == identity
        put(spool, "d")
    with Spool(tmp_path, 10_000) as spool:
        assert list(spool.kept) == ["c", "b", "d"]


def test_two_publishers_have_a_spool_each_and_the_next_gathers_both(tmp_path: Path) -> None:
    with Spool(tmp_path, 10_000) as first, Spool(tmp_path, 10_000) as second:
        assert first.client_id != second.client_id
        put(first, "a")
        put(second, "b")
    with Spool(tmp_path, 10_000) as both:
        assert sorted(both.kept) == ["a", "b"]


def test_a_frame_that_cannot_be_removed_is_told_and_forgotten(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Spool(tmp_path, 10_000) as spool:
        put(spool, "a")
        file = spool.kept["a"].file
        file.unlink()
        file.mkdir()  # stands for a file system that has become read-only
        spool.remove("a")
        assert not spool.kept
    assert f"{file}: Is a directory: it is done with, but stays" in caplog.text


def test_a_damaged_frame_costs_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Spool(tmp_path, 10_000) as spool:
        for name in "abc":
            put(spool, name)
        emptied, replaced = spool.kept["a"].file, spool.kept["b"].file
    emptied.write_bytes(b"")  # as some file systems leave it after a power cut
    replaced.unlink()
    replaced.mkdir()  # stands for what the disk cannot read
    with Spool(tmp_path, 10_000) as spool:
        assert list(spool.kept) == ["c"]
        assert spool.damaged == 2
        put(spool, "d")
    assert f"lost from the spool: {emptied}: this is no frame of the spool's" in caplog.text
    assert f"lost from the spool: {replaced}: Is a directory" in caplog.text
    with Spool(tmp_path, 10_000) as spool:
        assert list(spool.kept) == ["c", "d"]


@pytest.mark.parametrize("left", [b"", bytes(32), b"\xff\xfe"])
def test_a_damaged_client_id_is_made_again(tmp_path: Path, left: bytes) -> None:
    with Spool(tmp_path, 10_000) as spool:
        put(spool, "a")
    (tmp_path / "1" / "client-id").write_bytes(left)
    with Spool(tmp_path, 10_000) as spool:
        assert spool.client_id.startswith("nanofleet-publisher-")
        assert list(spool.kept) == ["a"]
        identity = spool.client_id
    with Spool(tmp_path, 10_000) as spool:
        assert spool.client_id == identity


def test_a_spool_that_cannot_be_opened_is_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "1" / "client-id").mkdir(parents=True)
    spool = Spool(tmp_path, 10_000)
    with pytest.raises(SettingsError, match="Is a directory"), spool:
        pass
    assert (tmp_path / "1" / "lock").exists()
    assert not is_open(tmp_path / "1" / "lock")


def test_its_size_is_bounded(tmp_path: Path) -> None:
    with Spool(tmp_path, 2000) as spool:
        put(spool, "a", bytes(1000))
        with pytest.raises(SpoolFull, match="--spool-size"):
            put(spool, "b", bytes(1000))
        assert list(spool.kept) == ["a"]
        oldest = spool.drop_oldest()
        assert oldest is not None
        assert oldest.frame_id == "a"
        put(spool, "b", bytes(1000))
        assert spool.drop_oldest() is not None
        assert spool.drop_oldest() is None


def test_half_a_frame_is_none(tmp_path: Path) -> None:
    with Spool(tmp_path, 10_000) as spool:
        put(spool, "a")
    (tmp_path / "1" / ".00000000000000000009-b.frame.part").write_bytes(b"{")
    with Spool(tmp_path, 10_000) as spool:
        assert list(spool.kept) == ["a"]
    assert not list((tmp_path / "1").glob(".*.part"))


def test_a_full_disk_refuses_and_frees_what_is_answered(small_disk: Path) -> None:
    with Spool(small_disk, 1 << 40) as spool:

        def fill() -> None:
            for number in range(100):
                put(spool, f"f{number}", bytes(100_000))

        with pytest.raises(SpoolFull, match="No space left"):
            fill()
        taken = [f"f{number}" for number in range(len(spool.kept))]
        assert list(spool.kept) == taken
        assert len(taken) > 5
        spool.remove("f0")
        put(spool, "again", bytes(100_000))
    with Spool(small_disk, 1 << 40) as spool:
        assert list(spool.kept) == [*taken[1:], "again"]
        assert all(spool.image(kept) == bytes(100_000) for kept in spool.kept.values())


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="--spool-dir"), Spool(tmp_path / "file", 10):
        pass


def test_fleets_share_no_spool() -> None:
    settings = [PublishSettings(sources=["a.jpg"], root=root) for root in ("site_1", "site-1")]
    assert len({each.spool_folder for each in settings}) == 2


def test_a_frame_larger_than_the_spool_costs_no_other(
    mosquitto_url: str, root: str, images: Path, spool: List[str], tmp_path: Path
) -> None:
    address = ["--broker", mosquitto_url, "--root", root, *spool, "--timeout", "1"]
    policy = ["--spool-policy", "drop-oldest", "--spool-size", "50000"]
    nanofleet("publish", str(images), *policy, *address)
    assert len(kept(tmp_path)) == 20
    (tmp_path / "panorama.jpg").write_bytes(bytes(50_000))
    run = nanofleet("publish", str(tmp_path / "panorama.jpg"), *policy, *address)
    assert run.returncode == 1
    assert "bytes, and the spool holds 50,000 (--spool-size)" in run.stderr
    assert len(kept(tmp_path)) == 20


def test_a_camera_that_outruns_a_silent_fleet_fills_the_spool_and_drops_the_oldest(
    mosquitto_url: str, root: str, images: Path, spool: List[str], tmp_path: Path
) -> None:
    address = ["--broker", mosquitto_url, "--root", root, *spool]
    policy = ["--spool-policy", "drop-oldest", "--spool-size", "1000", "--fps", "50", "--timeout", "1"]
    run = nanofleet("publish", str(images), *policy, *address)
    assert run.returncode == 1
    assert "dropped to make room" in run.stdout
    sources = [file.read_bytes().partition(b"\n")[2] for file in kept(tmp_path)]
    assert sources
    assert sources == [b"\xff\xd8\xff\xe0 image %d" % n for n in range(20 - len(sources), 20)]
    policy[1] = "refuse"
    run = nanofleet("publish", str(images), *policy, *address)
    assert run.returncode == 1
    assert "not taken because the spool was full 20" in run.stdout


def test_no_wait_needs_no_spool(mosquitto_url: str, images: Path) -> None:
    run = nanofleet("publish", str(images), "--no-wait", "--broker", mosquitto_url)
    assert run.returncode == 2
    assert "--no-wait needs --no-spool" in run.stderr
