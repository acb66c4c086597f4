"""Canaries: `nanofleet models use --canary` changes some workers first, and compares."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import List, Sequence

import pytest

from tests.end_to_end.commanding import (
    FAST_STATUS,
    USE_OTHER,
    USE_SAME,
    answers,
    camera,
    latest,
    models,
    photo,
    start,
    wait_change,
)
from tests.fleets import Fleet
from tests.harness import MODEL, statuses, wait_for
from tests.tiny import TINY_NAME
from wire.messages import Rejection, WorkerStatus


def test_a_canary_that_has_the_model_already_is_said_at_once(
    photos: Path,
    fleet: Fleet,
) -> None:
    fleet.worker("--model", MODEL, *FAST_STATUS)
    with camera(fleet, photo(photos), 0.15):
        canary = models(fleet, "use", MODEL, "--canary", "1", "--canary-frames", "3")
    assert canary.returncode == 1
    assert "there is nothing to compare it with" in canary.stdout
    assert "the canaries could not change: rolling back" in canary.stdout


@pytest.mark.parametrize(("model", "agrees"), [(USE_SAME, True), (USE_OTHER, False)], ids=["good", "bad"])
def test_canaries_go_first_and_decide(
    photos: Path,
    fleet: Fleet,
    model: Sequence[str],
    agrees: bool,
) -> None:
    first, second = start(fleet, id="a", wait=False), start(fleet, id="b", wait=False)
    first.wait_ready()
    second.wait_ready()
    listener = fleet.listen("results/+", "rejects/+", "workers/+")
    with camera(fleet, photo(photos), 0.15) as sent:
        # The machine may be busy with other things than this fleet: only agreement is to decide.
        canary = models(
            fleet, "use", *model, "--canary", "1", "--canary-frames", "15", "--max-slowdown", "1000"
        )

    def changes() -> List[WorkerStatus]:
        return [status for status in statuses(listener.messages) if status.change]

    comparing = wait_for(
        lambda: [s.change for s in changes() if s.change and s.change.compared >= 15],
        what="the listener hears of the comparison as well",
    )
    assert {s.change.topic for s in changes() if s.worker == first.id and s.change} >= {
        f"{fleet.root}/control/{first.id}/model"
    }
    assert (comparing[-1].agreed / comparing[-1].compared > 0.9) is agrees
    if agrees:
        assert canary.returncode == 0, canary.stdout + canary.stderr
        assert "on to the whole fleet" in canary.stdout
        for worker in (first, second):
            wait_change(listener, worker, f"{fleet.root}/control/model")
    else:
        assert canary.returncode == 1
        assert "rolling back" in canary.stdout
        wait_for(lambda: latest(listener, first).change is None, what="the roll-back")
        assert all(latest(listener, worker).model == TINY_NAME for worker in (first, second))
        assert not any(status.worker == second.id for status in changes())
    wait_for(lambda: len(answers(listener)) >= len(sent), 60, what="all answers")
    assert Counter(a.frame_id for a in answers(listener)) == Counter(sent)
    assert [Rejection.decode(m.payload) for m in listener.on(f"{fleet.root}/rejects/")] == []
