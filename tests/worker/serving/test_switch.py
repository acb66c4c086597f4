"""Which model a frame goes to, and which is loaded for that."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Dict, List

import pytest

from wire.errors import NanofleetError
from wire.model_choice import ModelChoice
from worker.engines.opened import files_of
from worker.serving.loaded import LoadedModel
from worker.serving.switch import Switch


class Part:
    """What a LoadedModel is made of, where nothing is decoded and classified."""

    at_once = 1

    def __enter__(self) -> Part:
        return self

    def close(self) -> None:
        pass


class Broken(Part):
    def __enter__(self) -> Part:
        raise NanofleetError("a decoder process cannot start")


class Loading:
    """Loads, and counts; decoders fail where the test says so."""

    def __init__(self, load_timeout: float = 60) -> None:
        self.loaded: List[str] = []
        self.decoders: Part = Part()
        self.errors: Dict[str, Exception] = {}
        #: By model: what its load waits for.
        self.gates: Dict[str, threading.Event] = {}
        stop = threading.Event()
        self.switch = Switch(self._load, stop, load_timeout=load_timeout)

    def _load(self, choice: ModelChoice) -> LoadedModel:
        self.loaded.append(choice.model)
        if choice.model in self.gates:
            self.gates[choice.model].wait(60)
        if choice.model in self.errors:
            raise self.errors[choice.model]
        parts: Any = (None, Part(), self.decoders)
        return LoadedModel(choice, files_of(choice), *parts)


@pytest.mark.parametrize("which", ["weights", "labels", "ONNX"])
def test_a_file_that_was_replaced_is_loaded_again(which: str, tmp_path: Path) -> None:
    file = tmp_path / ("mine.onnx" if which == "ONNX" else "mine.pth")
    file.write_text("trained on Monday")
    choice = {
        "weights": ModelChoice(model=f"resnet18@{file}"),
        "labels": ModelChoice(model="resnet18", labels=file),
        "ONNX": ModelChoice(model=str(file)),
    }[which]
    loading = Loading()
    with loading.switch.opened(choice):
        loading.switch.change_to(choice, compare=False)
        assert len(loading.loaded) == 1
        file.write_text("trained on Tuesday")
        loading.switch.change_to(choice, compare=False)
        assert len(loading.loaded) == 2
        file.unlink()
        loading.switch.change_to(choice, compare=True)
        assert len(loading.loaded) == 3
        loading.switch.change_to(choice, compare=False)
        assert len(loading.loaded) == 3


def test_what_cannot_serve_is_not_kept() -> None:
    loading = Loading()
    with loading.switch.opened(ModelChoice(model="own")):
        loading.decoders = Broken()
        for _ in range(3):
            with pytest.raises(NanofleetError, match="cannot start"):
                loading.switch.change_to(ModelChoice(model="other"), compare=False)
        assert len(loading.switch._open) == 1


def test_a_load_that_hangs_holds_up_no_other_command() -> None:
    loading = Loading(load_timeout=1)
    own, hangs, next_one = (ModelChoice(model=model) for model in ("own", "hangs", "next"))
    loading.gates["hangs"] = threading.Event()
    with loading.switch.opened(own):
        with pytest.raises(NanofleetError, match=r"hangs was not loaded within 1 s"):
            loading.switch.change_to(hangs, compare=False)
        assert loading.switch.serving.is_of(own)
        loading.switch.change_to(next_one, compare=False)
        loading.gates["hangs"].set()
        for thread in threading.enumerate():
            if thread.name == "load":
                thread.join(60)
        assert loading.switch.serving.is_of(next_one)
        assert len(loading.switch._open) == 1


def test_one_that_serves_alone_cannot_be_compared() -> None:
    loading = Loading()
    with loading.switch.opened(ModelChoice(model="own")):
        with pytest.raises(NanofleetError, match="nothing to compare it with"):
            loading.switch.change_to(ModelChoice(model="own"), compare=True)
        loading.switch.change_to(ModelChoice(model="other"), compare=True)
        loading.switch.change_to(ModelChoice(model="other"), compare=True)
        loading.switch.change_to(ModelChoice(model="own"), compare=False)
    assert loading.loaded == ["own", "other"]


@pytest.mark.parametrize("error", [NanofleetError("no such file"), RuntimeError("out of memory")])
def test_at_the_start_whatever_keeps_a_model_from_loading_leaves_the_next(error: Exception) -> None:
    loading = Loading()
    loading.errors["commanded"] = error
    commanded, own = ModelChoice(model="commanded"), ModelChoice(model="own")
    with loading.switch.opened(commanded, own):
        assert loading.switch.serving.is_of(own)
        loading.switch.replace(commanded, own)
        assert loading.switch.serving.is_of(own)
    with pytest.raises(type(error)), loading.switch.opened(commanded):
        pass
