"""A child process: what it says, and what others say on its stdout."""

from __future__ import annotations

import logging
import textwrap
from pathlib import Path

import pytest

from worker.engines.child import run_child


def test_what_a_library_prints_while_it_is_imported_is_no_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    child = """
        print("hello from a library")
        print("[1]")

        import os
        from worker.engines.child_process import answer

        answer(os.getcwd(), "INFO", lambda: {"answer": 42})
    """
    (tmp_path / "child.py").write_text(textwrap.dedent(child))
    caplog.set_level(logging.INFO)
    assert run_child("child", [], stop=None, environment={"PYTHONPATH": str(tmp_path)}) == {
        "answer": 42,
        "exit_code": 0,
    }
    assert caplog.messages == ["hello from a library", "[1]"]
