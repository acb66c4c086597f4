"""Metrics that are read when Prometheus asks: temperatures, GPU memory, the client certificate's end."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any, Callable, Iterable, Optional

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from worker.temperature import THERMAL, temperatures


class Certificate(Collector):
    """The end of the client certificate, read when Prometheus asks: the file may be another by now."""

    def __init__(self, ends: Callable[[], Optional[datetime]]) -> None:
        self._ends = ends

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The date, if there is a certificate."""
        ends = self._ends()
        if ends is not None:
            yield GaugeMetricFamily(
                "nanofleet_client_certificate_expiry_timestamp_seconds",
                "When the worker's client certificate is no longer valid, in seconds since 1970",
                ends.timestamp(),
            )


class Machine(Collector):
    """Temperature and GPU memory, read when Prometheus asks, on machines that have such sensors."""

    def __init__(self, device: Callable[[], str], thermal: Path = THERMAL) -> None:
        """Prepare; nothing is measured until Prometheus asks.

        Args:
            device: what the model runs on now.
            thermal: where Linux has the thermal zones.
        """
        self._device = device
        self._thermal = thermal

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """What can be read now."""
        temperature = GaugeMetricFamily(
            "nanofleet_temperature_celsius", "Temperature by thermal zone", labels=["zone"]
        )
        for zone, celsius in sorted(temperatures(self._thermal).items()):
            temperature.add_metric([zone], celsius)
        if temperature.samples:
            yield temperature
        memory = _gpu_memory(self._device())
        if memory is not None:
            free, total = memory
            yield GaugeMetricFamily("nanofleet_gpu_memory_total_bytes", "Memory of the GPU", total)
            yield GaugeMetricFamily(
                "nanofleet_gpu_memory_used_bytes", "Memory in use, by any process", total - free
            )


def _gpu_memory(device: str) -> Optional[Any]:
    # The engine, which opens CUDA, comes first: asking must be neither what imports torch nor what opens it.
    # Nor is it there whole while it is imported, and until then the device is the CPU.
    torch = sys.modules.get("torch") if device != "cpu" else None
    if not torch or not torch.cuda.is_initialized():
        return None
    try:
        return torch.cuda.mem_get_info(device)
    except RuntimeError:  # the GPU fails: the other metrics, which tell so, are read all the more
        return None
