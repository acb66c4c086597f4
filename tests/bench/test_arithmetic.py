"""What the bench makes of its numbers: order, arrivals, quantiles, ratios, verdicts, pages."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any, Dict, List

import pytest

from bench import gpu, paper
from bench.__main__ import renewed
from bench.drive import Order
from bench.latency import capacity_of
from bench.measure import frames_for, shuffled_rounds
from bench.observer import ACTIVE, FIXED, FULL, OBSERVER_CPU, STANDBY, WITHOUT, WORKER_CPU, fixed_rate
from bench.report import BEGIN, END, markdown, renew, tables
from bench.rows import of_way, quantile
from bench.sharing import ARRANGEMENTS
from bench.sizes import installed_bytes
from bench.targets import TARGETS, ratio
from wire.errors import NanofleetError


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


def row(way: str, rate: float, cpu: float = 1.0, **more: Any) -> Dict[str, Any]:
    common = {"experiment": "throughput", "model": "m", "size": "480p", "peak_bytes": 1e6}
    return {**common, "way": way, "frames_per_second": rate, "cpu_ms_per_frame": cpu, **more}


ROWS = [
    *(row("limit B (each)", rate, cpu=10.0) for rate in (90, 100, 300)),
    *(row("limit B (threads)", rate, cpu=1.0) for rate in (80, 80, 400)),
    *(row("nanofleet", rate, cpu=12.0) for rate in (96, 97, 12)),
    {"experiment": "throughput", "model": "m", "way": "paho script", "error": "it broke"},
]


def test_limit_b_is_the_arrangement_with_the_best_median() -> None:
    assert {found["way"] for found in of_way(ROWS, "m", "480p", "limit B")} == {"limit B (each)"}
    assert of_way(ROWS, "m", "720p", "limit B") == []


def test_ratios_compare_medians_and_say_nothing_of_what_was_not_measured() -> None:
    speed, cpu = TARGETS[0], TARGETS[-1]
    assert ratio(ROWS, "m", speed) == pytest.approx(0.96)
    assert ratio(ROWS, "m", cpu) == pytest.approx(1.2)
    others = [target for target in TARGETS if target not in (speed, cpu)]
    assert [ratio(ROWS, "m", target) for target in others] == [None] * len(others)


def test_tables_say_which_targets_are_missed() -> None:
    text = "\n".join(markdown(table) for table in tables({"rows": ROWS}))
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("|")}
    assert "0.96 reached" in lines["of limit B"]
    assert "1.20 missed" in lines["of limit B's CPU per frame"]
    assert "90.0 - 300.0" in lines["limit B (each)"]
    assert "paho" not in text


def cells_of(rows: List[Dict[str, Any]]) -> Dict[str, List[str]]:
    """The cells of all tables' lines, by the first."""
    text = "\n".join(markdown(table) for table in tables({"rows": rows}))
    lines = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("|")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_what_a_reader_costs_is_told_without_publisher_and_broker() -> None:
    spent = {"mosquitto": 1.0, "bench.drivers.publisher": 2.0, "fleet": 0.25, "worker.decode.process": 0.5}
    figures = {"frames_per_second": 50.0, "cpu_ms_per_frame": 3.75, "cpu_ms_per_frame_of": spent}
    common = {"experiment": "transport", "way": "nanofleet, answers", "payload": 20_000}
    assert cells_of([{**common, **figures}])["20,000"] == [
        *("nanofleet, answers", "50.0", "50.0 - 50.0"),
        *("3.75", "0.75"),
    ]


def test_the_quiet_cameras_latencies_are_told_by_who_floods() -> None:
    times = [float(number) for number in range(1, 101)]
    common = {"experiment": "fairness", "flood": "no flood"}
    rows = [{**common, "latencies_ms": times}, {**common, "error": "it broke"}]
    assert cells_of(rows)["no flood"] == ["50.0", "95.0", "99.0", "100"]


def test_two_workers_are_held_against_the_sum_of_both() -> None:
    rates = dict(zip(ARRANGEMENTS, (200.0, 50.0, 100.0, 225.0)))
    rows = [
        {"experiment": "unequal", "arrangement": name, "frames_per_second": rate}
        for name, rate in rates.items()
    ]
    shares = {name: cells[-1] for name, cells in cells_of(rows).items() if name in rates}
    assert list(shares.values()) == ["", "", "0.40", "0.90"]


def observed(load: str, arrangement: str, turn: int, rate: float, cpu: float, own: float) -> Dict[str, Any]:
    about = {"experiment": "observer", "round": 0, "load": load, "arrangement": arrangement, "turn": turn}
    figures = {WORKER_CPU: cpu, OBSERVER_CPU: own, "frames_per_second": rate, "rate": 200.0}
    return {**about, **figures}


def test_a_worker_that_observes_is_held_against_one_that_does_not_turn_by_turn() -> None:
    """The machine is half as fast in the second turn, and the last has nothing to compare with."""
    full = [("does not observe", 0, 200.0), ("observes", 0, 196.0)]
    full += [("does not observe", 1, 100.0), ("observes", 1, 99.0), ("observes", 2, 1000.0)]
    rows = [observed(FULL, name, turn, rate, 1.0, 0.0) for name, turn, rate in full]
    assert cells_of(rows)["observes"] == ["196.0", "0.985", "0.980 - 0.990"]
    rows = [observed(FIXED, name, 0, 200.0, cpu, cpu - 5.0) for name, cpu in [(WITHOUT, 5.0), (ACTIVE, 6.0)]]
    assert cells_of(rows)["observes"] == ["6.00", "1.200", "1.000", "16.7%"]
    assert cells_of([{"experiment": "observer", "round": 0, "error": "it broke"}]) == {}


def test_the_fixed_rate_leaves_the_slowest_some_room() -> None:
    rates = {WITHOUT: (220.0, 200.0, 210.0), ACTIVE: (300.0,), STANDBY: (1000.0,)}
    rows = [observed(FULL, name, 0, rate, 1.0, 0.0) for name, found in rates.items() for rate in found]
    assert fixed_rate(rows) == pytest.approx(0.8 * 210)
    assert fixed_rate([{**row, "frames_per_second": 900.0} for row in rows]) == 250


def test_what_a_worker_takes_is_told_by_its_extra_and_its_engine() -> None:
    bytes_of = {"start_bytes": 200_000_000, "rest_bytes": 100_000_000, "load_bytes": 150_000_000}
    taken = {"experiment": "memory", "arrangement": "PyTorch", "start_cpu_seconds": 1.25, **bytes_of}
    found = cells_of([taken, {"experiment": "memory", "extra": "onnx", "bytes": 232_400_000}])
    assert found["PyTorch"] == ["200", "1.2", "100", "150"]
    assert found["'.[onnx]'"] == ["232"]


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


def test_a_page_gets_new_tables_and_keeps_the_rest(tmp_path: Path) -> None:
    about: Dict[str, Any] = {"processor": "P", "cores": 2, "python": "3", "versions": {}, "weights": {}}
    page = tmp_path / "benchmarks.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    renew(page, {"about": about, "rows": ROWS})
    renew(page, {"about": about, "rows": ROWS})
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    assert text.count("**Targets**") == 1
    page.write_text("no marks")
    with pytest.raises(NanofleetError, match="no place for tables"):
        renew(page, {"about": about, "rows": ROWS})
    assert page.read_text() == "no marks"


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
    assert capacity_of([*ROWS, late], "nanofleet", "m", "480p") == 96
    assert capacity_of([late], "nanofleet", "m", "480p") is None


def test_an_experiment_replaces_its_own_results_and_keeps_the_others_of_this_machine() -> None:
    now: Dict[str, Any] = {"processor": "P", "settings": {"rounds": 5}, "weights": {}}
    rows = [{"experiment": "soak", "minutes": 1}, {"experiment": "growth"}]
    about = {"processor": "P", "settings": {"rounds": 1}, "weights": {}}
    former = {"about": about, "rows": rows}
    assert renewed(former, now, ["growth"]) == {"about": now, "rows": rows[:1]}
    assert renewed(former, {**now, "processor": "Q"}, ["growth"])["rows"] == []
    assert renewed({"about": {}, "rows": []}, now, ["growth"])["rows"] == []


def test_results_of_other_models_stay_but_not_those_of_other_weights_of_one() -> None:
    former = {"about": {"weights": {"a": "published", "b": "seeded"}}, "rows": [{"experiment": "latency"}]}
    found = renewed(former, {"weights": {"a": "published"}}, ["throughput"])
    assert found == {"about": former["about"], "rows": former["rows"]}
    assert renewed(former, {"weights": {"a": "seeded"}}, ["throughput"])["rows"] == []
