"""A worker's metrics, as Prometheus would read them."""

from __future__ import annotations

import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from tests.harness import WorkerProcess


def metric(worker: WorkerProcess, name: str, *, port: int = 0, **labels: str) -> float:
    """The value of one sample; of a front end, by its port."""
    url = f"http://127.0.0.1:{port or worker.metrics_port}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    samples = [sample for family in families for sample in family.samples]
    (value,) = [sample.value for sample in samples if (sample.name, sample.labels) == (name, labels)]
    return float(value)
