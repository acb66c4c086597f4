"""What `python -m bench cuda` times does what it is called."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Dict

import numpy as np
import pytest
import torch

from bench import labels
from bench.cuda_steps import of_batch, of_decoding
from bench.drive import Order
from bench.front_ends import PUBLISHER, crowded
from bench.report import markdown, tables
from bench.tiny import write_tiny
from bench.weights import Weights, find_weights
from tests.harness import MODEL

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
            **common,
            "size": "480p",
            "step": "on the card",
            "frames_per_second": 1200.0,
            "gpu_utilisation": 0.2,
        },
    ]
    text = "\n".join(markdown(table) for table in tables({"rows": rows}))
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]
    assert ["forward", "1.000 (1,000)", "1.000 (8,000)"] in lines
    assert ["nvJPEG", "5,000"] in lines
    assert ["on the card", "1,200 (20%)"] in lines


def test_several_publishers_have_all_their_frames_answered_by_front_ends(tmp_path: Path) -> None:
    _, path, *flags = write_tiny(tmp_path)
    with crowded(Weights(path, tmp_path, ""), 2, flags) as crowd:
        row = crowd.row(Order(61))
    assert (row["frames"], row["publishers"]) == (62, 2)  # as many from each
    assert 0 < row["publishers_busy"] < 1.5
    assert row["batch"] >= 1
    spent = row["cpu_ms_per_frame_of"]
    assert {"fleet", "engine process", "worker.decode.process", PUBLISHER} <= set(spent)


def test_front_ends_have_the_labels_of_float32(weights_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "PARTS", 24)
    found = labels.agreement(Weights(MODEL, weights_dir, ""), 2, "cpu", "--engine", "torch")
    assert found["pictures"] == 24
    assert found["same_labels"] >= 23
    assert found["same_clear"] == found["clear"] > 12


def test_the_table_of_workers_names_what_is_busy() -> None:
    common = {"experiment": "cuda", "device": "card", "model": "m", "worker": "worker, 2 front ends"}
    spent = {"fleet": 1.25, "engine process": 0.5, "worker.decode.process": 4.0, PUBLISHER: 0.5}
    row = {
        **{**common, "size": "480p", "frames_per_second": 2000.0, "gpu_utilisation": 0.4, "gpu_bytes": 1.5e9},
        **{"cpu_ms_per_frame_of": spent, "publishers": 2, "publishers_busy": 0.97},
    }
    agrees = {"same_labels": 199, "pictures": 200, "same_clear": 150, "clear": 150}
    rows = [row, {**common, "size": "1080p", "error": "out of memory"}]
    rows.append({"experiment": "cuda", "device": "card", "model": "m", "step": "labels", **agrees})
    text = "\n".join(markdown(table) for table in tables({"rows": rows}))
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]
    figures = ["480p", "2,000", "40%", "1,500", "1.25", "0.50", "4.00", "2, 97%"]
    assert ["worker, 2 front ends, m", *figures] in lines
    assert ["m, 2 front ends", "199 of 200", "150 of 150"] in lines


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
def test_without_a_device_the_bench_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "cuda", "--models", SMALL, "--out", str(tmp_path / "r.json")]
    env = {"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (1, "cuda: PyTorch finds no CUDA device here")
