"""One camera's state, by the answers to its frames."""

from __future__ import annotations

from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, Callable, Dict, Mapping, Optional, Tuple, Union

from fleet.observer.frame_ids import FrameIds
from fleet.observer.stable import StableLabel
from wire.cameras import NONE, CameraEvent, CameraSettings, CameraState
from wire.messages import Rejection, Result

#: Candidates of the last frame that a state shows, at most.
MAX_TOP = 10
#: More than a camera has ever sent: a counter that was restored may lie.
MOST_FRAMES = 10**12
#: Seconds between two publications of a state, at least, where a reader would notice nothing new, and where
#: something has changed: a camera whose label changes with each frame must not flood its readers.
EVERY_SECONDS, AT_ONCE_SECONDS = 5.0, 0.5
#: A time of day is not counted back by more seconds than this, whatever clocks say.
_MOST_LATE = 1e6
#: What a reader notices.
_noticed: Callable[[Mapping[str, Any]], Tuple[Any, ...]] = itemgetter(
    "name", "area", "stable", "group", "silent", "rejected_last", "last_rejection"
)


class Camera:
    """A camera. Times are given: seconds of a clock that nobody sets, and the time of day.

    Attributes:
        is_current: whether it was published as it is.
        seems_new: whether nothing is known of it but by the answers that have come here.
        heard: when an answer came last, by the clock.
    """

    def __init__(self, state: CameraState, settings: CameraSettings, heard: float, newest: float) -> None:
        """Begin with a state, of a camera that is new or of one that was observed before.

        Args:
            state: what is known.
            settings: the camera's.
            heard: when an answer came last, by the clock.
            newest: when the newest frame was answered of those that have come, by the clock.
        """
        self._began_with = state
        # A dictionary, because it changes with each frame, and a message is made only of what is published.
        self._facts: Dict[str, Any] = dict(state)
        self._facts.update(
            frames=min(state.frames, MOST_FRAMES),
            rejections=min(state.rejections, MOST_FRAMES),
            top=state.top[:MAX_TOP],
        )
        self.seems_new = False
        self.heard = self._classified = heard
        self._newest = newest
        self._of = settings.stable.of
        label = StableLabel(settings.stable, state.stable, state.stable_confidence)
        self._label = label if self._of == "label" else StableLabel(settings.stable)
        self._group = StableLabel(settings.stable, state.group, state.group_confidence)
        self._ids = FrameIds()
        self._published: Optional[Tuple[object, ...]] = None
        self._published_at = float("-inf")
        self.is_current = False
        self.follow(settings)

    @property
    def state(self) -> CameraState:
        """The camera as it is now."""
        return self._began_with.model_copy(update=self._facts)

    @property
    def is_silent(self) -> bool:
        """Whether no answer has come for long."""
        return bool(self._facts["silent"])

    def follow(self, settings: CameraSettings) -> None:
        """Go by these settings from now on."""
        self._label.follow(settings.stable)
        self._group.follow(settings.stable)
        self._of = settings.stable.of
        facts: Dict[str, object] = {"name": settings.name, "area": settings.area}
        if self._shown.label != self._facts["stable"]:  # the other of the two, which is no event
            facts.update(stable=self._shown.label, stable_confidence=self._shown.confidence)
            facts.update(stable_since=self._facts["last_seen"])
        self._update(facts)

    def resume(self, state: CameraState) -> None:
        """Go on from what was retained of it, which came after answers of what seemed to be a new camera."""
        self.seems_new = False
        if state.frame_id in self._ids:  # it was published here
            return
        facts: Dict[str, object] = {
            counter: self._facts[counter] + min(getattr(state, counter), MOST_FRAMES)
            for counter in ("frames", "rejections")
        }
        if self._of == "label" and not state.silent:
            self._label.resume(state.stable, state.stable_confidence)
        if not state.silent:
            self._group.resume(state.group, state.group_confidence)
        for what, stable in (("stable", self._shown), ("group", self._group)):
            if stable.label != self._facts[what]:
                facts.update({what: stable.label, f"{what}_confidence": stable.confidence})
                facts[f"{what}_since"] = getattr(state, f"{what}_since")
        if self._facts["last_known"] is None:
            facts.update(last_known=state.last_known, last_known_at=state.last_known_at)
        self._update(facts)

    @property
    def _shown(self) -> StableLabel:
        return self._group if self._of == "group" else self._label

    def add(
        self, answer: Union[Result, Rejection], seconds: float, lateness: float, now: datetime
    ) -> Optional[CameraEvent]:
        """Take the answer to a frame.

        Args:
            answer: it.
            seconds: the clock.
            lateness: for how many seconds it was on its way, beyond what is usual.
            now: the time of day.

        Returns:
            An event, where the stable label or the group has changed to one that is known.
        """
        self.heard = seconds
        facts: Dict[str, object] = {}
        counts = self._ids.add(answer)
        if counts:
            counter = "frames" if isinstance(answer, Result) else "rejections"
            facts[counter] = self._facts[counter] + 1
        if seconds - lateness < self._newest:  # it must not turn the state back
            self._update(facts)
            return None
        self._newest = seconds - lateness
        moment = now - timedelta(seconds=min(lateness, _MOST_LATE))
        facts.update(last_seen=moment, silent=False)
        facts.update(frame_id=answer.frame_id, worker=answer.worker)
        facts.update(rejected_last=isinstance(answer, Rejection))
        if isinstance(answer, Rejection):
            facts.update(last_rejection=answer.reason)
        else:
            self._classified = seconds
            facts.update(self._seen_in(answer, moment, counts))
        before = {what: self._facts[what] for what in ("stable", "group")}
        self._update(facts)
        news = [what for what in before if self._facts[what] not in (before[what], NONE)]
        return self._event() if news else None

    def _seen_in(self, result: Result, moment: datetime, votes: bool) -> Dict[str, object]:
        """What a result says, and what has become stable by it, unless its frame has voted before."""
        top = result.top[:MAX_TOP]
        # Of a model whose classes do not exclude each other, the best may not have been seen.
        nothing = result.labels == ()
        if votes:
            self._label.add([] if nothing else [(each.label, each.confidence) for each in top])
            groups = () if nothing else result.groups or ()
            self._group.add([(each.group, each.confidence) for each in groups])
        shown, group = self._shown, self._group
        facts: Dict[str, object] = {
            "label": result.label,
            "confidence": result.confidence,
            "top": top,
            "model": result.model,
            "stable": shown.label,
            "stable_confidence": shown.confidence,
            "group": group.label,
            "group_confidence": group.confidence,
        }
        if shown.label != self._facts["stable"] or self._facts["stable_since"] is None:
            facts["stable_since"] = moment
        if group.label != self._facts["group"] or self._facts["group_since"] is None:
            facts["group_since"] = moment
        if shown.label != NONE:
            facts.update(last_known=shown.label, last_known_at=moment)
        return facts

    def _event(self) -> CameraEvent:
        facts = self._facts
        return CameraEvent(
            camera=facts["camera"],
            label=facts["stable"],
            confidence=facts["stable_confidence"] or facts["group_confidence"] or 0.0,
            group=facts["group"],
            frame_id=facts["frame_id"],
            at=facts["last_seen"],
        )

    def look_for_silence(self, silent_after: float, seconds: float, now: datetime) -> None:
        """Note whether no answer has come for so long; forget what was seen if no result has. 0: never."""
        silent = 0 < silent_after < seconds - self.heard
        if silent != self._facts["silent"]:
            self._update({"silent": silent})
        if 0 < silent_after < seconds - self._classified:
            self._forget(now)

    def _forget(self, now: datetime) -> None:
        if not self._facts["silent"] and self._facts["label"] is not None:  # pictures come, and are rejected
            self._update({"label": None, "confidence": None, "top": ()})
        self._label.clear()
        self._group.clear()
        for what in ("stable", "group"):
            if self._facts[what] != NONE:
                self._update({what: NONE, f"{what}_confidence": None, f"{what}_since": now})

    def is_due(self, seconds: float) -> bool:
        """Whether its state is to be published now; if so, that is taken as done."""
        noticed = _noticed(self._facts)
        changed = noticed != self._published
        if self.is_current and not changed:
            return False
        if seconds - self._published_at < (AT_ONCE_SECONDS if changed else EVERY_SECONDS):
            return False
        self._published, self._published_at, self.is_current = noticed, seconds, True
        return True

    def publish_again(self) -> None:
        """Have the state published, whatever was published before."""
        self._published, self._published_at = None, float("-inf")

    def _update(self, facts: Mapping[str, object]) -> None:
        self._facts.update(facts)
        self.is_current = False


def restored(state: CameraState, settings: CameraSettings, seconds: float, now: datetime) -> Camera:
    """A camera that was observed before, by another observer or in an earlier run.

    Args:
        state: what the broker has retained of it.
        settings: the camera's.
        seconds: the clock.
        now: the time of day. It may be wrong, and the state's times may be.
    """
    age = (now - state.last_seen).total_seconds() if state.last_seen else float("inf")
    # It may have sent frames while nobody observed, and clocks disagree: one that was not silent before is
    # silent only once nothing has come for as long as it takes, from now on.
    heard = float("-inf") if state.silent or state.last_seen is None else seconds
    return Camera(state, settings, heard, seconds - max(0.0, age))


def seen_first(camera: str, settings: CameraSettings, seconds: float) -> Camera:
    """A camera of which nothing is known."""
    found = Camera(CameraState(camera=camera), settings, seconds, float("-inf"))
    found.seems_new = True
    return found
