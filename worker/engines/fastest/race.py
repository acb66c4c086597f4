"""A race: each candidate runs the model for a moment, in a process of its own, one after the other.

A library may crash on a processor or a GPU that it was not built for, or on a graph, or take all memory: then
a child ends, and not a worker that serves. No two of them are in memory at once.
"""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import threading
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

import numpy as np

from wire.errors import NanofleetError
from wire.printable import cut, first_line
from worker.engines.child import CRASHES, cleaning_up_first, how_it_ended, run_child
from worker.engines.close_calls import MOST_CLOSE, are_close, margin_of
from worker.engines.fastest.candidates import Candidate
from worker.engines.fastest.places import place_of
from worker.engines.fastest.subject import Subject
from worker.engines.fastest.verdict import Trial, Verdict, agreement, fastest
from worker.engines.installed import releases
from worker.engines.leftovers import temporary_folder
from worker.models.weights import remove_part

log = logging.getLogger(__name__)

#: Milliseconds of CPU a picture that are next to nothing beside its decoding: others are not tried then.
QUICK = 0.1
#: The files of the first one's answers, and of the last one's, in the folder of a race.
FIRST, LAST = "first.npy", "answers.npy"
#: What is said of a candidate that runs for ever, or nearly so.
TOO_LONG = "takes too long"


class Unfair(Exception):
    """Nothing ran that candidates could be compared with, and the next time something may."""


def race(
    subject: Subject,
    candidates: Sequence[Candidate],
    max_batch: int,
    weights_dir: Path,
    part: Path,
    stop: Optional[threading.Event] = None,
) -> Verdict:
    """Try the candidates.

    Args:
        subject: the model.
        candidates: what to run it with, in float32 first. On a CPU the others are compared with the first; on
            CUDA, where that may be for another card, with the first that runs.
        max_batch: frames in a batch.
        weights_dir: where weights are kept.
        part: a folder to make for the race's time; where that can't be, it is a temporary one.
        stop: set to give it up.

    Raises:
        NanofleetError: `stop` was set.
        Unfair: that does not run, and may do so the next time.
        OSError: there is no temporary folder.
    """
    log.info("%s: finding out what runs it fastest here: this happens once", subject.choice.model)
    trials: List[Trial] = []
    place, on_cpu = place_of(subject.device), subject.device == "cpu"
    with cleaning_up_first(), _made(part) as folder:
        arguments = [str(max_batch), str(weights_dir), str(folder), str(Path.cwd())]

        def run(candidate: Candidate, again: str = "", margin: float = 0) -> Dict[str, Any]:
            best = min((trial.ms for trial in trials if trial.agrees), default=math.inf)
            how = [*candidate, again, str(margin), str(best)]
            return _run([subject.model_dump_json(), *how, *arguments], place.patience, stop)

        for candidate in candidates:
            if any(trial.failed and trial.candidate == Candidate(candidate.engine) for trial in trials):
                continue  # if not in float32, then not in less
            reply = run(candidate)
            if reply.get("absent"):
                continue
            trial = _trial(candidate, reply, folder)
            exact = fastest([each for each in trials if each.precision == "float32"])
            if exact and trial.pictures and not trial.agrees and trial.precision != "float32":
                trial = _with_close_calls(trial, exact, folder, run)
            trials.append(trial)
            if on_cpu and (trials[0].failed or trials[0].ms < QUICK):
                break
    hopeless = trials and all(trial.failed and not trial.passing for trial in trials)  # the next time as well
    if fastest(trials) is None and not hopeless:
        raise Unfair("; ".join(trial.says for trial in trials))
    return Verdict(releases=releases(subject.device), unit=place.unit, trials=tuple(trials))


@contextlib.contextmanager
def _made(part: Path) -> Iterator[Path]:
    """A folder for the block's time; of a process that is killed meanwhile, the next one removes it."""
    try:
        remove_part(part)
        part.mkdir(mode=0o700)
    except OSError:
        with temporary_folder() as folder:
            yield folder
        return
    try:
        yield part
    finally:
        remove_part(part)


def _run(arguments: Sequence[str], seconds: float, stop: Optional[threading.Event]) -> Dict[str, Any]:
    """Run the process that tries a candidate; returns what it says, or an error, which may be `passing`.

    Raises:
        NanofleetError: `stop` was set.
    """
    try:
        reply = run_child("worker.engines.fastest.process", arguments, stop=stop, seconds=seconds)
    except TimeoutError:  # it got too little of the processor
        return {"error": TOO_LONG, "passing": True}
    except NanofleetError as error:
        if stop is not None and stop.is_set():
            raise
        return {"error": f"was not tried: {error}", "passing": True}
    code = reply["exit_code"]
    if "ms" in reply or "error" in reply or "absent" in reply:
        return reply
    if code == -signal.SIGXCPU:
        return {"error": TOO_LONG}
    # Others than crashes are somebody's doing, such as the kernel's where memory runs out.
    return {"error": how_it_ended(code), "passing": -code not in CRASHES}


def _trial(candidate: Candidate, reply: Dict[str, Any], folder: Path) -> Trial:
    """What a process says of a candidate, beside what the first one has answered."""
    if "error" in reply:
        failed = cut(first_line(reply["error"]), 200)
        return Trial(**candidate._asdict(), failed=failed, passing=reply.get("passing", False))
    if reply.get("slower"):
        return Trial(**candidate._asdict(), ms=reply["ms"])
    first, answers = folder / FIRST, folder / LAST
    if not first.exists():
        first.write_bytes(answers.read_bytes())
    compared = agreement(np.load(answers), np.load(first), reply["seen_from"])
    figures = {key: reply[key] for key in ("ms", "note", "passing")}
    figures.update(pictures=compared.pictures, same=compared.same, agrees=compared.enough)
    return Trial(**candidate._asdict(), **figures)


def _with_close_calls(
    trial: Trial, exact: Trial, folder: Path, run: Callable[[Candidate, str, float], Dict[str, Any]]
) -> Trial:
    """What a candidate that does not agree comes to when its close calls are answered again.

    Args:
        trial: the candidate's, by itself.
        exact: the trial of what answers again.
        folder: with the answers of both.
        run: tries the candidate together with that.
    """
    found, expected = np.load(folder / LAST), np.load(folder / FIRST)
    margin = margin_of(found, expected)
    if margin is None or trial.ms >= exact.ms:
        return trial
    close = are_close(found, margin)
    if close.mean() > MOST_CLOSE or not agreement(np.where(close[:, None], expected, found), expected).enough:
        return trial
    both = _trial(trial.candidate, run(trial.candidate, exact.engine, margin), folder)
    if both.agrees:
        return both.model_copy(update={"again": exact.engine, "margin": margin, "close": float(close.mean())})
    return trial.model_copy(update={"alone": both.failed if both.passing else ""})
