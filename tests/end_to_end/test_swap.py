"""Changing the model under load, with real models: one is exported meanwhile."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from pathlib import Path

import pytest
import torch
import torchvision.models as zoo

from tests.end_to_end.commanding import (
    FAST_STATUS,
    answers,
    camera,
    models,
    photo,
)
from tests.fleets import Fleet
from tests.harness import (
    MODEL,
    wait_for,
)

#: The worker's own model at another size: its pixels differ, and its answers hardly do.
SMALLER = [MODEL, "--resize", "224", "--crop", "192"]


@pytest.fixture(scope="module")
def weights_dir(tmp_path_factory: pytest.TempPathFactory, weights_dir: Path) -> Path:
    """With an untrained network's checkpoint, which answers something else than a trained one."""
    folder = tmp_path_factory.mktemp("weights")
    (folder / "nanofleet").symlink_to(weights_dir / "nanofleet")
    torch.manual_seed(0)
    torch.save(zoo.resnet18(weights=None).state_dict(), folder / "untrained.pth")
    return folder


def test_a_swap_under_load_loses_and_rejects_nothing(
    photos: Path,
    fleet: Fleet,
    weights_dir: Path,
) -> None:
    fleet.worker("--model", MODEL, *FAST_STATUS, "--weights-dir", str(weights_dir))
    listener = fleet.listen("results/+", "rejects/+", "workers/+")
    with camera(fleet, photo(photos), 0.1) as sent:
        wait_for(lambda: len(answers(listener)) >= 20, what="20 answers before")
        changed_at = len(sent)
        # As no other test has it: so it is exported under the load as well.
        changed = models(fleet, "use", "resnet18@untrained.pth", "--crop", "200")
        after = len(sent)
        again = models(fleet, "use", *SMALLER)
        back_at = len(sent)
        wait_for(lambda: len(answers(listener)) >= back_at + 20, 60, what="20 answers after")
    assert changed.returncode == 0, changed.stdout + changed.stderr
    assert again.returncode == 0, again.stdout + again.stderr
    wait_for(lambda: len(answers(listener)) >= len(sent), 60, what="all answers")
    found = answers(listener)
    assert Counter(a.frame_id for a in found) == Counter(sent)
    assert listener.on(f"{fleet.root}/rejects/") == []
    # In the order in which they were sent: one of the former model may be answered after one of the next.
    weights = [a.weights for a in sorted(found, key=lambda a: sent.index(a.frame_id))]
    assert [name for name, _ in itertools.groupby(weights)] == [
        "IMAGENET1K_V1",
        "untrained.pth",
        "IMAGENET1K_V1",
    ]
    total = [a.timings_ms["total"] for a in found]
    for name, some in (
        ("before", total[:changed_at]),
        ("during", total[changed_at:after]),
        ("after", total[after:]),
    ):
        if len(some) > 1:
            p99 = statistics.quantiles(some, n=100)[-1]
            print(f"{name}: {len(some)} frames, median {statistics.median(some):.0f} ms, p99 {p99:.0f} ms")
