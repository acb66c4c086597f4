"""The main of the process that tries one candidate; see `worker.engines.fastest.race`, its user.

python -m worker.engines.fastest.process
    SUBJECT ENGINE PRECISION AGAIN MARGIN BEST MAX_BATCH WEIGHTS_DIR PLACE FOLDER
"""

from __future__ import annotations

import itertools
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from wire.errors import NanofleetError, SettingsError
from wire.printable import first_line
from worker.engines.base import Engine, Pick
from worker.engines.child_process import answer
from worker.engines.close_calls import Chosen
from worker.engines.fastest.pictures import drawn
from worker.engines.fastest.places import Place, place_of
from worker.engines.fastest.race import FIRST, LAST
from worker.engines.fastest.subject import Subject
from worker.engines.fastest.verdict import tells_apart
from worker.engines.int8.graph import Int8
from worker.engines.limits import causes, limit_memory, limit_time, refused_memory
from worker.engines.openvino_engine import NoInstructions

#: The `why` of picks, to which engines on CUDA add how they run.
TRIED = "tried"
#: What is said of a candidate that is refused memory.
TOO_LARGE = "wants too much memory"
#: What is said of 16 bits where nothing would show that they answer otherwise.
UNTOLD = "is not tried, because float32 gives all drawn pictures the same label, or most of them none"
#: Frames to show beside what is drawn, at most.
FRAMES = 100
#: Seconds of it after which its speed is known.
ENOUGH = 0.6
#: Pictures after which a candidate ends that is much slower than the best so far.
FEW = 24


def main(arguments: Sequence[str]) -> None:
    """Open the model with one candidate, time it, and keep what it answers."""
    subject, engine, precision, again, margin, best, max_batch, weights_dir, place, folder = arguments
    model = Subject.model_validate_json(subject)
    pick = Pick(engine, model.device, TRIED, precision)  # type: ignore[arg-type]
    exact = Pick(again, model.device, TRIED) if again else None  # type: ignore[arg-type]
    chosen = Chosen(pick, exact, float(margin))

    def work() -> Dict[str, Any]:
        limit_time(place_of(model.device).seconds)
        return _try(model, chosen, float(best), int(max_batch), Path(weights_dir), Path(place))

    answer(folder, "CRITICAL", work)


def _try(
    subject: Subject, chosen: Chosen, best: float, max_batch: int, weights_dir: Path, folder: Path
) -> Dict[str, Any]:
    try:
        if subject.device == "cpu":  # CUDA reserves more than it takes
            limit_memory(subject.files)
        kind, engine = chosen.opened(lambda pick: subject.open(pick, max_batch, weights_dir))
        exact = chosen.pick.precision == "float32"
        if not exact and not tells_apart(np.load(folder / FIRST), kind.seen_from):
            return {"error": UNTOLD}
        engine.warm_up()
        pictures = _pictures(folder / "pictures.npy", kind.shape, subject.int8)
        ms, answers = _timed(engine, pictures, best, max_batch, place_of(subject.device))
    except Exception as error:  # noqa: BLE001 - libraries raise anything; it is the answer
        if isinstance(error, NoInstructions):
            return {"absent": True}
        return {"error": _says(error), "passing": _is_passing(error)}
    if answers is None:
        return {"ms": ms, "slower": True}
    np.save(folder / LAST, answers)
    note = engine.why[len(TRIED) :].strip("; ")
    passing = "out of memory" in note  # so that it had to do without graphs
    return {"ms": ms, "seen_from": kind.seen_from, "note": note, "passing": passing}


def _says(error: Exception) -> str:
    if refused_memory(error) is not None:
        return TOO_LARGE
    return str(error) if isinstance(error, NanofleetError) else f"{type(error).__name__}: {first_line(error)}"


def _is_passing(error: Exception) -> bool:
    """Whether an error may be gone the next time: it is of this machine's memory, disk, or installation."""
    if refused_memory(error) is not None or any(isinstance(each, OSError) for each in causes(error)):
        return True
    return isinstance(error, NanofleetError) and not isinstance(error, SettingsError)


def _pictures(file: Path, shape: Tuple[int, int, int], int8: Optional[Int8]) -> NDArray[np.uint8]:
    """The pictures, which the first candidate draws for all; and frames, where there are any."""
    if not file.exists():
        frames = [int8.pictures(FRAMES)] if int8 else []
        np.save(file, np.concatenate([drawn(shape), *frames]))
    pictures: NDArray[np.uint8] = np.load(file)
    return pictures


def _batches(pictures: NDArray[np.uint8], sizes: Sequence[int]) -> List[NDArray[np.uint8]]:
    """The pictures in batches of these sizes, one after the other and again; the last may be smaller."""
    ends = itertools.accumulate(itertools.islice(itertools.cycle(sizes), len(pictures)))
    return np.split(pictures, [end for end in ends if end < len(pictures)])


def _timed(
    engine: Engine, pictures: NDArray[np.uint8], best: float, max_batch: int, place: Place
) -> Tuple[float, Optional[NDArray[np.float32]]]:
    """Milliseconds a picture, and the answers; without them, if that is too slow anyway."""
    took: List[float] = []
    with ThreadPoolExecutor(engine.at_once) as threads:

        def ms_of(pictures: NDArray[np.uint8]) -> Tuple[float, NDArray[np.float32]]:
            batches = _batches(pictures, place.batches(max_batch))
            began = place.clock()
            answers = list(threads.map(engine.infer, batches))
            took.append(place.clock() - began)
            return took[-1] / len(pictures) * 1000, np.concatenate(answers)

        ms = min(ms_of(pictures[:FEW])[0] for _ in range(2))  # the first round finds everything cold
        if ms > place.slower * best:
            return ms, None
        ms, answers = ms_of(pictures)
        while sum(took) < ENOUGH:
            ms = min(ms, ms_of(pictures)[0])
    return ms, answers


if __name__ == "__main__":
    main(sys.argv[1:])
