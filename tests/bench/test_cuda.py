"""What `python -m bench cuda` times does what it is called."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

import numpy as np
import pytest
import torch

from bench.cuda_steps import of_batch, of_decoding
from bench.report import markdown, tables
from bench.weights import find_weights

ROOT = Path(__file__).resolve().parents[2]
SMALL = "shufflenet_v2_x0_5"
#: Those that are no device's own.
ANYWHERE = ("images", "forward, float32", "forward, half", "forward, norms folded", "probabilities", "top")


@pytest.fixture
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TORCH_HOME", raising=False)


@pytest.mark.usefixtures("_cache")
def test_each_step_of_a_batch_does_what_it_is_called() -> None:
    done: Dict[str, Any] = {}
    for step in of_batch(find_weights(SMALL), 3, "cpu"):
        if step.name.startswith(ANYWHERE) and "graph" not in step.name:
            assert step.images == 3
            with step.prepared() as call:
                done[step.name] = call()
    assert done["images into a batch"].shape == (3, 224, 224, 3)
    exact = done["forward, float32"]
    assert exact.sum(1).tolist() == pytest.approx([1] * 3)
    for name in ("forward, half", "forward, norms folded"):
        np.testing.assert_allclose(done[name], exact, atol=0.02)
    answers = done["probabilities to the host"]
    assert answers.shape == (3, 1000)
    there = done["top 5 there, to the host"]
    here = [[*(value for _, value in row), *(index for index, _ in row)] for row in done["top 5 on the host"]]
    np.testing.assert_allclose(there, here, rtol=1e-5)


def test_decoding_in_processes_decodes_every_frame() -> None:
    steps = {step.name.partition(",")[0]: step for step in of_decoding("480p") if "nvJPEG" not in step.name}
    assert set(steps) == {"Pillow", "decoder processes"}
    for step in steps.values():
        with step.prepared() as call:
            call()


def test_the_tables_have_a_line_a_step() -> None:
    common = {"experiment": "cuda", "device": "card"}
    rows = [
        {**common, "model": "m", "images": batch, "step": "forward", "frames_per_second": 1000.0 * batch}
        for batch in (1, 8)
    ]
    rows += [
        {**common, "size": "480p", "step": "nvJPEG", "frames_per_second": 5000.0},
        {**common, "size": "1080p", "step": "nvJPEG", "error": "no such chip"},
        {
            **{**common, "size": "480p", "step": "worker", "model": "m", "batch": 3.0},
            **{"frames_per_second": 1200.0, "gpu_utilisation": 0.2},
        },
    ]
    text = "\n".join(markdown(table) for table in tables({"rows": rows}))
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]
    assert ["forward", "1.000 (1,000)", "1.000 (8,000)"] in lines
    assert ["nvJPEG", "5,000"] in lines
    assert ["worker, m", "1,200 (20%)"] in lines


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_without_a_device_the_bench_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "cuda", "--models", SMALL, "--out", str(tmp_path / "r.json")]
    env = {"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (1, "cuda: PyTorch finds no CUDA device here")
