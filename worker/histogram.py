"""Histograms for Prometheus of which many are kept at little cost: each frame adds to six.

prometheus_client's own take three times as long to observe a value.
"""

from __future__ import annotations

import bisect
import itertools
import threading
from typing import Dict, Iterator, List, Sequence, Tuple

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Histogram:
    """How many values lie in each bucket, and their sum. Any thread observes."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """Begin without a value; a bound belongs to the bucket below it."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        """Count a value."""
        bucket = bisect.bisect_left(self._bounds, value)
        with self._lock:
            self._counts[bucket] += 1
            self._sum += value

    def read(self) -> Tuple[List[int], float]:
        """How many values are no larger than each bound, and how many there are; and their sum."""
        with self._lock:
            return list(itertools.accumulate(self._counts)), self._sum


class Histograms(Collector):
    """The histograms of one metric: one, or one for each value of a label.

    Attributes:
        of: each, by its label's value.
    """

    def __init__(
        self, name: str, text: str, bounds: Sequence[float], label: str = "", values: Sequence[str] = ("",)
    ) -> None:
        """Begin without a value.

        Args:
            name: the metric's.
            text: what it measures.
            bounds: the largest value of each bucket but the last, in order.
            label: empty for a metric without one.
            values: the label's.
        """
        self.of: Dict[str, Histogram] = {value: Histogram(bounds) for value in values}
        self._about = name, text
        self._labels = [label] if label else []
        self._bounds = [floatToGoString(bound) for bound in (*bounds, float("inf"))]

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """For prometheus_client: what was counted so far."""
        family = HistogramMetricFamily(*self._about, labels=self._labels)
        for value, histogram in self.of.items():
            counts, total = histogram.read()
            family.add_metric([value] if self._labels else [], list(zip(self._bounds, counts)), total)
        yield family
