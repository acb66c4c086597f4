"""The main of the process that tries an ONNX file; see `worker.engines.trial`, its user.

python -m worker.engines.trial_process CHOICE ENGINE MAX_BATCH WEIGHTS_DIR SECONDS FOLDER
"""

from __future__ import annotations

import math
import resource
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, Sequence, cast

from wire.errors import NanofleetError, SettingsError
from wire.model_choice import ModelChoice
from wire.printable import first_line
from wire.private import keep_memory_private
from worker import memory
from worker.engines.base import EngineName
from worker.engines.child_process import answer
from worker.engines.onnx.files import files_of_onnx
from worker.engines.onnx_engine import out_of_memory
from worker.engines.select import open_model

#: Bytes of memory that any file may take, for what its layers hand on: less than half of a Jetson Nano's.
BASE = 2 << 30
#: And so many for each byte of its files: as read, as parsed, as onnxruntime has it, and as its operators do.
#: Half precision took 6 on a CPU, other files 4 to 5; weights of 8 bits become floats.
PER_BYTE = 12


def main(arguments: Sequence[str]) -> None:
    """Open a file and run it, as a worker does before it serves."""
    choice, engine, max_batch, weights_dir, seconds, folder = arguments
    tried = ModelChoice.model_validate_json(choice)

    def work() -> Dict[str, Any]:
        _limit_time(float(seconds))
        return _try(tried, cast(EngineName, engine), int(max_batch), Path(weights_dir))

    # Its assumptions are said by who serves it.
    answer(folder, "CRITICAL", work)


def _try(choice: ModelChoice, engine: EngineName, max_batch: int, weights_dir: Path) -> Dict[str, Any]:
    path = Path(choice.model)
    try:
        _limit_memory([path])
        _limit_memory(files_of_onnx(path))
        model, runner = open_model(
            choice, engine=engine, device="cpu", max_batch=max_batch, weights_dir=weights_dir
        )
        runner.warm_up()
    except Exception as error:
        if any(map(out_of_memory, _causes(error))):
            return {"kind": "memory", "megabytes": resource.getrlimit(resource.RLIMIT_DATA)[0] >> 20}
        if isinstance(error, NanofleetError):
            raise
        # Whatever onnxruntime raises for a batch, say: the worker would fare no better.
        raise SettingsError(f"{path} cannot be run: {type(error).__name__}: {first_line(error)}") from error
    return {"sha256": model.sha256}


def _limit_time(seconds: float) -> None:
    """Have the kernel end this process after so much processor time: it may react to nothing else then."""
    keep_memory_private()  # without a core dump
    _limit(resource.RLIMIT_CPU, math.ceil(seconds))


def _limit_memory(files: Sequence[Path]) -> None:
    # Not the address space, of which each thread takes much that it does not use.
    size = sum(file.stat().st_size for file in files if file.is_file())
    most = min(BASE, memory.total() // 2) + PER_BYTE * size
    _limit(resource.RLIMIT_DATA, most)


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)  # the machine's owner may have set a lower one
    resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _causes(error: BaseException) -> Iterator[BaseException]:
    found: Any = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


if __name__ == "__main__":
    main(sys.argv[1:])
