"""`nanofleet models list | show | download`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import List

import pytest

from tests.harness import nanofleet
from tests.ports import free_port
from tests.worker.seeded import seed_weights


def lines(*arguments: str) -> List[str]:
    run = nanofleet("models", *arguments)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def test_list_has_a_line_for_each_model() -> None:
    shown = lines("list")
    (resnet,) = [line for line in shown if line.startswith("resnet50 ")]
    assert resnet.split()[:3] == ["resnet50", "IMAGENET1K_V2", "80.9"]
    listed = [json.loads(line) for line in lines("list", "--json")]
    assert len(listed) >= 81
    assert all(any(line.startswith(f"{model['name']} ") for line in shown) for model in listed)
    lite0 = next(model for model in listed if model["name"] == "efficientnet_lite0")
    assert lite0["url"].startswith("file:///")


def test_show_names_all_weights_and_where_they_are(tmp_path: Path) -> None:
    nowhere = tmp_path / ("x" * 300)  # no file system has such a name: asking for it is an error
    shown = "\n".join(lines("show", "vit_b_16", "--weights-dir", str(nowhere)))
    assert "vit_b_16@IMAGENET1K_SWAG_E2E_V1" in shown
    assert "license  https://github.com/facebookresearch/SWAG" in shown
    assert f"not yet  {nowhere}" in shown
    path = seed_weights(tmp_path, "squeezenet1_1")
    assert f"kept at  {path}" in "\n".join(lines("show", "squeezenet1_1", "--weights-dir", str(tmp_path)))
    (found,) = [
        json.loads(line) for line in lines("show", "squeezenet1_1", "--json", "--weights-dir", str(tmp_path))
    ]
    assert (found["present"], found["path"], found["preprocessing"]["crop"]) == (True, str(path), 224)


def test_download_names_each_that_fails_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network, whatever this machine has."""
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setitem(os.environ, variable, f"http://127.0.0.1:{free_port()}")
    path = seed_weights(tmp_path, "squeezenet1_1")
    run = nanofleet(
        "models",
        "download",
        "resnet18",
        "squeezenet1_1",
        "efficientnet_lite0",
        "--weights-dir",
        str(tmp_path),
    )
    assert run.returncode == 1
    assert f"squeezenet1_1: {path}" in run.stdout
    assert "efficientnet_lite0: /" in run.stdout
    assert "fetch    https://download.pytorch.org/models/resnet18-f37072fd.pth" in run.stderr
    assert f"put it   {tmp_path / 'resnet18-f37072fd.pth'}" in run.stderr
    assert "Traceback" not in run.stderr


def test_errors_and_help() -> None:
    for arguments, says in (
        (["models", "lsit"], "did you mean 'models list'"),
        (["models", "show", "resnet81"], "did you mean resnet18"),
        (["models", "download", "resnet50@V9"], "there are IMAGENET1K_V2, IMAGENET1K_V1"),
    ):
        run = nanofleet(*arguments)
        assert run.returncode == 2
        assert says in run.stderr
    bare, helped = nanofleet("models"), nanofleet("models", "--help")
    assert (bare.returncode, helped.returncode) == (2, 0)
    assert "models reset" in bare.stdout
    assert helped.stdout == bare.stdout
    assert "--canary" in nanofleet("models", "use", "--help").stdout
