"""What the demo prints: its progress, the table of the answers, what to do next."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Sequence

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from fleet.console import plain
from fleet.demo.settings import DemoSettings
from fleet.demo.workers import Workers
from publisher.sent import Sent
from wire.messages import Rejection, Result

#: scikit-image's photos, and what ImageNet calls what they show.
PHOTOS: Dict[str, str] = {
    "coffee.png": "espresso",
    "rocket.jpg": "missile",
    "chelsea.png": "Egyptian cat",
    "motorcycle_left.png": "moped",
    "motorcycle_right.png": "moped",
    "camera.png": "tripod",
}


def progress_display() -> Progress:
    """Progress on stderr, gone when it is done."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def show_answers(console: Console, frames: Sequence[Sent], known: bool) -> bool:
    """Print the table; returns whether all is as it should be."""
    table = Table(title="What the workers saw", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("photo", "camera", "label"):
        table.add_column(heading)
    for heading in ("confidence", "ms"):
        table.add_column(heading, justify="right")
    table.add_column("worker")
    all_right = True
    for sent in frames:
        answer = sent.answer
        name = Path(sent.source).name
        if isinstance(answer, Result):
            expected = PHOTOS.get(name) if known else None
            right = expected in (None, answer.label)
            label = plain(answer.label) if right else plain(f"{answer.label} (not {expected})", "bold red")
            table.add_row(
                name,
                sent.camera,
                label,
                f"{answer.confidence:.2f}",
                f"{sent.milliseconds:.0f}",
                answer.worker,
            )
        else:
            right = False
            why = f"rejected: {answer.reason.value}" if isinstance(answer, Rejection) else "no answer"
            table.add_row(name, sent.camera, plain(why, "bold red"), "", "", answer.worker if answer else "")
        all_right = all_right and right
    console.print(table)
    return all_right


def show_next_steps(console: Console, settings: DemoSettings, workers: Workers) -> None:
    """Print where the metrics are, and what to try next."""
    pages = "  ".join(f"http://127.0.0.1:{member.metrics_port}/metrics" for member in workers.members)
    while_it_runs = "" if settings.keep else "  (while it runs: --keep)"
    console.print(f"Metrics: {pages}{while_it_runs}", soft_wrap=True)
    if settings.keep:
        console.print(f"Send your own:  nanofleet publish --broker {settings.broker} YOUR.jpg")
    else:
        console.print("Send your own:  nanofleet demo --images FOLDER")
    console.print("A first fleet:  nanofleet worker --broker mqtt://YOUR-BROKER")
