"""The main of the process that exports a model; see `worker.engines.export_child`, its parent's end.

    python -m worker.engines.export_process CHOICE WEIGHTS_DIR TARGET LOG_LEVEL FOLDER

FOLDER is where its user is: what is said of a file goes by names from there.

stdout  a JSON object a line: what it logs, and at last the model, or the error and its kind
stdin   says nothing, and ends when the process shall leave: at its parent's word or death
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, Sequence, TextIO

from wire.choice import ModelChoice
from wire.errors import NanofleetError, SettingsError

#: Seconds in which it must have left: code of PyTorch's may not let it go.
LEAVE_TIMEOUT = 1.0


def main(arguments: Sequence[str]) -> None:
    """Export one model."""
    choice, weights_dir, target, level, folder = arguments
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, _leave)
    threading.Thread(target=_leave_with_the_parent, daemon=True).start()
    os.chdir(folder)  # its modules were found from where it was started
    # What PyTorch prints must not end up in the answer.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    os.nice(10)  # a worker may be serving meanwhile
    with answer:
        logging.basicConfig(level=level, format="%(message)s", handlers=[_ToParent(answer)])
        # The exporter and what it is built on tell every step.
        for name in ("torch", "onnxscript", "onnx_ir"):
            logging.getLogger(name).setLevel(logging.ERROR)
        reply = _export(ModelChoice.model_validate_json(choice), Path(weights_dir), Path(target))
        _write(answer, reply)


def _export(choice: ModelChoice, weights_dir: Path, target: Path) -> Dict[str, Any]:
    try:
        from worker.engines.onnx_export import export  # PyTorch takes seconds, and may be told to leave

        return {"model": export(choice, weights_dir, target).model_dump(mode="json")}
    except NanofleetError as error:
        kind = "settings" if isinstance(error, SettingsError) else "other"
        return {"kind": kind, "error": str(error)}
    except Exception as error:  # noqa: BLE001 - PyTorch names no errors that its exporter raises
        lines = str(error).strip().splitlines() or [""]
        return {"kind": "export", "error": f"it cannot be exported: {type(error).__name__}: {lines[0]}"}


def _write(answer: TextIO, line: Dict[str, Any]) -> None:
    answer.write(json.dumps(line) + "\n")
    answer.flush()


class _ToParent(logging.Handler):
    """Has the parent log what this process logs, in the form that it logs in."""

    def __init__(self, answer: TextIO) -> None:
        super().__init__()
        self._answer = answer

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        line = {"logger": record.name, "level": record.levelno, "message": self.format(record)}
        _write(self._answer, line)


def _leave(signum: int, frame: object) -> None:
    """Leave without a word, but let a download remove what it has so far."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    sys.exit(1)


def _leave_with_the_parent() -> None:
    os.read(0, 1)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    time.sleep(LEAVE_TIMEOUT)
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
