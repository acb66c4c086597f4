"""What the bench makes of its numbers: order, arrivals, quantiles, ratios, verdicts, pages."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any, Dict, List

import pytest

from bench import gpu, paper
from bench.about import instruction_sets, processor, renewed
from bench.compare import OTHER, THIS
from bench.drive import Order, Outcome
from bench.drivers.tutorials import dealt, together
from bench.latency import capacity_of, loads_of
from bench.measure import CPU, frames_for, rows_of, shuffled_rounds
from bench.observer import ACTIVE, FIXED, FULL, OBSERVER_CPU, STANDBY, WITHOUT, WORKER_CPU, fixed_rate
from bench.peers.setting import for_litserve, for_mosec, for_ray, given
from bench.report import SECTIONS, markdown, renew, tables
from bench.rows import quantile
from bench.settings import BenchSettings
from bench.sharing import ARRANGEMENTS
from bench.sizes import installed_bytes
from bench.sweep import all_tries, best_starts, is_known
from bench.targets import times, transport_cpu
from bench.transport import ANSWERS, BARE
from bench.ways import WAYS
from bench.weights import find_weights
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


WAY_NAMES = {way.name for way in WAYS}
ROOT = Path(__file__).resolve().parents[2]


def row(way: str, rate: float, cpu: float = 1.0, **more: Any) -> Dict[str, Any]:
    common = {"experiment": "throughput", "model": "m", "size": "480p", "peak_bytes": 1e6}
    common["cpu_ms_per_frame_of"] = {
        "mosquitto": 0.25 * cpu,
        "bench.drivers.http": 0.25 * cpu,
        "x": 0.5 * cpu,
    }
    return {**common, "way": way, "frames_per_second": rate, "cpu_ms_per_frame": cpu, **more}


ROWS = [
    *(row("LitServe (our engine)", rate, round=n) for n, rate in enumerate((80, 40, 400))),
    *(row("mosec (our engine)", rate, round=n) for n, rate in enumerate((100, 60, 100))),
    *(row("nanofleet", rate, cpu=12.0, round=n) for n, rate in enumerate((120, 60, 90))),
    {"experiment": "throughput", "round": 0, "model": "m", "way": "paho script", "error": "it broke"},
]


def test_ratios_are_those_of_the_same_round_and_say_nothing_of_what_was_not_measured() -> None:
    assert times(ROWS, "m", "480p", "LitServe (our engine)") == 1.5  # of 1.5, 1.5 and 0.225
    assert times(ROWS, "m", "480p", "mosec (our engine)") == 1.0
    assert times(ROWS, "m", "1080p", "mosec (our engine)") is None
    assert times(ROWS, "m", "480p", "paho script") is None


def test_tables_say_which_targets_are_missed() -> None:
    text = "\n".join(markdown(table) for table in tables({"rows": ROWS}))
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("|")}
    assert "1.50 reached" in lines["times LitServe at its best"]
    assert "1.00 missed" in lines["times mosec at its best"]
    assert "40.0 - 400.0" in lines["LitServe (our engine)"]
    assert "x 1.50" in lines["LitServe (our engine)"]
    assert "paho" not in text


def cells_of(rows: List[Dict[str, Any]]) -> Dict[str, List[str]]:
    """The cells of all tables' lines, by the first."""
    text = "\n".join(markdown(table) for table in tables({"rows": rows}))
    lines = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("|")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_what_a_reader_costs_is_told_without_publisher_and_broker() -> None:
    spent = {"mosquitto": 1.0, "bench.drivers.publisher": 2.0, "fleet": 0.25, "worker.decode.process": 0.5}
    figures = {"frames_per_second": 50.0, "cpu_ms_per_frame": 3.75, "cpu_ms_per_frame_of": spent}
    common = {"experiment": "transport", "way": ANSWERS, "payload": 57_000, "round": 0}
    assert cells_of([{**common, **figures}])["57,000"] == [
        *("nanofleet, answers", "50.0", "50.0 - 50.0"),
        *("3.75", "0.75"),
    ]


def test_the_quiet_cameras_latencies_are_told_by_who_floods() -> None:
    times = [float(number) for number in range(1, 101)]
    common = {"experiment": "fairness", "flood": "no flood"}
    rows = [{**common, "latencies_ms": times}, {**common, "error": "it broke"}]
    assert cells_of(rows)["no flood"] == ["50.0", "95.0", "99.0", "100"]


def test_a_frames_cpu_is_told_by_whose_it_was() -> None:
    spent = {"mosquitto": 0.1, "bench.drivers.publisher": 0.25, "fleet": 5.0, "worker.decode.process": 2.0}
    peer = {"bench.drivers.http": 0.5, "bench.peers.litserve_fast": 6.5, "forked": 1.0}
    loop = {"bench.drivers.tutorial": 30.0}
    rows = [
        row(way, 100.0, round=0, cpu_ms_per_frame_of=of)
        for way, of in [("nanofleet", spent), ("LitServe (our engine)", peer), ("tutorial loop", loop)]
    ]
    assert {name: cells[4:7] for name, cells in cells_of(rows).items() if name in WAY_NAMES} == {
        "nanofleet": ["7.00", "0.10", "0.25"],
        "LitServe (our engine)": ["7.50", "-", "0.50"],
        "tutorial loop": ["30.00", "-", "-"],
    }


def test_the_transport_is_what_a_loop_without_it_does_not_take() -> None:
    rows = [
        {**{"experiment": "transport", "round": number, "payload": 57_000, "way": way}, CPU: cpu}
        for number, whole, alone in [(0, 0.75, 0.25), (1, 1.5, 1.0), (2, 9.0, 0.1)]
        for way, cpu in [(ANSWERS, whole), (BARE, alone)]
    ]
    assert transport_cpu(rows, 57_000) == 0.5
    assert transport_cpu(rows, 230_000) is None
    assert transport_cpu(rows_of(rows, way=ANSWERS), 57_000) is None
    assert cells_of(rows_of(rows, round=0))["the transport alone, CPU ms/frame"][-1] == "0.50 reached"


def swept(way: str, setting: str, size: str, rate: float) -> Dict[str, Any]:
    about = {"experiment": "sweep", "model": "m", "way": way, "setting": setting, "size": size}
    return {**about, "frames_per_second": rate}


def test_each_size_runs_in_the_setting_that_was_fastest_there() -> None:
    way = next(way for way in WAYS if way.name == "mosec (our engine)")
    one, other = list(way.starts(2))[:2]
    rows = [swept(way.name, one, "480p", 200.0), swept(way.name, other, "480p", 190.0)]
    rows += [swept(way.name, one, "720p", 100.0), swept(way.name, other, "720p", 110.0)]
    rows += [swept(way.name, one, "1080p", 90.0), swept("LitServe (our engine)", other, "480p", 900.0)]
    assert best_starts(rows, way, "m", ["480p", "720p", "1080p"]) == {one: ["480p", "1080p"], other: ["720p"]}
    with pytest.raises(NanofleetError, match="no setting ran with n at 480p"):
        best_starts(rows, way, "n", ["480p"])
    loop = next(way for way in WAYS if way.name == "tutorial loop")
    assert best_starts(rows, loop, "m", ["480p", "720p"]) == {"": ["480p", "720p"]}
    text = "\n".join(markdown(table) for table in tables({"rows": rows}))
    cells = [[cell.strip() for cell in line.split("|")[2:-1]] for line in text.splitlines() if one in line]
    assert cells == [[one, "used: 200.0", "100.0", "used: 90.0"]]


def test_what_a_sweep_has_not_tried_is_tried_before_it_is_needed() -> None:
    settings = BenchSettings(ways=["mosec (our engine)"], models=["m", "n"], sizes=["480p", "1080p"])
    tries = all_tries(settings)
    mine, others = ([each for each in tries if each.model == model] for model in ("m", "n"))
    rows = [swept(each.way.name, each.setting, "480p", 100.0) for each in mine]
    rows += [swept(each.way.name, each.setting, "1080p", 100.0) for each in mine[1:]]
    missing = [each for each in tries if not is_known(rows, each, settings.sizes_of(each.model))]
    assert missing == [mine[0], *others]


@pytest.mark.parametrize("cores", [1, 2, 16])
def test_a_sweep_has_no_setting_twice_and_no_more_threads_than_cores(cores: int) -> None:
    for settings in (for_litserve(cores), for_mosec(cores), for_ray(cores)):
        assert len({str(setting) for setting in settings}) == len(settings)
        assert all(setting.workers * setting.threads == cores for setting in settings)


def test_a_setting_reaches_a_server_by_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in (*for_mosec(2), *for_ray(2)):
        ((name, value),) = setting.variables().items()
        monkeypatch.setenv(name, value)
        assert given() == setting


def test_a_whole_name_chooses_one_way_and_a_part_all_that_have_it() -> None:
    def chosen(*ways: str) -> List[str]:
        return [way.name for way in WAYS if BenchSettings(ways=list(ways)).chosen(way.name)]

    assert chosen("nanofleet", "mosec") == ["nanofleet", "mosec (eager)", "mosec (our engine)"]
    assert chosen("nano") == ["nanofleet", "nanofleet (spool)", "nanofleet (2 workers)"]
    assert chosen() == [way.name for way in WAYS]


def test_a_way_is_not_asked_for_more_than_it_can_do() -> None:
    loads = loads_of(100.0)
    assert [load["rate"] for load in loads if "load" in load] == [20.0, 50.0, 90.0]
    assert [load["rate"] for load in loads if "at" in load] == [20.0, 50.0]


def test_latencies_at_the_same_load_stand_side_by_side_with_a_dash_for_what_is_too_much() -> None:
    times_of = {"nanofleet": {20.0: 5.0, 150.0: 9.0}, "tutorial loop": {20.0: 20.0}}
    rows = [
        {"experiment": "latency", "way": way, "at": rate, "rate": rate, "latencies_ms": [found] * 4}
        for way, at in times_of.items()
        for rate, found in at.items()
    ]
    cells = cells_of(rows)
    assert cells["nanofleet"] == ["5.0 / 5.0 / -", "-", "-", "9.0 / 9.0 / -"]
    assert cells["tutorial loop"] == ["20.0 / 20.0 / -", "-", "-", "-"]


def test_checkouts_are_compared_turn_by_turn() -> None:
    """The machine is half as fast in the second turn."""
    turns = [(OTHER, 0, 200.0), (THIS, 0, 240.0), (OTHER, 1, 100.0), (THIS, 1, 140.0)]
    rows = [
        row("", rate, 1000 / rate, experiment="compare", tree=tree, commit=f"c-{tree}", round=0, turn=turn)
        for tree, turn, rate in turns
    ]
    cells = cells_of(rows)
    assert cells["other: c-other"][:3] == ["150.0", "", ""]
    assert cells["this: c-this"][:3] == ["190.0", "1.300", "1.200 - 1.400"]
    assert cells["this: c-this"][4:6] == ["0.774", "0.714 - 0.833"]


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


ABOUT: Dict[str, Any] = {"processor": "P", "cores": 2, "python": "3", "weights": {}}
ABOUT["versions"] = {"a": "1.0", "b": "not installed"}


def test_a_model_whose_weights_come_with_its_package_needs_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert find_weights("efficientnet_lite0")[:2] == ("efficientnet_lite0", tmp_path / "nanofleet" / "bench")
    assert not list(tmp_path.rglob("*.pth"))


def test_a_page_gets_new_tables_of_what_was_measured_and_keeps_the_rest(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    places = "".join(f"{name}\n<!-- tables: {name} -->\nold {name}\n<!-- end -->\n" for name in SECTIONS)
    page.write_text(f"before\n{places}after\n")
    results = {"about": {**ABOUT, "instruction_sets": ["AVX2", "AMX"]}, "rows": ROWS}
    renew(page, results)
    renew(page, results)
    text = page.read_text()
    assert text.startswith("before\nsweep\n<!-- tables: sweep -->\nold sweep\n<!-- end -->\n")
    assert text.endswith("old soak\n<!-- end -->\nafter\n")
    assert [name for name in SECTIONS if f"old {name}" not in text] == ["throughput", "targets"]
    assert text.count("**Targets**") == text.count("**m, 480p**") == 1
    assert (
        text.count("Measured on P (AVX2, AMX), 2 cores, 3 rounds, Python 3, a 1.0. Weights") == 1
    )  # targets have no rounds
    page.write_text("no marks")
    with pytest.raises(NanofleetError, match="no place for tables"):
        renew(page, results)
    assert page.read_text() == "no marks"


def test_the_page_has_a_place_for_all_that_a_run_measures() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    places = [line.split()[2] for line in page.splitlines() if line.startswith("<!-- tables: ")]
    assert set(places) == set(SECTIONS) - {"compare", "engines", "cuda", "memory"}
    assert len(places) == len(set(places)) == page.count("<!-- end -->")


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


def test_an_experiment_replaces_its_own_results_and_keeps_the_others_of_this_machine() -> None:
    now: Dict[str, Any] = {"processor": "P", "settings": {"rounds": 5}, "weights": {}}
    rows = [{"experiment": "soak", "minutes": 1}, {"experiment": "growth"}]
    about = {"processor": "P", "settings": {"rounds": 1}, "weights": {}}
    former = {"about": about, "rows": rows}
    assert renewed(former, now, ["growth"]) == {"about": now, "rows": rows[:1]}
    assert renewed(former, {**now, "processor": "Q"}, ["growth"])["rows"] == []
    tried = [{"experiment": "sweep", "setting": "a"}, {"experiment": "sweep", "setting": "b", "error": "x"}]
    assert renewed({**former, "rows": tried}, now, ["throughput"])["rows"] == tried[:1]
    assert renewed({"about": {}, "rows": []}, now, ["growth"])["rows"] == []


def test_results_of_other_models_stay_but_not_those_of_other_weights_of_one() -> None:
    former = {"about": {"weights": {"a": "published", "b": "seeded"}}, "rows": [{"experiment": "latency"}]}
    found = renewed(former, {"weights": {"a": "published"}}, ["throughput"])
    assert found == {"about": former["about"], "rows": former["rows"]}
    assert renewed(former, {"weights": {"a": "seeded"}}, ["throughput"])["rows"] == []
