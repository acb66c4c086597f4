"""Settings of `python -m bench`."""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional

from pydantic import Field, field_validator
from typing_extensions import Literal

from bench.photos import SIZES
from bench.ways import WAYS
from wire.settings import POSITIONAL, Names, Settings

Experiment = Literal[
    "throughput",
    "latency",
    "growth",
    "transport",
    "fairness",
    "unequal",
    "observer",
    "engines",
    "cuda",
    "memory",
    "soak",
    "report",
]


class BenchSettings(Settings):
    """Measure nanofleet beside its limits and its peers, on this machine, in one run.

    python -m bench                          all but engines, cuda, memory and soak: about 35 minutes
    python -m bench --quick                  the same, coarsely: about 6 minutes
    python -m bench throughput --ways nano,limit --sizes 480p --models mobilenet_v2
    python -m bench engines                  images a second by batch size, of each engine that is installed
    python -m bench cuda                     workers on a CUDA device, and each step alone: about 8 minutes
    python -m bench memory                   what a worker takes on disk and of memory: about 2 minutes
    python -m bench soak --minutes 10        whether memory stays flat
    python -m bench report --plots docs      the last run's tables again, and its plots

    throughput  frames/s, CPU and memory of each way, round by round in shuffled order
    latency     p50, p95, p99 at 20%, 50% and 90% of what each way can do
    growth      frames/s and memory as cameras, payload, workers, window or batch grow
    transport   an engine that costs nothing, beside clients that only read the frames
    fairness    four cameras' latencies while another floods
    unequal     two workers, one four times slower: frames/s delivered in turn, and stepping aside
    observer    a worker that keeps the cameras' states beside one that does not: frames/s and CPU

    One way runs at a time, with all its processes, its broker and its load generator on the same cores.
    What an experiment measured replaces what it measured before; the other experiments' results stay.
    """

    what: List[Experiment] = Field(
        [],
        description="Experiments (default: all but engines, cuda, memory and soak)",
        json_schema_extra=POSITIONAL,
    )
    quick: bool = Field(False, description="Fewer rounds and frames: to see that all runs, not to quote")
    rounds: int = Field(3, ge=1, description="Rounds, each with every way once")
    seconds: float = Field(2.0, gt=0, description="Seconds that a measurement is to take, about")
    models: Names = Field(
        ["mobilenet_v2", "resnet18"],
        description="torchvision's names; those after the first are measured at the first size only",
    )
    sizes: Names = Field(list(SIZES), description="Of the photos")
    ways: Names = Field([], description="Only ways whose name holds one of these (default: all)")
    steps: Names = Field([], description="Only steps of cuda whose name holds one of these (default: all)")
    cores: int = Field(0, ge=0, description="Cores to use; 0 for all")
    minutes: float = Field(10.0, gt=0, description="Length of the soak")
    seed: int = Field(0, description="Of the order of ways and of arrivals")
    out: Path = Field(
        Path(__file__).with_name("results.json"), description="Where all numbers go, raw ones included"
    )
    plots: Optional[Path] = Field(
        None, description="Folder for plots as PNG; a benchmarks.md in it gets new tables"
    )

    @field_validator("sizes")
    @classmethod
    def _sizes_are_known(cls, sizes: List[str]) -> List[str]:
        unknown = [size for size in sizes if size not in SIZES]
        if unknown or not sizes:
            raise ValueError(f"known are {', '.join(SIZES)}, not {', '.join(unknown) or 'nothing'}")
        return sizes

    @field_validator("models")
    @classmethod
    def _models_are_named(cls, models: List[str]) -> List[str]:
        if not models:
            raise ValueError("name at least one")
        return models

    @field_validator("out")
    @classmethod
    def _out_has_a_folder(cls, out: Path) -> Path:
        if not out.parent.is_dir():
            raise ValueError(f"there is no folder {out.parent}")
        return out

    @field_validator("ways")
    @classmethod
    def _ways_are_known(cls, ways: List[str]) -> List[str]:
        unknown = [part for part in ways if not any(part in way.name for way in WAYS)]
        if unknown:
            names = ", ".join(way.name for way in WAYS)
            raise ValueError(f"no way's name holds {', '.join(unknown)}; there are {names}")
        return ways

    @property
    def experiments(self) -> List[Experiment]:
        """What to do, in this order."""
        return self.what or [
            "throughput",
            "latency",
            "growth",
            "transport",
            "fairness",
            "unequal",
            "observer",
        ]

    def chosen(self, name: str) -> bool:
        """Whether a way is to be measured."""
        return not self.ways or any(part in name for part in self.ways)

    def chosen_step(self, name: str) -> bool:
        """Whether a step of `bench.cuda` is to be measured."""
        return not self.steps or any(part in name for part in self.steps)
