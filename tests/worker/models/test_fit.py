"""Which of a checkpoint's tensors are taken: the right ones, or none and a sentence that says why."""

from __future__ import annotations

import argparse
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
from safetensors.torch import save_file

from wire.errors import SettingsError
from wire.model_choice import ModelChoice
from worker.models.info import Model
from worker.models.loader import load_model
from worker.models.overrides import relabelled

State = Dict[str, torch.Tensor]
NAME = "shufflenet_v2_x0_5"


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return zoo.shufflenet_v2_x0_5(weights=None, num_classes=3).eval()


@pytest.fixture(scope="module")
def state(network: torch.nn.Module) -> State:
    return dict(network.state_dict())


def load(path: Path, name: str = NAME, **fields: Any) -> Tuple[Model, torch.nn.Module]:
    return load_model(ModelChoice(model=f"{name}@{path}", **fields), path.parent)


def saved(folder: Path, content: Any, name: str = "mine.pth", **options: Any) -> Path:
    torch.save(content, folder / name, **options)
    return folder / name


def assert_same(module: torch.nn.Module, state: State, head: str = "fc") -> None:
    found = module.state_dict()
    assert {name for name in found if name.startswith(head)} == {f"{head}.weight", f"{head}.bias"}
    assert all(torch.equal(value, state[name]) for name, value in found.items())


def prefixed(state: State, prefix: str) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


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


@pytest.mark.parametrize(
    "name", ["model_best.pth.tar", "epoch=3.ckpt", "a.bin", "M.PTH", "b.pkl", "my best", "best"]
)
def test_any_name_will_do(name: str, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path, {"state_dict": state}, name)
    assert_same(load_model(ModelChoice(model=f"{NAME}@{name}"), tmp_path)[1], state)
    save_file(state, tmp_path / name)
    assert_same(load_model(ModelChoice(model=f"{NAME}@{name}"), tmp_path)[1], state)


def test_older_formats(network: torch.nn.Module, state: State, tmp_path: Path) -> None:
    assert_same(load(saved(tmp_path, state, _use_new_zipfile_serialization=False))[1], state)
    for protocol in (2, 4):
        (tmp_path / "plain.pkl").write_bytes(pickle.dumps(state, protocol))
        assert_same(load(tmp_path / "plain.pkl")[1], state)
    for zipped in (True, False):
        path = saved(tmp_path, network, _use_new_zipfile_serialization=zipped)
        assert_same(load(path)[1], state)


def test_of_two_that_differ_the_plain_one_is_taken_and_said(state: State, tmp_path: Path) -> None:
    average = {name: value + 1 for name, value in state.items()}
    path = saved(tmp_path, {"model_ema": {"module": average}, "model": state})
    model, module = load(path, scaling="imagenet", crop=64)
    assert_same(module, state)
    (sentence,) = model.assumed
    assert "differ: 'model' was taken; --state-key model_ema takes another" in sentence.replace(".module", "")
    model, module = load(path, scaling="imagenet", crop=64, state_key="model_ema")
    assert_same(module, average)
    assert model.assumed == ()
    with pytest.raises(SettingsError, match="no state dict 'ema'; there are model, model_ema"):
        load(path, state_key="ema")


def test_a_teacher_beside_the_student(state: State, tmp_path: Path) -> None:
    teacher = {name: value + 1 for name, value in state.items()}
    path = saved(tmp_path, {**prefixed(teacher, "teacher."), **prefixed(state, "student.")})
    model, module = load(path)
    assert_same(module, state)
    assert "'student' was taken; --state-key teacher takes another" in model.assumed[0]
    assert_same(load(path, state_key="teacher")[1], teacher)


@pytest.mark.parametrize(
    ("other", "plain"), [("encoder_k", "encoder_q"), ("grads", "weights"), ("target_net", "zz_net")]
)
def test_what_a_training_keeps_beside_the_weights_comes_last(
    other: str, plain: str, state: State, tmp_path: Path
) -> None:
    beside = {name: value + 1 for name, value in state.items()}
    for content in (
        {other: beside, plain: state},
        {**prefixed(beside, f"{other}."), **prefixed(state, f"{plain}.")},
    ):
        model, module = load(saved(tmp_path, content))
        assert_same(module, state)
        assert f"--state-key {other} takes another" in model.assumed[0]


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


NAMES = ("cat", "cup", "rocket")
HOLDS: Dict[str, Any] = {
    "classes": {"classes": list(NAMES)},
    "class_to_idx": {"class_to_idx": {"rocket": 2, "cat": 0, "cup": 1}},
    "idx_to_class": {"idx_to_class": {2: "rocket", 0: "cat", 1: "cup"}},
    "OpenMMLab": {"meta": {"CLASSES": NAMES}},
    "OpenMMLab 1": {"meta": {"dataset_meta": {"classes": NAMES}}},
    "Lightning": {"hyper_parameters": {"class_names": list(NAMES), "lr": 0.1}},
    "defaultdict": {"class_to_idx": collections.defaultdict(int, {"cat": 0, "cup": 1, "rocket": 2})},
}


@pytest.mark.parametrize("where", HOLDS)
def test_names_in_the_checkpoint_are_used(where: str, state: State, tmp_path: Path) -> None:
    model, _ = load(saved(tmp_path, {"state_dict": state, **HOLDS[where]}))
    assert (model.classes, model.own_names, model.named) == (NAMES, NAMES, True)
    assert relabelled(model, None).classes == NAMES


@pytest.mark.parametrize(
    "beside",
    [
        {"classes": ["a", "b"]},
        {"classes": 3},
        {"names": {"x": 1}},
        {"classes": list("abc"), "labels": list("cba")},
    ],
)
def test_names_that_are_not_sure_are_not_used(beside: Any, state: State, tmp_path: Path) -> None:
    model, _ = load(saved(tmp_path, {"state_dict": state, **beside}))
    assert (model.own_names, model.named) == ((), False)


def test_safetensors_metadata_names_classes(state: State, tmp_path: Path) -> None:
    save_file(
        state,
        tmp_path / "m.safetensors",
        metadata={"format": "pt", "id2label": '{"0":"cat","1":"cup","2":"rocket"}'},
    )
    assert load(tmp_path / "m.safetensors")[0].classes == NAMES


def test_a_label_file_is_compared(state: State, tmp_path: Path) -> None:
    model, _ = load(
        saved(tmp_path, {"state_dict": state, "classes": list(NAMES)}), scaling="imagenet", crop=64
    )
    labels = tmp_path / "labels.txt"
    labels.write_text("Cat\ncup\nrocket\n", encoding="utf-8")
    assert relabelled(model, labels).assumed == ()
    for text in ("cup\ncat\nrocket\n", "cup\nkat\nrocket\n"):
        labels.write_text(text, encoding="utf-8")
        with pytest.raises(SettingsError, match="the same names in another order"):
            relabelled(model, labels)
    labels.write_text("Katze\nTasse\nRakete\n", encoding="utf-8")
    renamed = relabelled(model, labels)
    assert renamed.classes == ("Katze", "Tasse", "Rakete")
    assert renamed.assumed == (f"the names in {labels} replace those in mine.pth itself (cat, cup, rocket)",)


def test_what_is_assumed_of_the_preprocessing(state: State, tmp_path: Path) -> None:
    path = saved(tmp_path, state)
    size, scaling = load(path)[0].assumed
    assert size.startswith("resize 256, crop 224 (bilinear) are assumed")
    assert "say --resize, --crop, --fit" in size
    assert "ImageNet's mean and deviation is assumed" in scaling
    assert load(path, fit="squeeze")[0].assumed == (scaling,)
    assert load(path, scaling="unit")[0].assumed == (size,)
    assert load(path, mean="0,0,0", std="1,1,1", resize=64, crop=64)[0].assumed == ()


def test_a_resize_that_leaves_nothing_to_crop_shows_the_whole_image(state: State, tmp_path: Path) -> None:
    path = saved(tmp_path, state)
    model = load(path, scaling="imagenet", resize=224)[0]
    (sentence,) = model.assumed
    assert model.preprocessing.fit == "squeeze"
    assert "squeezed into its 224 x 224 pixels" in sentence
    assert "--fit crop" in sentence
    for more in ({"crop": 224}, {"fit": "crop"}):
        model = load(path, scaling="imagenet", resize=224, **more)[0]
        assert (model.preprocessing.fit, model.assumed) == ("crop", ())
    assert load(path, scaling="imagenet", resize=232)[0].preprocessing.fit == "crop"
    arguments = {"val_resize_size": 224, "val_crop_size": 224}
    told = saved(tmp_path, {"model": state, "args": argparse.Namespace(**arguments)})
    assert load(told, resize=224)[0].preprocessing.fit == "crop"


def test_one_output_is_a_sigmoid(state: State, tmp_path: Path) -> None:
    one = saved(
        tmp_path, {**state, "fc.weight": state["fc.weight"][:1], "fc.bias": state["fc.bias"][:1]}, "one.pth"
    )
    assert (load(one)[0].activation, load(one)[0].multi_label) == ("sigmoid", False)
    assert load(one, activation="none")[0].activation == "none"
    with pytest.raises(SettingsError, match="of a single output it is 1 whatever is seen"):
        load(one, activation="softmax")
    several = saved(tmp_path, state)
    assert (load(several)[0].activation, load(several)[0].multi_label) == ("softmax", False)
    model = load(several, activation="sigmoid")[0]
    assert (model.activation, model.multi_label) == ("sigmoid", True)


def test_googlenet_from_scratch_and_from_torchvisions_weights(tmp_path: Path) -> None:
    options = {"num_classes": 3, "aux_logits": False, "init_weights": False}
    torch.manual_seed(0)
    scratch = zoo.googlenet(weights=None, transform_input=False, **options).eval()
    path = saved(tmp_path, scratch.state_dict())
    began = zoo.googlenet(weights=None, transform_input=True, **options).eval()
    began.load_state_dict(scratch.state_dict())

    pixels = torch.rand(1, 3, 64, 64)
    for fields, reference in (({}, began), ({"scaling": "imagenet"}, scratch)):
        model, module = load(path, "googlenet", **fields)
        recipe = model.preprocessing
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (recipe.mean, recipe.std))
        with torch.inference_mode():
            expected = reference((pixels - zoo_mean()) / zoo_std())
            assert torch.allclose(module((pixels - mean) / std), expected, rtol=1e-3, atol=1e-4)
        assert "transform_input" in model.assumed[-1]
    assert len(load(path, "googlenet", scaling="symmetric", crop=64)[0].assumed) == 0


def zoo_mean() -> torch.Tensor:
    return torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1)


def zoo_std() -> torch.Tensor:
    return torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1)


def test_numbers_are_no_names(state: State, tmp_path: Path) -> None:
    assert load(saved(tmp_path, {"state_dict": state, "labels": [0, 2, 1]}))[0].own_names == ()


def test_a_key_needs_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--state-key ema: resnet18 is no checkpoint"):
        load_model(ModelChoice(model="resnet18", state_key="ema"), tmp_path)


def test_timms_names_are_known(tmp_path: Path) -> None:
    path = saved(tmp_path, {"conv_stem.weight": torch.ones(2, 2), "blocks.0.0.conv.weight": torch.ones(2, 2)})
    with pytest.raises(SettingsError, match=r"timm\.create_model\('NAME', num_classes=N, checkpoint_path="):
        load(path)


def test_another_size_of_image_is_said(tmp_path: Path) -> None:
    grid = {"encoder.pos_embedding": torch.ones(1, 5, 768), "class_token": torch.ones(1, 1, 768)}
    with pytest.raises(
        SettingsError, match="Its images were of another size: say it with --resize and --crop"
    ):
        load(saved(tmp_path, grid), "vit_b_32")
