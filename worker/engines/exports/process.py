"""The main of the process that exports a model; see `worker.engines.exports.cache`, its user.

python -m worker.engines.exports.process CHOICE WEIGHTS_DIR TARGET LOG_LEVEL FOLDER
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any, Dict, Sequence

from wire.errors import NanofleetError
from wire.model_choice import ModelChoice
from wire.printable import first_line
from worker.engines.child_process import answer
from worker.engines.exports.entry import Entry
from worker.engines.sessions import out_of_memory


def main(arguments: Sequence[str]) -> None:
    """Export one model."""
    choice, weights_dir, target, level, folder = arguments
    exported = ModelChoice.model_validate_json(choice)
    answer(folder, level, lambda: _export(exported, Path(weights_dir), Path(target)))


def _export(choice: ModelChoice, weights_dir: Path, target: Path) -> Dict[str, Any]:
    try:
        from worker.engines.exports.graph import export  # as PyTorch does
        from worker.models.catalog import file_name
    except Exception as error:  # noqa: BLE001 - a library that is not there is an OSError, another build anything
        if out_of_memory(error) or "failed to map segment" in str(error):  # as the dynamic linker says it
            return {"kind": "memory"}
        return {"kind": "torch", "error": f"cannot be imported: {_why(error)}"}
    try:
        # The exporter and what it is built on log every step, and of a failure more than its exception says.
        for name in ("torch", "onnxscript", "onnx_ir"):  # not before: PyTorch sets its own level, and writes
            logging.getLogger(name).setLevel(logging.CRITICAL)  # to stderr itself
        model = export(choice, weights_dir, target)
        return {"entry": Entry(model=model, file=file_name(choice.model)).model_dump(mode="json")}
    except NanofleetError:
        raise
    except Exception as error:  # noqa: BLE001 - PyTorch names no errors that its exporter raises
        if out_of_memory(error):
            return {"kind": "memory"}
        return {"kind": "export", "error": f"it cannot be exported: {_why(error)}"}


def _why(error: BaseException) -> str:
    """The first cause: the exporter's own error only says which of its steps has failed."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {first_line(error)}"


if __name__ == "__main__":
    main(sys.argv[1:])
