"""The main of the process that tries an ONNX file; see `worker.engines.trial`, its user.

python -m worker.engines.trial_process CHOICE ENGINE MAX_BATCH WEIGHTS_DIR SECONDS FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Dict, Sequence, cast

from wire.errors import NanofleetError, SettingsError
from wire.model_choice import ModelChoice
from wire.printable import first_line
from worker.engines.base import EngineName
from worker.engines.child_process import answer
from worker.engines.limits import limit_memory, limit_time, refused_memory
from worker.engines.onnx.files import files_of_onnx
from worker.engines.select import open_model


def main(arguments: Sequence[str]) -> None:
    """Open a file and run it, as a worker does before it serves."""
    choice, engine, max_batch, weights_dir, seconds, folder = arguments
    tried = ModelChoice.model_validate_json(choice)

    def work() -> Dict[str, Any]:
        limit_time(float(seconds))
        return _try(tried, cast(EngineName, engine), int(max_batch), Path(weights_dir))

    # Its assumptions are said by who serves it.
    answer(folder, "CRITICAL", work)


def _try(choice: ModelChoice, engine: EngineName, max_batch: int, weights_dir: Path) -> Dict[str, Any]:
    path = Path(choice.model)
    try:
        limit_memory([path])
        limit_memory(files_of_onnx(path))
        model, runner = open_model(
            choice, engine=engine, device="cpu", max_batch=max_batch, weights_dir=weights_dir
        )
        runner.warm_up()
    except Exception as error:
        megabytes = refused_memory(error)
        if megabytes is not None:
            return {"kind": "memory", "megabytes": megabytes}
        if isinstance(error, NanofleetError):
            raise
        # Whatever onnxruntime raises for a batch, say: the worker would fare no better.
        raise SettingsError(f"{path} cannot be run: {type(error).__name__}: {first_line(error)}") from error
    return {"sha256": model.sha256}


if __name__ == "__main__":
    main(sys.argv[1:])
