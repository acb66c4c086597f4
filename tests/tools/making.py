"""What the makers of ONNX files share: pictures, a head fitted in one step, notes of what is right."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

import numpy as np
from pictures import pixels

FILES = Path(__file__).with_name("files")
NAMES = ["red", "green", "blue"]
SIDE = 32
POOL = 240
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])

#: What the wrong pixels would be: functions of uint8 [N, H, W, 3], RGB.
PREPARED: Dict[str, Callable[[Any], Any]] = {
    "imagenet": lambda x: (x / 255 - MEAN) / STD,
    "unit": lambda x: x / 255,
    "symmetric": lambda x: x / 127.5 - 1,
    "bytes": lambda x: x * 1.0,
    "bgr imagenet": lambda x: (x[..., ::-1] / 255 - MEAN) / STD,
    "bgr unit": lambda x: x[..., ::-1] / 255,
    "bgr symmetric": lambda x: x[..., ::-1] / 127.5 - 1,
    "bgr bytes": lambda x: x[..., ::-1] * 1.0,
}


def pool(size: int = SIDE) -> Any:
    """uint8 [POOL, size, size, 3]."""
    return np.stack([pixels(seed, (size, size)) for seed in range(POOL)])


def targets(pictures: Any) -> Any:
    """Which colour each has most of."""
    return pictures.mean((1, 2)).argmax(1)


def head(features: Any, classes: Any, count: int = 3) -> Any:
    """Weights [features, classes] and bias of a layer that finds the classes by the features."""
    wanted = 8.0 * np.eye(count)[classes]
    centre = features.mean(0)
    centred = features - centre
    spread = np.trace(centred.T @ centred) / len(centred.T)
    weights = np.linalg.solve(
        centred.T @ centred + 1e-3 * spread * np.eye(len(centred.T)), centred.T @ wanted
    )
    return weights.astype(np.float32), (wanted.mean(0) - centre @ weights).astype(np.float32)


def decisive(answers: Dict[str, Any], right: str, apart: Sequence[str] = ()) -> List[int]:
    """Pictures of which the right pixels' label is sure, and another with each kind of wrong ones.

    Args:
        answers: float [POOL, classes], by a name of PREPARED.
        right: which of them is right.
        apart: those that need not differ.
    """
    labels = {name: found.argmax(1) for name, found in answers.items()}
    sure = np.sort(answers[right], 1)
    margin = sure[:, -1] - sure[:, -2]
    left = {name for name in answers if name != right and name not in apart}
    chosen: List[int] = []
    while left and len(chosen) < 5:
        changed = {
            seed: {name for name in left if labels[name][seed] != labels[right][seed]} for seed in range(POOL)
        }
        best = max(
            range(POOL), key=lambda seed: (len(changed[seed]) if margin[seed] > 0.4 else -1, margin[seed])
        )
        if not changed[best]:
            break
        chosen.append(best)
        left -= changed[best]
    if left:
        raise SystemExit(f"no picture is answered otherwise by {sorted(left)} than by {right}")
    others = [seed for seed in range(POOL) if labels[right][seed] not in labels[right][chosen]]
    return [*chosen, *sorted(others, key=lambda seed: -margin[seed])[:1]]


def without_places(path: Path) -> None:
    """Remove the paths that tools leave in names and notes: they belong to one machine."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    model.doc_string = model.graph.doc_string = ""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    model.graph.name = "graph"
    kept = [each for each in model.metadata_props if "/tmp" not in each.value]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    path.write_bytes(model.SerializeToString())


def entry(
    file: str,
    tools: Sequence[str],
    seeds: Sequence[int],
    probabilities: Any,
    *,
    args: Sequence[str] = (),
    labels: Optional[Sequence[str]] = NAMES,
    size: Sequence[int] = (SIDE, SIDE),
    assumes: Sequence[str] = (),
    tolerance: float = 0.01,
    multi_label: bool = False,
) -> None:
    """Note what is right of a file, and take out of it where it was made."""
    without_places(FILES / file)
    path = FILES / "expected.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    known[file] = {
        "tools": {tool: version(tool) for tool in tools},
        "args": list(args),
        "labels": labels and list(labels),
        "size": list(size),
        "assumes": list(assumes),
        "tolerance": tolerance,
        "multi_label": multi_label,
        "pictures": [
            {"seed": int(seed), "probabilities": [round(float(value), 4) for value in row]}
            for seed, row in zip(seeds, probabilities)
        ],
    }
    path.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")
    print(f"{file}: {(FILES / file).stat().st_size} bytes, pictures {list(seeds)}")
