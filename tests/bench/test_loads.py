"""Rounds, loads and frames, and what is told of the machine that they run on."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from bench import gpu, paper
from bench.about import instruction_sets, processor
from bench.drive import Order, Outcome
from bench.drivers.tutorials import dealt, together
from bench.latency import capacity_of, loads_of
from bench.measure import frames_for, shuffled_rounds
from bench.observer import ACTIVE, FULL, STANDBY, WITHOUT, fixed_rate
from bench.rows import quantile
from bench.sizes import installed_bytes
from bench.weights import find_weights
from tests.bench.rows import ROWS, observed


def test_each_round_has_everyone_once_in_an_order_of_its_own() -> None:
    turns = list(shuffled_rounds("abcdef", 5, seed=1))
    rounds = ["".join(item for number, item in turns if number == wanted) for wanted in range(5)]
    assert all(sorted(order) == list("abcdef") for order in rounds)
    assert len(set(rounds)) > 1
    assert turns == list(shuffled_rounds("abcdef", 5, seed=1))
    assert turns != list(shuffled_rounds("abcdef", 5, seed=2))


def test_arrivals_are_a_poisson_process_that_a_seed_repeats() -> None:
    due = Order(20_000, rate=50.0, seed=3).due()
    gaps = [later - earlier for earlier, later in zip([0.0, *due], due)]
    assert statistics.mean(gaps) == pytest.approx(1 / 50, rel=0.05)
    assert statistics.stdev(gaps) == pytest.approx(1 / 50, rel=0.05)  # exponential: as large as the mean
    assert due == Order(20_000, rate=50.0, seed=3).due()
    assert due != Order(20_000, rate=50.0, seed=4).due()
    assert Order(3).due() == [0.0, 0.0, 0.0]


def test_frames_have_the_payload_asked_for() -> None:
    sizes = [len(jpeg) for jpeg in Order(6, "thumbnail", payload=30_000).jpegs()]
    assert sizes == [30_000] * 6
    assert len(next(Order(1, "480p").jpegs())) > 30_000


def test_a_measurement_fills_the_window_at_least() -> None:
    assert frames_for(400.0, 2.5) == 1000
    assert frames_for(1.0, 2.5) == 64


def test_a_quantile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [quantile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]
    assert quantile([7.0], 0.5) == quantile([7.0], 0.99) == 7.0


def test_a_way_is_not_asked_for_more_than_it_can_do() -> None:
    loads = loads_of(100.0)
    assert [load["rate"] for load in loads if "load" in load] == [20.0, 50.0, 90.0]
    assert [load["rate"] for load in loads if "at" in load] == [20.0, 50.0]


def test_frames_that_are_dealt_are_all_there_and_arrive_as_before() -> None:
    shares = dealt(Order(10, rate=9.0, seed=7), 3)
    assert [share.frames for share in shares] == [4, 3, 3]
    assert [share.rate for share in shares] == [3.0, 3.0, 3.0]
    assert len({share.seed for share in shares}) == 3
    assert [share.rate for share in dealt(Order(2), 2)] == [None, None]
    assert {share.seed for share in shares}.isdisjoint(s.seed for s in dealt(Order(1, seed=8), 3))
    outcome = together([Outcome(2.0, 2, [1.0, 2.0]), Outcome(3.0, 1, [5.0])])
    assert (outcome.seconds, outcome.answered, outcome.latencies_ms) == (3.0, 3, [1.0, 2.0, 5.0])


X86 = "processor\t: 0\nmodel name\t: Xeon\nflags\t\t: avx2 avx512f avx512_vnni amx_tile\n"


ARM = "processor\t: 0\nFeatures\t: fp asimd evtstrm\nCPU part\t: 0xd0c\n"


def test_a_processor_is_named_with_the_instruction_sets_that_matter() -> None:
    assert processor(X86 + X86) == "Xeon"
    assert processor(ARM)
    assert instruction_sets(X86) == ["AVX2", "AVX-512", "VNNI", "AMX"]
    assert instruction_sets(ARM) == ["NEON"]
    assert instruction_sets("") == []


def test_the_fixed_rate_leaves_the_slowest_some_room() -> None:
    rates = {WITHOUT: (220.0, 200.0, 210.0), ACTIVE: (300.0,), STANDBY: (1000.0,)}
    rows = [observed(FULL, name, 0, rate, 1.0, 0.0) for name, found in rates.items() for rate in found]
    assert fixed_rate(rows) == pytest.approx(0.8 * 210)
    assert fixed_rate([{**row, "frames_per_second": 900.0} for row in rows]) == 250


def a_package(folder: Path, name: str, size: int, *requires: str) -> None:
    """Installed, as pip leaves it."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (folder / f"{name}.py").write_bytes(b"#" * size)
    (info / "RECORD").write_text(f"{name}.py,,{size}\n", encoding="utf-8")
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}")


def test_a_size_is_that_of_all_that_an_extra_brings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = ("nanofleet[small]; extra == 'large'", "b_two[more]; extra == 'large'")
    a_package(tmp_path, "nanofleet", 1, "a_one", "c_three; extra == 'small'", *both)
    a_package(tmp_path, "a_one", 10, "d_four; python_version < '3'")
    a_package(tmp_path, "b_two", 100, "a_one", "e_five; extra == 'more'")
    a_package(tmp_path, "c_three", 1000, "a_one")
    a_package(tmp_path, "e_five", 10_000)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert installed_bytes("small") == 1011
    assert installed_bytes("large") == 11_111


def test_a_model_whose_weights_come_with_its_package_needs_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert find_weights("efficientnet_lite0")[:2] == ("efficientnet_lite0", tmp_path / "nanofleet" / "bench")
    assert not list(tmp_path.rglob("*.pth"))


def test_nvidia_smi_is_read_and_what_it_does_not_know_left_out() -> None:
    assert gpu.parse("35, 1024\n[N/A], 1024\n40, 2048\n41, 20") == [[35, 1024], [40, 2048], [41, 20]]
    assert gpu.parse("") == []


def test_on_paper_a_node_is_bound_by_its_core_or_its_link() -> None:
    assert paper.node_capacity(cpu_ms=0.5, payload=1000, link=paper.GIGABIT) == 2000
    assert paper.node_capacity(cpu_ms=0.1, payload=100_000, link=paper.GIGABIT) == pytest.approx(
        1231.5, abs=0.1
    )
    assert paper.cluster_capacity(1, 1000) == 1000
    assert paper.cluster_capacity(2, 1000) == pytest.approx(2000 / 1.5)


@pytest.mark.parametrize("nanos", [10, 100, 1000])
def test_on_paper_there_are_just_enough_nodes(nanos: int) -> None:
    found = paper.need(nanos, 90.0, 0.2, 100_000, paper.GIGABIT)
    one = paper.node_capacity(0.2, 100_000, paper.GIGABIT)
    assert paper.cluster_capacity(found.nodes, one) >= found.frames_per_second == nanos * 90.0
    if found.nodes > 1:
        assert paper.cluster_capacity(found.nodes - 1, one) < found.frames_per_second


def test_a_load_is_a_part_of_what_the_throughput_was() -> None:
    late = {"experiment": "latency", "way": "nanofleet", "model": "m", "size": "480p", "latencies_ms": [1.0]}
    assert capacity_of([*ROWS, late], "nanofleet", "m", "480p") == 90
    assert capacity_of([late], "nanofleet", "m", "480p") is None
