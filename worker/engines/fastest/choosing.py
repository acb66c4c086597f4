"""Choosing: the candidate that a verdict speaks for, kept from before or found now; and opening it.

verdict kept ──> its winner        none, and time for a race ──> race ──> kept        neither ──> the default

Of a winner that agrees with float32 but for close calls, a second engine is opened, to answer those again.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from pathlib import Path
from typing import Callable, Iterator, NamedTuple, Optional, Sequence, Tuple

from wire.errors import NanofleetError
from wire.files import part_of
from worker.engines.base import Engine, EngineName, Pick, Precision
from worker.engines.close_calls import Chosen
from worker.engines.fastest.candidates import Candidate, candidates
from worker.engines.fastest.gpu import is_missing
from worker.engines.fastest.kept import file_of, read, write
from worker.engines.fastest.race import Unfair, race
from worker.engines.fastest.subject import Subject
from worker.engines.fastest.verdict import Verdict
from worker.engines.int8.calibration import Calibration
from worker.models.info import Model
from worker.models.weights import lock

log = logging.getLogger(__name__)
#: Opens a model with one engine.
Open = Callable[[Pick], Tuple[Model, Engine]]


class Wish(NamedTuple):
    """What is asked of the engine, and what may be done to find it."""

    engine: EngineName
    precision: Precision
    max_batch: int
    weights_dir: Path
    #: Whether there is time to try the candidates, where no verdict is kept.
    race: bool
    #: Set to give that up.
    stop: Optional[threading.Event]
    #: Frames, for `int8`.
    calibration: Optional[Calibration] = None


def open_fastest(subject: Subject, default: Pick, wish: Wish, open_it: Open) -> Tuple[Model, Engine]:
    """Open a model with what runs it fastest here, on the default's device.

    Args:
        subject: the model.
        default: what runs it where nothing is known, and where the fastest turns out not to.
        wish: what is asked for.
        open_it: opens it.

    Raises:
        NanofleetError: as `open_it` raises it; or `wish.stop` was set.
    """
    chosen = _chosen(subject, default, wish)
    try:
        return chosen.opened(open_it)
    except NanofleetError as error:
        if chosen == Chosen(default._replace(why=chosen.pick.why)) or (wish.stop and wish.stop.is_set()):
            raise
        log.warning("%s; running it with %s", error, default.engine)
    return open_it(
        default._replace(why=f"{chosen.pick.engine} was faster, and cannot be opened; {default.why}")
    )


def _chosen(subject: Subject, default: Pick, wish: Wish) -> Chosen:
    entrants = candidates(wish.engine, wish.precision, default.device)
    if len(entrants) < 2:
        return Chosen(default)
    verdict = _verdict(subject, entrants, wish)
    where = f"{default.device}: {default.why.partition(f'{default.device}: ')[2]}"
    if verdict is None:
        return Chosen(default._replace(why=f"not compared yet with {_rival(default, entrants)}; {where}"))
    winner = verdict.winner
    if winner.failed:  # nothing ran: what serves by default may have been put right since
        return Chosen(default._replace(why=f"{verdict.why}; {where}"))
    pick = Pick(winner.engine, default.device, f"{verdict.why}; {where}", winner.precision)
    if winner.again is None:
        return Chosen(pick)
    return Chosen(pick, pick._replace(engine=winner.again, precision="float32"), winner.margin)


def _rival(default: Pick, entrants: Sequence[Candidate]) -> Candidate:
    """The candidate that is most like the default, of another library if there is one."""
    others = [each for each in entrants if each != (default.engine, default.precision)]
    return min(others, key=lambda each: (each.engine == default.engine, each.precision != default.precision))


def _verdict(subject: Subject, entrants: Sequence[Candidate], wish: Wish) -> Optional[Verdict]:
    """The verdict that is kept, or that of a race; None where there is neither."""
    file = file_of(subject, wish.engine, wish.precision, wish.weights_dir)
    verdict = read(file, subject.device)
    if verdict is not None or not wish.race or (subject.device != "cpu" and is_missing(subject.device)):
        return verdict
    with _alone(file):
        verdict = read(file, subject.device)  # another worker may just have found it
        if verdict is not None:
            return verdict
        if subject.int8:
            subject = subject.model_copy(update={"int8": subject.int8.prepared(wish.stop)})
        try:
            verdict = race(subject, entrants, wish.max_batch, wish.weights_dir, part_of(file), wish.stop)
        except (Unfair, OSError) as error:
            log.warning("%s: the engines cannot be compared: %s", subject.choice.model, error)
            return None
        if verdict.winner.failed:
            log.warning("%s: the engines cannot be compared: %s", subject.choice.model, verdict.why)
        if verdict.lasts:
            write(file, verdict)
        else:
            log.warning("%s: the engines are tried again at the next start", subject.choice.model)
    return verdict


@contextlib.contextmanager
def _alone(file: Path) -> Iterator[None]:
    """One race for a verdict at a time, where the folder can be written to."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(lock(file))
        yield
