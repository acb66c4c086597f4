"""Which of a checkpoint's tensors are taken: the right ones, or none and a sentence that says why."""

from __future__ import annotations

import collections
import copy
import datetime
import enum
import pickle
from pathlib import Path
from typing import Any, Callable, Dict, Tuple

import pytest
import torch
import torchvision.models as zoo

from tests.worker.models.checkpoints import State, assert_same, load, prefixed, saved
from wire.errors import SettingsError
from wire.model_choice import ModelChoice
from worker.models.loader import load_model


class Colour(enum.Enum):
    RED = 1


class Own:
    def __init__(self) -> None:
        self.path = Path("x")
        self.call = len


BESIDE: Dict[str, Any] = {
    "float": 0.5,
    "datetime": datetime.datetime(2024, 1, 1),
    "enum": Colour.RED,
    "object": Own(),
    "class": Own,
    "function": len,
    "deque": collections.deque([1]),
    "counter": collections.Counter("abc"),
    "complex": 1j,
    "bytes": b"\x00",
    "device": torch.device("cpu"),
    "dtype": torch.float16,
    "size": torch.Size([1, 2]),
    "generator state": torch.get_rng_state(),
    "slice": slice(1, 2),
}


@pytest.mark.parametrize("kind", BESIDE)
def test_python_values_beside_the_tensors(kind: str, state: State, tmp_path: Path) -> None:
    path = saved(tmp_path, {"model": state, "beside": BESIDE[kind]})
    assert_same(load(path)[1], state)


WRAPPED: Dict[str, Callable[[State], Any]] = {
    "any key": lambda state: {"whatever": {"inner": state}},
    "a tuple": lambda state: (3, state),
    "any prefix": lambda state: prefixed(state, "my.own.net."),
    "a wrapper in the middle": lambda state: {
        name.replace("stage2.", "stage2.module."): value for name, value in state.items()
    },
    "FSDP": lambda state: prefixed(state, "_fsdp_wrapped_module.module."),
    "a loss": lambda state: {**prefixed(state, "model."), "loss_fn.weight": torch.ones(3)},
    "thop": lambda state: {**state, "total_ops": torch.zeros(1), "stage2.0.total_params": torch.zeros(1)},
    "SWA": lambda state: {"n_averaged": torch.tensor(3), **prefixed(state, "module.")},
    "Dropout before the last layer": lambda state: {
        name.replace("fc.", "fc.1."): value for name, value in state.items()
    },
    "Sequential around the last layer": lambda state: {
        name.replace("fc.", "fc.head.0."): value for name, value in state.items()
    },
    "OpenMMLab": lambda state: {
        ("head." if name.startswith("fc") else "backbone.") + name: value for name, value in state.items()
    },
    "a copy that is the same": lambda state: {"model": state, "model_ema": copy.deepcopy(state)},
    "values among the tensors": lambda state: {**state, "epoch": 3, "arch": "shufflenet"},
    "optimizer": lambda state: {"optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}, "model": state},
    "half precision": lambda state: {
        name: value.half().float().half() if value.is_floating_point() else value
        for name, value in state.items()
    },
}


@pytest.mark.parametrize("how", WRAPPED)
def test_the_one_that_fits_is_found(how: str, state: State, tmp_path: Path) -> None:
    content = WRAPPED[how](state)
    if how == "half precision":
        state = {
            name: value.half().float() if value.is_floating_point() else value
            for name, value in state.items()
        }
    model, module = load(saved(tmp_path, content), scaling="imagenet", crop=64)
    assert_same(module, state)
    assert model.assumed == ()


def test_older_formats(network: torch.nn.Module, state: State, tmp_path: Path) -> None:
    assert_same(load(saved(tmp_path, state, _use_new_zipfile_serialization=False))[1], state)
    for protocol in (2, 4):
        (tmp_path / "plain.pkl").write_bytes(pickle.dumps(state, protocol))
        assert_same(load(tmp_path / "plain.pkl")[1], state)
    for zipped in (True, False):
        path = saved(tmp_path, network, _use_new_zipfile_serialization=zipped)
        assert_same(load(path)[1], state)


def test_a_last_layer_elsewhere_is_taken_and_said(state: State, tmp_path: Path) -> None:
    moved = {
        name.replace("fc.", "classifier.") if name.startswith("fc") else f"backbone.{name}": value
        for name, value in state.items()
    }
    model, module = load(saved(tmp_path, moved))
    assert_same(module, state)
    assert "the last layer is taken from classifier" in model.assumed[0]


def test_a_last_layer_without_bias(state: State, tmp_path: Path) -> None:
    path = saved(tmp_path, {name: value for name, value in state.items() if name != "fc.bias"})
    assert_same(load(path)[1], {**state, "fc.bias": torch.zeros(3)})


#: Networks that are not torchvision's, though most of their tensors have the same names.
OTHERS: Dict[str, Tuple[Callable[[State], State], str]] = {
    "two layers at the end": (
        lambda state: {
            **{name: value for name, value in state.items() if not name.startswith("fc")},
            "fc.0.weight": torch.ones(8, 1024),
            "fc.0.bias": torch.ones(8),
            "fc.2.weight": torch.ones(3, 8),
            "fc.2.bias": torch.ones(3),
        },
        r"besides fc\.2\.weight",
    ),
    "a layer behind": (
        lambda state: {**prefixed(state, "net."), "fc.weight": torch.ones(2, 3), "fc.bias": torch.ones(2)},
        r"besides fc\.weight",
    ),
    "a norm behind": (lambda state: {**prefixed(state, "net."), "bn.weight": torch.ones(3)}, "besides bn"),
    "a norm in the head": (
        lambda state: {
            **{name.replace("fc.", "fc.1."): value for name, value in state.items()},
            "fc.0.weight": torch.ones(1024),
            "fc.0.bias": torch.ones(1024),
        },
        r"besides fc\.0\.weight",
    ),
    "attention within": (
        lambda state: {**state, "stage2.0.se.fc1.weight": torch.ones(4, 4)},
        r"besides stage2\.0\.se\.fc1\.weight",
    ),
    "a number within": (lambda state: {**state, "stage2.gamma": torch.ones(1)}, r"besides stage2\.gamma"),
    "attention beside": (lambda state: {**state, "cbam.fc.weight": torch.ones(4, 4)}, r"besides cbam"),
    "no last layer": (
        lambda state: {name: value for name, value in state.items() if not name.startswith("fc")},
        r"it lacks fc\.weight \(C, 1024\)",
    ),
    "two last layers": (
        lambda state: {
            **{f"net.{name}": value for name, value in state.items() if not name.startswith("fc")},
            "age.weight": torch.ones(3, 1024),
            "sex.weight": torch.ones(2, 1024),
        },
        r"2 layers that might be fc\.weight",
    ),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_network_with_other_layers_is_refused(what: str, state: State, tmp_path: Path) -> None:
    change, says = OTHERS[what]
    path = saved(tmp_path, change(state))
    with pytest.raises(SettingsError, match=says) as raised:
        load(path)
    assert "torch.onnx.export(" in str(raised.value)
    assert "weights_only" not in str(raised.value)


def test_numbers_beside_are_said(state: State, tmp_path: Path) -> None:
    path = saved(tmp_path, {**prefixed(state, "net."), "temperature": torch.ones(1)})
    assert "there are temperature, which are left aside" in load(path)[0].assumed[0]


def test_quantised_and_diverged_weights_are_refused(state: State, tmp_path: Path) -> None:
    path = saved(tmp_path, {**state, "fc.weight": state["fc.weight"].to(torch.int8)})
    with pytest.raises(SettingsError, match=r"fc\.weight is torch\.int8: quantised"):
        load(path)
    path = saved(tmp_path, {**state, "fc.bias": torch.tensor([1.0, float("nan"), 0.0])})
    with pytest.raises(SettingsError, match=r"fc\.bias holds values that are no numbers"):
        load(path)


@pytest.mark.skipif(
    not hasattr(torch.device, "__enter__"), reason="needs PyTorch 2's meta device as a context"
)
def test_the_right_architecture_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path, zoo.squeezenet1_1(weights=None, num_classes=3).state_dict())
    with pytest.raises(SettingsError, match=r"These are weights of squeezenet1_1: --model squeezenet1_1@"):
        load(path)


def test_a_key_needs_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--state-key ema: resnet18 is no checkpoint"):
        load_model(ModelChoice(model="resnet18", state_key="ema"), tmp_path)


def test_timms_names_are_known(tmp_path: Path) -> None:
    path = saved(tmp_path, {"conv_stem.weight": torch.ones(2, 2), "blocks.0.0.conv.weight": torch.ones(2, 2)})
    with pytest.raises(SettingsError, match=r"timm\.create_model\('NAME', num_classes=N, checkpoint_path="):
        load(path)
