"""The names of a checkpoint's tensors, as an architecture has them: without what tools have put into them.

module.backbone.features.0.weight ── wrappers ──> backbone.features.0.weight ── prefix ──> features.0.weight
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Dict, Iterable, List, Tuple

import torch

from worker.models.checkpoint.tensors import Lazy
from worker.models.checkpoint.things import items

# Parts that wrappers put into names, wherever they are wrapped around: DataParallel, torch.compile, FSDP.
_WRAPPERS = frozenset(("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"))
# DenseNet's checkpoints are older than the rule that a module's name has no dot: norm.1 is norm1 now.
_DENSE_LAYER = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)")


class Architecture:
    """The names and shapes that an architecture's state dict has.

    Args:
        name: canonical.
        template: built with any number of classes.
    """

    def __init__(self, name: str, template: torch.nn.Module) -> None:
        self.name = name
        self.expected = dict(template.state_dict())
        #: The last layer: `fc`, `classifier.6`.
        self.head = list(self.expected)[-1].rpartition(".")[0]
        self.body = [key for key in self.expected if not key.startswith(f"{self.head}.")]
        self.roots = {key.partition(".")[0] for key in self.expected}


def plain_names(tensors: Dict[str, Lazy]) -> Tuple[Dict[str, Lazy], List[str]]:
    """The tensors by names without wrappers, and the names that several would have then."""
    names: Dict[str, Lazy] = {}
    twice = []
    for name, tensor in tensors.items():
        plain = _plain_name(name)
        if plain in names:
            twice.append(plain)
        names[plain] = tensor
    return names, twice


def _plain_name(name: str) -> str:
    plain = ".".join(part for part in name.split(".") if part not in _WRAPPERS)
    dense_layer = _DENSE_LAYER.fullmatch(plain)
    return "".join(dense_layer.groups()) if dense_layer else plain


def prefixes_of(names: Iterable[str], architecture: Architecture) -> List[str]:
    """The prefixes under which at least half of an architecture's body is there, the shortest first."""
    there = set(names)
    wanted: Counter[str] = Counter()
    for anchor in architecture.body[:3]:
        wanted.update(name[: -len(anchor)] for name in there if name == anchor or name.endswith(f".{anchor}"))
    body = architecture.body
    enough = [
        prefix for prefix in wanted if 2 * sum(f"{prefix}{name}" in there for name in body) >= len(body)
    ]
    return sorted(enough, key=lambda prefix: (prefix.count("."), prefix)) or [""]


def version_of(versions: object, prefix: str) -> int:
    """The version of a module's format; what keeps none, as a .safetensors, is newer than MNASNet's."""
    kept = {name: entry for name, entry in items(versions).items() if isinstance(name, str)}
    # The longest, because a wrapper has a version of its own: "" is DataParallel, "module" what it wraps.
    for name in sorted(kept, key=len, reverse=True):
        if _plain_name(name) == prefix.rstrip("."):
            version = items(kept[name]).get("version")
            return version if isinstance(version, int) else 2
    return 2
