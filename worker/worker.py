"""A worker before it has a session: its name, its settings, its models, its metrics."""

from __future__ import annotations

from dataclasses import dataclass

from worker.cameras import Cameras
from worker.life import Life
from worker.metrics import Metrics
from worker.serving.commands import Commands
from worker.serving.switch import Switch
from worker.settings import WorkerSettings


@dataclass(frozen=True)
class Worker:
    """What a session and its parts work with, all of it there before any connection.

    Attributes:
        id: the worker's name, which is also its session's.
        settings: what it was started with.
        switch: the models that classify its frames.
        cameras: what each camera's settings say of its frames.
        commands: the commands to change those.
        metrics: what Prometheus reads.
        metrics_url: where Prometheus reads it; empty for nowhere.
        life: whether the worker is to leave, and what has failed.
    """

    id: str
    settings: WorkerSettings
    switch: Switch
    cameras: Cameras
    commands: Commands
    metrics: Metrics
    metrics_url: str
    life: Life

    def count_change(self) -> None:
        """Count how a model command ended, if one has."""
        change = self.commands.change
        if change is None or change.state != "loading":
            self.metrics.serving.changes.labels(change.state if change else "serving").inc()

    def report_model(self) -> None:
        """Let the metrics name the model that serves now."""
        model, engine = self.switch.serving.model, self.switch.serving.engine
        self.metrics.serving.report(
            model=model.name,
            weights=model.weights,
            engine=engine.name,
            engine_why=engine.why,
            device=engine.device,
        )
