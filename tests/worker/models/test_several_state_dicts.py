"""Of several state dicts in a checkpoint, the plain one is taken, and what was decided is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import save_file

from tests.worker.models.checkpoints import NAME, State, assert_same, load, prefixed, saved
from wire.errors import SettingsError
from wire.model_choice import ModelChoice
from worker.models.loader import load_model


@pytest.mark.parametrize(
    "name", ["model_best.pth.tar", "epoch=3.ckpt", "a.bin", "M.PTH", "b.pkl", "my best", "best"]
)
def test_any_name_will_do(name: str, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path, {"state_dict": state}, name)
    assert_same(load_model(ModelChoice(model=f"{NAME}@{name}"), tmp_path)[1], state)
    save_file(state, tmp_path / name)
    assert_same(load_model(ModelChoice(model=f"{NAME}@{name}"), tmp_path)[1], state)


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
