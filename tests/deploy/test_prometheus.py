"""Prometheus' configuration and alerts, by promtool, and against a worker's metrics."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import List, Tuple

import pytest
import yaml
from prometheus_client import Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.files import DEPLOY, ROOT, run
from tests.harness import need
from worker.metrics import Metrics


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "rules.yml"),
        ("test", "rules", "rules_test.yml"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_promtool(arguments: Tuple[str, ...]) -> None:
    checked = run(need("promtool"), *arguments, cwd=DEPLOY / "prometheus")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "FAILED" not in checked.stdout + checked.stderr


#: Metrics of machines that have a sensor, or CUDA.
OF_SOME = {
    *("nanofleet_temperature_celsius", "nanofleet_gpu_memory_used_bytes", "nanofleet_gpu_memory_total_bytes"),
}


def families_of_a_worker() -> List[Metric]:
    metrics = Metrics()
    metrics.certificate_ends = lambda: datetime.now(timezone.utc)
    return list(text_string_to_metric_families(generate_latest(metrics.registry).decode()))


def test_the_documents_name_the_metrics_of_a_worker() -> None:
    families = families_of_a_worker()
    exist = {sample.name for family in families for sample in family.samples} | OF_SOME
    exist |= {family.name for family in families}
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *DEPLOY.rglob("*.md")):
        # Behind a dot stands an entity of Home Assistant: sensor.nanofleet_door_label.
        named = re.findall(r"(?<![.\w])nanofleet_[a-z_]+\b", page.read_text(encoding="utf-8"))
        assert set(named) <= exist, page.name
    table = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`(nanofleet_[a-z_]+)", table))
    # The client library parses a counter's family without its _total.
    assert {family.name for family in families} <= listed | {name[: -len("_total")] for name in listed}


def test_alerts_use_the_metrics_of_a_worker() -> None:
    families = families_of_a_worker()
    samples = [sample for family in families for sample in family.samples]
    labels = {pair for sample in samples for pair in sample.labels.items()}
    text = "\n".join(path.read_text() for path in (DEPLOY / "prometheus").glob("*.yml"))
    used = set(re.findall(r"\bnanofleet_\w+", text))
    assert len(used) >= 5
    assert used <= {sample.name for sample in samples}
    assert set(re.findall(r'(outcome|reason|stage)="(\w+)"', text)) <= labels


def test_every_alert_is_tested_and_explained() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())
    every = [rule for group in rules["groups"] for rule in group["rules"]]
    alerts = {rule["alert"] for rule in every if "alert" in rule}
    tests = yaml.safe_load((DEPLOY / "prometheus" / "rules_test.yml").read_text())["tests"]
    cases = [case for test in tests for case in test.get("alert_rule_test", [])]
    fired = {case["alertname"] for case in cases if case["exp_alerts"]}
    recorded = {case["expr"] for test in tests for case in test.get("promql_expr_test", [])}
    readme = (DEPLOY / "prometheus" / "README.md").read_text()
    assert alerts == fired == set(re.findall(r"(?m)^\| (Nanofleet\w+) ", readme))
    rules_by_name = {rule["record"] for rule in every if "record" in rule}
    assert rules_by_name == recorded == set(re.findall(r"`(nanofleet:\S+)`", readme))
