"""The settings of the peers: each is tried, and the fastest is used."""

from __future__ import annotations

from typing import Any, Dict

import pytest

from bench.peers.setting import for_litserve, for_mosec, for_ray, given
from bench.report import markdown, tables
from bench.settings import BenchSettings
from bench.sweep import all_tries, best_starts, is_known
from bench.ways import WAYS
from wire.errors import NanofleetError


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
