"""Histograms of ours show what prometheus_client's own would."""

from __future__ import annotations

import threading
from typing import Any

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from worker.histogram import Histogram, Histograms

BOUNDS = (0.001, 0.25, 1.0, 16.0, 300.0)
NAME, TEXT = "nanofleet_some_seconds", "Time that\nsomething takes"
VALUES = st.one_of(st.sampled_from((*BOUNDS, 0.0, -1.0)), st.floats(-10, 1000))


@given(st.lists(st.tuples(st.sampled_from(("queue", "decode")), VALUES)), st.booleans())
def test_they_show_what_the_librarys_own_would(observed: Any, labelled: bool) -> None:
    prometheus_client.disable_created_metrics()
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    labels = ["stage"] if labelled else []
    library = prometheus_client.Histogram(NAME, TEXT, labels, buckets=BOUNDS, registry=theirs)
    own = Histograms(NAME, TEXT, BOUNDS, *(("stage", ("queue", "decode")) if labelled else ()))
    ours.register(own)
    for stage in ("queue", "decode") if labelled else ():
        library.labels(stage)  # is there from the start
    for stage, value in observed:
        (library.labels(stage) if labelled else library).observe(value)
        own.of[stage if labelled else ""].observe(value)
    assert generate_latest(ours) == generate_latest(theirs)
    assert generate_openmetrics(ours) == generate_openmetrics(theirs)


def test_none_is_lost_between_threads() -> None:
    histogram = Histogram(BOUNDS)

    def observe() -> None:
        for _ in range(20_000):
            histogram.observe(0.5)

    threads = [threading.Thread(target=observe) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts, total = histogram.read()
    assert counts == [0, 0, 80_000, 80_000, 80_000, 80_000]
    assert total == pytest.approx(40_000)
