"""Batch norms folded into the convolutions before them: the same answers from half of the layers."""

from __future__ import annotations

import copy
from collections import Counter

import torch
from torch.fx import Node, Tracer
from torch.nn.utils.fusion import fuse_conv_bn_eval


class _Tracer(Tracer):
    """Follows a module down to its convolutions, those of classes of their own as well."""

    def is_leaf_module(self, m: torch.nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, torch.nn.Conv2d) or super().is_leaf_module(m, module_qualified_name)


def folded(module: torch.nn.Module) -> torch.nn.Module:
    """A copy whose convolutions do their batch norms' work, where torch.fx can follow the module."""
    module = copy.deepcopy(module).eval()
    try:
        graph = _Tracer().trace(module)
    # Tracing fails in as many ways as modules can be written: such a one runs as it is.
    except Exception:  # noqa: BLE001
        return module
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    for node in graph.nodes:
        before = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(before, Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        first, second = str(before.target), str(node.target)
        convolution, norm = module.get_submodule(first), module.get_submodule(second)
        if (
            isinstance(convolution, torch.nn.Conv2d)
            and isinstance(norm, torch.nn.BatchNorm2d)
            and norm.running_var is not None
            and calls[first] == calls[second] == 1
        ):
            _put(module, first, fuse_conv_bn_eval(convolution, norm))
            _put(module, second, torch.nn.Identity())
    return module


def _put(module: torch.nn.Module, name: str, part: torch.nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, part)
