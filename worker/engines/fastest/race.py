"""A race: each candidate runs the model for a moment, in a process of its own, one after the other.

A library may crash on a processor that it was not built for, or on a graph, or take all memory: then a child
ends, and not a worker that serves. No two of them are in memory at once.
"""

from __future__ import annotations

import logging
import math
import signal
import tempfile
import threading
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from wire.printable import cut, first_line
from worker.engines.child import cleaning_up_first, how_it_ended, run_child
from worker.engines.fastest.candidates import Candidate, releases
from worker.engines.fastest.process import SECONDS, TOO_LARGE
from worker.engines.fastest.subject import Subject
from worker.engines.fastest.verdict import Trial, Verdict, agreement

log = logging.getLogger(__name__)

#: Milliseconds a picture that are next to nothing beside its decoding: others are not tried then.
QUICK = 0.1
#: Seconds to wait for one, which gets few of the processor's where a worker serves beside it; or hangs.
PATIENCE = 4 * SECONDS
#: What is said of a candidate that runs for ever, or nearly so.
TOO_LONG = "takes too long"


class Unfair(Exception):
    """What all candidates are compared with did not run."""


def race(
    subject: Subject,
    candidates: Sequence[Candidate],
    max_batch: int,
    weights_dir: Path,
    stop: Optional[threading.Event] = None,
) -> Verdict:
    """Try the candidates.

    Args:
        subject: the model.
        candidates: what to run it with; the first is what the others are compared with.
        max_batch: frames in a batch.
        weights_dir: where weights are kept.
        stop: set to give it up.

    Raises:
        NanofleetError: `stop` was set.
        Unfair: the first does not run.
        OSError: there is no temporary folder.
    """
    log.info("%s: finding out what runs it fastest here: this happens once", subject.choice.model)
    trials: List[Trial] = []
    with cleaning_up_first(), tempfile.TemporaryDirectory(prefix="nanofleet-race-") as folder:
        arguments = [str(max_batch), str(weights_dir), folder, str(Path.cwd())]
        for candidate in candidates:
            if any(trial.failed and trial.engine == candidate.engine for trial in trials):
                continue  # if not in float32, then not in less
            best = min((trial.ms for trial in trials if trial.agrees), default=math.inf)
            reply = _run([subject.model_dump_json(), *candidate, str(best), *arguments], stop)
            if reply.get("absent"):
                continue
            trials.append(_trial(candidate, reply, Path(folder)))
            if trials[0].failed or trials[0].ms < QUICK:
                break
    if trials[0].failed not in ("", TOO_LONG, TOO_LARGE):  # those would fare no better the next time
        raise Unfair(trials[0].says)
    return Verdict(releases=releases(), trials=tuple(trials))


def _run(arguments: Sequence[str], stop: Optional[threading.Event]) -> Dict[str, Any]:
    try:
        reply = run_child("worker.engines.fastest.process", arguments, stop=stop, seconds=PATIENCE)
    except TimeoutError:
        return {"error": TOO_LONG}
    code = reply["exit_code"]
    if "ms" in reply or "error" in reply or "absent" in reply:
        return reply
    return {"error": TOO_LONG if code == -signal.SIGXCPU else how_it_ended(code)}


def _trial(candidate: Candidate, reply: Dict[str, Any], folder: Path) -> Trial:
    """What a process says of a candidate, beside what the first one has answered."""
    if "error" in reply:
        return Trial(**candidate._asdict(), failed=cut(first_line(reply["error"]), 200))
    if reply.get("slower"):
        return Trial(**candidate._asdict(), ms=reply["ms"])
    first, answers = folder / "first.npy", folder / "answers.npy"
    if not first.exists():
        first.write_bytes(answers.read_bytes())
    compared = agreement(np.load(answers), np.load(first))
    figures = {"ms": reply["ms"], "pictures": compared.pictures, "same": compared.same}
    return Trial(**candidate._asdict(), **figures, agrees=compared.enough)
