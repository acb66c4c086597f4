"""What a run's figures hold for: the machine, its processor, the versions, the settings and the weights."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Any, Dict, List, Sequence

from bench.settings import BenchSettings
from bench.weights import find_weights

#: The version of a package that is not there.
NOT_INSTALLED = "not installed"
_PACKAGES = (
    "torch",
    "torchvision",
    "onnxruntime",
    "openvino",
    "numpy",
    "pillow",
    "paho-mqtt",
    "litserve",
    "mosec",
    "ray",
)
#: Instruction sets that decide how fast a network runs, by the kernel's names of what they need.
_INSTRUCTION_SETS = {
    "AVX2": ("avx2",),
    "AVX-512": ("avx512f",),
    "VNNI": ("avx512_vnni", "avx_vnni"),
    "AVX-512-BF16": ("avx512_bf16",),
    "AVX-512-FP16": ("avx512_fp16",),
    "AMX": ("amx_tile",),
    "AMX-FP16": ("amx_fp16",),
    "NEON": ("neon", "asimd"),
}


def about(settings: BenchSettings) -> Dict[str, Any]:
    """The machine, the versions, the settings, and whose weights are run."""
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return {
        "machine": platform.machine(),
        "processor": processor(cpuinfo),
        "instruction_sets": instruction_sets(cpuinfo),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "weights": {name: find_weights(name).origin for name in settings.models},
        "settings": settings.model_dump(mode="json"),
    }


def processor(cpuinfo: str) -> str:
    """The processor's name in a /proc/cpuinfo; those of ARM's have none there."""
    return next(iter(_values(cpuinfo, "model name")), platform.processor() or platform.machine())


def instruction_sets(cpuinfo: str) -> List[str]:
    """Which of the instruction sets that matter a /proc/cpuinfo lists."""
    flags = set(" ".join(_values(cpuinfo, "flags") + _values(cpuinfo, "Features")).split())
    return [name for name, any_of in _INSTRUCTION_SETS.items() if flags.intersection(any_of)]


def _values(cpuinfo: str, key: str) -> List[str]:
    lines = [line.partition(":") for line in cpuinfo.splitlines()]
    return [value.strip() for name, _, value in lines if name.strip() == key]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return NOT_INSTALLED


def renewed(former: Dict[str, Any], now: Dict[str, Any], experiments: Sequence[str]) -> Dict[str, Any]:
    """Results to begin with: those of a former run on the same machine, of other experiments."""
    before = former["about"]
    known = before.get("weights", {})
    weights = {**known, **now["weights"]}
    same = all(before.get(key) == now[key] for key in now if key not in ("settings", "weights"))
    same = same and {**weights, **known} == weights  # no model that both runs had has other ones
    if former["rows"] and not same:
        print("former results are of another machine, or of other versions: they go", file=sys.stderr)
    kept = [row for row in former["rows"] if same and row["experiment"] not in experiments]
    # Settings that failed are tried again by what needs them.
    kept = [row for row in kept if row["experiment"] != "sweep" or "error" not in row]
    return {"about": {**now, "weights": weights if same else now["weights"]}, "rows": kept}
