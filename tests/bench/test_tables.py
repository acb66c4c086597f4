"""Rows become ratios, targets and tables."""

from __future__ import annotations

from typing import Any, Dict, List

from bench.compare import OTHER, THIS
from bench.measure import CPU, FPS
from bench.observer import ACTIVE, FIXED, FULL, WITHOUT
from bench.report import markdown, tables
from bench.settings import BenchSettings
from bench.sharing import ARRANGEMENTS
from bench.targets import times, transport_cpu
from bench.transport import ANSWERS, BARE, BY_THREAD
from bench.ways import WAYS
from tests.bench.rows import ROWS, WAY_NAMES, observed, row


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


def test_the_transport_is_publisher_broker_network_thread_and_handing_over() -> None:
    of = {"bench.drivers.publisher": 0.125, "mosquitto": 0.0625, "bench.threads": 0.5}
    of["worker.decode.process"] = 0.25
    threads = {"network": 0.125, "decoder-0": 0.0625, "decoder-1": 0.0625, "engine-0": 0.125}
    threads.update({"observer": 0.0625, "metrics": 0.0625})
    row = {"experiment": "transport", "round": 0, "payload": 57_000, "way": ANSWERS, FPS: 50.0}
    row.update({CPU: 0.9375, "cpu_ms_per_frame_of": of, BY_THREAD: threads})
    loop = {"experiment": "transport", "round": 0, "payload": 57_000, "way": BARE, FPS: 60.0, CPU: 0.25}
    loop["cpu_ms_per_frame_of"] = {"bench.drivers.bare": 0.25}
    rows = [row, loop, {**row, "round": 1, "error": "it broke"}, {**loop, "payload": 230_000}]
    del rows[2][BY_THREAD]
    assert transport_cpu(rows, 57_000) == 0.4375
    assert transport_cpu(rows, 230_000) is None
    cells = cells_of(rows)
    assert cells["the transport alone, CPU ms/frame"][-1] == "0.44 reached"
    told = ("network thread", "handing over to decoders", "decoders", "observer")
    assert [cells[name] for name in told] == [["0.125"], ["0.125"], ["0.250"], ["0.062"]]
    assert cells["decoding and classifying in a loop"] == ["0.250"]


def test_a_whole_name_chooses_one_way_and_a_part_all_that_have_it() -> None:
    def chosen(*ways: str) -> List[str]:
        return [way.name for way in WAYS if BenchSettings(ways=list(ways)).chosen(way.name)]

    assert chosen("nanofleet", "mosec") == ["nanofleet", "mosec (eager)", "mosec (our engine)"]
    assert chosen("nano") == ["nanofleet", "nanofleet (spool)", "nanofleet (2 workers)"]
    assert chosen() == [way.name for way in WAYS]


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


def test_two_workers_are_held_against_the_sum_of_both() -> None:
    rates = dict(zip(ARRANGEMENTS, (200.0, 50.0, 100.0, 225.0)))
    rows = [
        {"experiment": "unequal", "arrangement": name, "frames_per_second": rate}
        for name, rate in rates.items()
    ]
    shares = {name: cells[-1] for name, cells in cells_of(rows).items() if name in rates}
    assert list(shares.values()) == ["", "", "0.40", "0.90"]


def test_a_worker_that_observes_is_held_against_one_that_does_not_turn_by_turn() -> None:
    """The machine is half as fast in the second turn, and the last has nothing to compare with."""
    full = [("does not observe", 0, 200.0), ("observes", 0, 196.0)]
    full += [("does not observe", 1, 100.0), ("observes", 1, 99.0), ("observes", 2, 1000.0)]
    rows = [observed(FULL, name, turn, rate, 1.0, 0.0) for name, turn, rate in full]
    assert cells_of(rows)["observes"] == ["196.0", "0.985", "0.980 - 0.990"]
    rows = [observed(FIXED, name, 0, 200.0, cpu, cpu - 5.0) for name, cpu in [(WITHOUT, 5.0), (ACTIVE, 6.0)]]
    assert cells_of(rows)["observes"] == ["6.00", "1.200", "1.000", "16.7%"]
    assert cells_of([{"experiment": "observer", "round": 0, "error": "it broke"}]) == {}


def test_what_a_worker_takes_is_told_by_its_extra_and_its_engine() -> None:
    bytes_of = {"start_bytes": 200_000_000, "rest_bytes": 100_000_000, "load_bytes": 150_000_000}
    taken = {"experiment": "memory", "arrangement": "PyTorch", "start_cpu_seconds": 1.25, **bytes_of}
    found = cells_of([taken, {"experiment": "memory", "extra": "onnx", "bytes": 232_400_000}])
    assert found["PyTorch"] == ["200", "1.2", "100", "150"]
    assert found["'.[onnx]'"] == ["232"]
