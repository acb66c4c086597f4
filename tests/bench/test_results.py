"""What a run leaves: results of earlier ones stay where they hold, and a page gets the new tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

import pytest

from bench.about import renewed
from bench.report import SECTIONS, renew
from tests.bench.rows import ROWS
from wire.errors import NanofleetError

ROOT = Path(__file__).resolve().parents[2]


ABOUT: Dict[str, Any] = {
    "processor": "P",
    "cores": 2,
    "python": "3",
    "weights": {},
    "versions": {"a": "1.0", "b": "not installed"},
}


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
