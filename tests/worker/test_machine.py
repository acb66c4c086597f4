"""What Prometheus can read of the machine."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Dict

import pytest
from prometheus_client import CollectorRegistry

from worker.machine import Machine
from worker.temperature import hottest


def temperatures(thermal: Path) -> Dict[str, float]:
    registry = CollectorRegistry()
    registry.register(Machine(lambda: "cpu", thermal))
    return {
        sample.labels["zone"]: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "nanofleet_temperature_celsius"
    }


def test_the_temperatures_of_a_jetson_nano_without_the_zone_that_measures_nothing(tmp_path: Path) -> None:
    """The zones of an original Nano, in their order; the one of the power management chip is constant."""
    zones = {"AO-therm": 41000, "CPU-therm": 33500, "GPU-therm": 32000, "PLL-therm": 31500}
    zones.update({"PMIC-Die": 100000, "thermal-fan-est": 32750})
    for number, (name, millidegrees) in enumerate(zones.items()):
        zone = tmp_path / f"thermal_zone{number}"
        zone.mkdir()
        (zone / "type").write_text(f"{name}\n")
        (zone / "temp").write_text(f"{millidegrees}\n")
    assert temperatures(tmp_path) == {
        **{"AO-therm": 41, "CPU-therm": 33.5, "GPU-therm": 32, "PLL-therm": 31.5},
        "thermal-fan-est": 32.75,
    }
    assert hottest(tmp_path) == 41


def test_a_machine_that_tells_none(tmp_path: Path) -> None:
    assert temperatures(tmp_path / "thermal") == {}
    (tmp_path / "thermal_zone0").mkdir()  # a sensor that is switched off
    assert temperatures(tmp_path) == {}
    assert hottest(tmp_path) is None


def test_a_gpu_that_fails_takes_no_other_metric_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(device: str) -> None:
        raise RuntimeError("CUDA error: unspecified launch failure")

    cuda = SimpleNamespace(is_initialized=lambda: True, mem_get_info=fail)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    zone = tmp_path / "thermal_zone0"
    zone.mkdir()
    (zone / "type").write_text("CPU-therm\n")
    (zone / "temp").write_text("41000\n")
    families = list(Machine(lambda: "cuda:0", tmp_path).collect())
    assert [each.name for each in families] == ["nanofleet_temperature_celsius"]
