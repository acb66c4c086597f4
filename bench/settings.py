"""Settings of `python -m bench`."""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional

from pydantic import Field, field_validator, model_validator
from typing_extensions import Literal

from bench.photos import SIZES
from bench.ways import WAYS
from wire.settings import POSITIONAL, Names, Settings

Experiment = Literal[
    "sweep",
    "throughput",
    "latency",
    "growth",
    "transport",
    "fairness",
    "unequal",
    "observer",
    "compare",
    "engines",
    "cuda",
    "memory",
    "soak",
    "report",
]


_NAMES = [way.name for way in WAYS]


class BenchSettings(Settings):
    """Measure nanofleet beside its limits and its peers, on this machine, in one run.

    python -m bench                          all but compare, engines, cuda, memory and soak: about an hour
    python -m bench --quick                  the same, coarsely: about 12 minutes
    python -m bench throughput --ways nano,mosec --sizes 480p --models mobilenet_v2
    python -m bench compare --against ../old   this checkout beside another: about 2 minutes a model and size
    python -m bench engines                  images a second by batch size, of each engine that is installed
    python -m bench cuda                     workers on a CUDA device, and each step alone: about 8 minutes
    python -m bench memory                   what a worker takes on disk and of memory: about 2 minutes
    python -m bench soak --minutes 10        whether memory stays flat
    python -m bench report --plots docs      the last run's tables again, and its plots

    sweep       the best setting of each peer that is given our engine: 16 settings, 8 seconds each and model
    throughput  frames/s, CPU and memory of each way in its best setting: 8 seconds a way, model and round
    latency     p50, p95, p99 at 20 to 150 frames/s, and at 20%, 50% and 90% of what each way can do
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
        description="Experiments (default: all but compare, engines, cuda, memory and soak)",
        json_schema_extra=POSITIONAL,
    )
    quick: bool = Field(False, description="Fewer rounds and frames: to see that all runs, not to quote")
    rounds: int = Field(5, ge=1, description="Rounds, each with every way once")
    seconds: float = Field(2.0, gt=0, description="Seconds that a measurement is to take, about")
    models: Names = Field(
        ["mobilenet_v2", "resnet18"],
        description="torchvision's names, or efficientnet_lite0; others than the first at one size",
    )
    sizes: Names = Field(["480p", "1080p"], description="Of the photos: 480p, 720p, 1080p")
    ways: Names = Field([], description="Only ways of these names, or whose names hold these (default: all)")
    steps: Names = Field([], description="Only steps of cuda whose name holds one of these (default: all)")
    against: Optional[Path] = Field(None, description="A checkout that compare holds this one against")
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
        unknown = [part for part in ways if not any(part in name for name in _NAMES)]
        if unknown:
            raise ValueError(f"no way's name holds {', '.join(unknown)}; there are {', '.join(_NAMES)}")
        return ways

    @model_validator(mode="after")
    def _compare_has_another(self) -> BenchSettings:
        if ("compare" in self.what) != (self.against is not None):
            raise ValueError("compare and --against belong together: compare --against PATH_OF_A_CHECKOUT")
        return self

    @property
    def few_rounds(self) -> int:
        """Rounds of what takes long, or is held against nobody."""
        return max(1, self.rounds // 2)

    @property
    def experiments(self) -> List[Experiment]:
        """What to do, in this order."""
        return self.what or [
            "sweep",
            "throughput",
            "latency",
            "growth",
            "transport",
            "fairness",
            "unequal",
            "observer",
        ]

    def sizes_of(self, model: str) -> List[str]:
        """The sizes that a model is measured at."""
        return self.sizes if model == self.models[0] else self.sizes[:1]

    def chosen(self, name: str) -> bool:
        """Whether a way is to be measured. A whole name means that way alone."""
        whole = {part for part in self.ways if part in _NAMES}
        return not self.ways or name in whole or any(part in name for part in self.ways if part not in whole)

    def chosen_step(self, name: str) -> bool:
        """Whether a step of `bench.cuda` is to be measured."""
        return not self.steps or any(part in name for part in self.steps)
