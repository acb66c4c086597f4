"""By what a canary is judged: answers before and after, and how often both models agreed."""

from __future__ import annotations

import threading
from typing import Dict

import pytest
from rich.console import Console

from fleet.models.canary import Observed, Trial
from fleet.models.settings import UseSettings
from fleet.workers import watch
from tests.fleet.members import change, publish_status, result
from tests.fleets import Fleet
from wire.errors import NanofleetError


@pytest.mark.parametrize(
    ("after", "agreed", "kept"),
    [
        (Observed([10.0] * 20, 0), 9, {"rejected": True, "p95": True, "agreement on 10 frames": True}),
        (Observed([10.0] * 18, 2), 9, {"rejected": False, "p95": True, "agreement on 10 frames": True}),
        (Observed([21.0] * 20, 0), 9, {"rejected": True, "p95": False, "agreement on 10 frames": True}),
        (Observed([10.0] * 20, 0), 7, {"rejected": True, "p95": True, "agreement on 10 frames": False}),
    ],
)
def test_each_bound_is_kept_or_not_by_itself(
    mosquitto_url: str,
    root: str,
    fleet: Fleet,
    after: Observed,
    agreed: int,
    kept: Dict[str, bool],
) -> None:
    publish_status(
        fleet.listen("control/#"),
        root,
        "nano-1",
        change=change("id", compared=10, agreed=agreed),
    )
    settings = UseSettings(model="resnet50", broker=mosquitto_url, root=root, canary=1, canary_frames=20)
    with watch.Fleet(settings.open_broker(), settings.topics, timeout=30) as watched:
        bounds = Trial(watched, settings, Console()).judge(Observed([10.0] * 20, 0), after)
    assert {bound.name: bound.kept for bound in bounds} == kept


def test_still_cameras_do_not_loosen_the_bound_on_rejections(
    mosquitto_url: str, root: str, fleet: Fleet
) -> None:
    """Before the change the model sees few of their frames, and all of them while two are compared."""
    publish_status(fleet.listen("control/#"), root, "nano-1", change=change("id", compared=10, agreed=10))
    settings = UseSettings(model="resnet50", broker=mosquitto_url, root=root, canary=1, canary_frames=20)
    before = Observed([10.0] * 18, 2, repeated=980)
    with watch.Fleet(settings.open_broker(), settings.topics, timeout=30) as watched:
        trial = Trial(watched, settings, Console())
        kept = [
            {bound.name: bound.kept for bound in trial.judge(before, after)}["rejected"]
            for after in (Observed([10.0] * 90, 10), Observed([10.0] * 998, 2))
        ]
    assert kept == [False, True]


def test_a_canary_is_none_that_would_not_follow(mosquitto_url: str, root: str, fleet: Fleet) -> None:
    publish_status(fleet.listen("control/#"), root, "nano-1", accepts_control=False)
    settings = UseSettings(model="resnet50", broker=mosquitto_url, root=root, canary=1)
    with watch.Fleet(settings.open_broker(), settings.topics, timeout=30) as watched, pytest.raises(
        NanofleetError, match="1 of them have --ignore-control"
    ):
        Trial(watched, settings, Console())


def test_a_frame_that_no_model_has_seen_judges_none(mosquitto_url: str, root: str, fleet: Fleet) -> None:
    listener = fleet.listen("control/#")
    publish_status(listener, root, "nano-1")
    settings = UseSettings(model="resnet50", broker=mosquitto_url, root=root, canary=1, canary_frames=2)
    with watch.Fleet(settings.open_broker(), settings.topics, timeout=30, answers=True) as watched:
        trial = Trial(watched, settings, Console())
        done = threading.Event()

        def answer() -> None:
            while not done.is_set():
                repeat = result(repeats="frame-7", timings_ms={"total": 0.5})
                for each in (repeat, result()):
                    listener.publish(f"{root}/results/door", each.encode())

        answering = threading.Thread(target=answer)
        answering.start()
        try:
            observed, enough = trial.observe("as they are")
        finally:
            done.set()
            answering.join()
    assert enough
    assert observed.frames == len(observed.total_ms) >= 2
    assert set(observed.total_ms) == {12.4}
    assert observed.repeated
