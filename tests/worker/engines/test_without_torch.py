"""What a user without PyTorch is told: a command for the shell, with the flags in use; or the right name."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Optional

import pytest

from fleet.models.settings import ExportSettings
from wire.model_choice import ModelChoice
from worker.engines.without_torch import NeedsTorch, export_command, meant_by


def test_the_command_takes_what_was_given_through_a_shell() -> None:
    choice = ModelChoice(
        model="resnet18@my birds/$(weights).pth",
        labels=Path("its names.txt"),
        resize=72,
        mean=(0.4, 0.5, 0.6),
        channels="bgr",
        state_key="model_ema",
        threshold=0.0,
    )
    command = export_command(choice)
    assert command.startswith("nanofleet models export 'resnet18@my birds/$(weights).pth' FILE.onnx --")
    words = shlex.split(command)
    settings = ExportSettings.from_command_line("nanofleet models export", words[3:])
    assert settings.choice == choice
    assert command in str(NeedsTorch(choice, "so it is"))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("mobilenetv2", "mobilenet_v2"),
        ("EfficientNet-Lite0", "efficientnet_lite0"),
        ("squeezenet11", "squeezenet1_1"),
        ("mobilenet", None),
        ("MobileNet_V2", None),
        ("resnet34", None),
    ],
)
def test_a_misspelt_name_is_not_to_be_exported_elsewhere(name: str, meant: Optional[str]) -> None:
    assert meant_by(name, ["squeezenet1_1", "resnet18"]) == meant
