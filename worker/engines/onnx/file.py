"""ONNX files as they come from any tool: what they want and what they give is found out, not asked.

files        FILE.onnx and the files that its weights lie in
described    one of `nanofleet models export` (describe), which says itself all that else is found out
input        [N, 3, H, W], [N, H, W, 3], gray, of floats or bytes
recipe       what the pixels are: by flags, metadata, first operators, or an assumption that is said
file_engine  runs it: which output (scores), and what makes probabilities of it
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Tuple

from labels import IMAGENET_1K, read_labels
from wire.errors import NanofleetError, SettingsError
from wire.model_choice import ModelChoice
from worker.engines.base import Engine, Pick, TwoClasses
from worker.engines.onnx.described import Description, description_of
from worker.engines.onnx.file_engine import OnnxFileEngine
from worker.engines.onnx.files import Loaded, load_onnx
from worker.engines.onnx.graph.nodes import Graph
from worker.engines.onnx.input import input_of
from worker.engines.onnx.metadata import fitting_names, stated_in
from worker.engines.onnx.recipe import recipe_of
from worker.engines.sessions import open_session, together
from worker.models.info import Model
from worker.models.overrides import IMAGENET_NAMES

log = logging.getLogger(__name__)


def open_onnx(choice: ModelChoice, pick: Pick, max_batch: int, weights_dir: Path) -> Tuple[Model, Engine]:
    """Open a FILE.onnx.

    Args:
        choice: its `model` is the file; its labels are the caller's business.
        pick: the device, and why.
        max_batch: frames in a batch, at most.
        weights_dir: where TensorRT keeps the engines that it builds.

    Raises:
        SettingsError: it is no classifier of images, or damaged.
    """
    path = Path(choice.model)
    proto, content, sha256 = load_onnx(path, choice.sha256)
    session = open_session(path, pick, weights_dir, content, together(pick, max_batch))
    del content
    return _understood(path, proto, sha256, session, choice, pick, max_batch)


def read_back(path: Path, loaded: Loaded, weights_dir: Path) -> None:
    """See that a file which is still to be written will be served.

    Raises:
        SettingsError: it will not.
    """
    pick = Pick("onnxruntime", "cpu", "read back")
    session = open_session(path, pick, weights_dir, loaded.content)
    _understood(path, loaded.proto, loaded.sha256, session, ModelChoice(model=str(path)), pick, 2)


def _understood(
    path: Path, proto: Any, sha256: str, session: Any, choice: ModelChoice, pick: Pick, max_batch: int
) -> Tuple[Model, Engine]:
    try:
        graph = Graph(proto)
        says = description_of(path, graph.metadata)
        if says is not None:
            return _described(path, sha256, graph, session, choice, pick, max_batch, says)
        return _found_out(path, sha256, graph, session, choice, pick, max_batch)
    except NanofleetError:
        raise
    except Exception as error:  # files are written by anyone: nothing in one may end a worker by a traceback
        raise SettingsError(f"{path} is no classifier that can be understood: {error!r}") from error


def _described(
    path: Path,
    sha256: str,
    graph: Graph,
    session: Any,
    choice: ModelChoice,
    pick: Pick,
    max_batch: int,
    says: Description,
) -> Tuple[Model, Engine]:
    """Open a file by what it says of itself: nothing is assumed."""
    wanted = input_of(path, session, graph)
    recipe, notes = says.recipe(path, wanted, choice)
    file = OnnxFileEngine(path, session, wanted, recipe, pick, max_batch)
    settled = file.settle(graph, len(says.classes), says.to_do(path, choice))
    says.check_graph(path, file.values, file.outputs)
    log.info("%s: %s@%s, %s", path, says.name, says.weights, says.origin)
    model = says.model(sha256, recipe, (*notes, *settled))
    if file.how != "none":  # --activation, of a file that leaves it open
        model = model.model_copy(update={"activation": file.how, "multi_label": file.multi_label})
    return model, (TwoClasses(file) if len(says.classes) > file.outputs else file)


def _found_out(
    path: Path, sha256: str, graph: Graph, session: Any, choice: ModelChoice, pick: Pick, max_batch: int
) -> Tuple[Model, Engine]:
    stated = stated_in(path, graph.metadata)
    wanted = input_of(path, session, graph)
    recipe, assumed = recipe_of(path, wanted, graph, stated, choice)
    known = len(read_labels(choice.labels)) if choice.labels else len(stated.names) or None
    file = OnnxFileEngine(path, session, wanted, recipe, pick, max_batch)
    settled = file.settle(graph, known, choice.activation)
    names, notes = fitting_names(stated.names or file.keys, file.outputs)
    imagenet = not names and file.outputs == 1000
    numbers = tuple(map(str, range(file.outputs)))
    model = Model(
        name=path.stem,
        weights=path.name,
        sha256=sha256,
        classes=names or (read_labels(IMAGENET_1K) if imagenet else numbers),
        named=bool(names) or imagenet,
        own_names=names,
        preprocessing=recipe,
        activation="softmax" if file.how == "softmax" else "sigmoid" if file.how == "sigmoid" else "none",
        multi_label=file.multi_label,
        assumed=(*assumed, *settled, *notes, *([IMAGENET_NAMES] if imagenet else [])),
    )
    return model, (TwoClasses(file) if len(names) > file.outputs else file)
