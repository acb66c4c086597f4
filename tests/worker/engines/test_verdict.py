"""Verdicts: which answers agree, which candidate has won, and the sentence that says so."""

from __future__ import annotations

from typing import Any, List

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.engines.fastest.candidates import Candidate, candidates
from worker.engines.fastest.pictures import drawn
from worker.engines.fastest.verdict import Trial, Verdict, agreement, tells_apart


def answers(*best: float) -> NDArray[np.float32]:
    """Of two classes, the first one's probability for each picture."""
    first = np.array(best, np.float32)
    return np.stack([first, 1 - first], axis=1)


def test_what_is_as_good_as_two_labels_may_get_the_other_one_in_a_hundred() -> None:
    expected = answers(*[0.9] * 98, 0.51, 0.51)
    assert agreement(answers(*[0.88] * 98, 0.51, 0.49), expected) == (100, 99, True)
    assert agreement(answers(*[0.88] * 98, 0.49, 0.49), expected) == (100, 98, False)


def test_what_has_two_best_classes_has_no_label() -> None:
    expected = answers(*[0.9] * 98, 0.502, 0.502)
    assert agreement(answers(*[0.9] * 98, 0.498, 0.498), expected) == (98, 98, True)


def test_what_has_a_clear_label_gets_no_other() -> None:
    assert agreement(answers(*[0.9] * 99, 0.49), answers(*[0.9] * 99, 0.54)) == (100, 99, False)


def test_probabilities_agree_as_well() -> None:
    """Labels would not show it of a model that gives all pictures the same, or of one with several labels."""
    assert agreement(answers(*[0.7] * 100), answers(*[0.9] * 100)) == (100, 100, False)
    single = np.full((100, 1), 0.53, np.float32)
    assert agreement(single - 0.02, single) == (100, 100, True)
    assert agreement(single - 0.06, single) == (100, 0, False)


def several(*seen: float) -> NDArray[np.float32]:
    """Of three classes that each stand by themselves: the first one's probability for each picture."""
    return np.stack([np.array(seen, np.float32), np.full(len(seen), 0.9), np.full(len(seen), 0.1)], axis=1)


def test_of_several_labels_the_set_of_those_that_are_seen_has_to_be_the_same() -> None:
    expected = several(*[0.2] * 97, 0.48, 0.52, 0.9)
    assert agreement(several(*[0.2] * 97, 0.48, 0.49, 0.9), expected, 0.5) == (100, 99, True)
    assert agreement(several(*[0.2] * 97, 0.51, 0.49, 0.9), expected, 0.5) == (100, 98, False)
    assert agreement(several(*[0.2] * 97, 0.51, 0.49, 0.9), expected, 0.6) == (100, 100, True)
    # By the best one alone, all were the same.
    assert agreement(several(*[0.2] * 97, 0.51, 0.49, 0.9), expected).enough


def test_a_label_that_is_clearly_seen_or_not_stays_so() -> None:
    assert agreement(several(*[0.2] * 99, 0.49), several(*[0.2] * 99, 0.56), 0.5) == (100, 99, False)
    assert agreement(several(*[0.2] * 99, 0.51), several(*[0.2] * 99, 0.44), 0.5) == (100, 99, False)


def test_which_of_several_unseen_classes_is_the_best_is_nobodys_label() -> None:
    dark = np.random.default_rng(7).uniform(0, 0.02, (2, 100, 3)).astype(np.float32)
    assert agreement(dark[0], dark[1], 0.5) == (100, 100, True)
    assert not agreement(dark[0], dark[1]).enough


def test_a_class_that_is_as_good_as_seen_and_unseen_is_no_label() -> None:
    assert agreement(several(*[0.2] * 98, 0.495, 0.505), several(*[0.2] * 98, 0.505, 0.495), 0.5)[0] == 98


def test_one_set_of_labels_for_all_tells_nothing() -> None:
    assert tells_apart(several(0.2, 0.7), 0.5)
    assert not tells_apart(several(0.2, 0.4), 0.5)
    assert not tells_apart(several(0.2, 0.7, 0.5, 0.5, 0.5), 0.5)


def test_what_is_no_number_is_none_in_both() -> None:
    expected = answers(*[0.9] * 99, np.nan)
    assert agreement(expected, expected) == (100, 100, True)
    assert agreement(answers(*[0.9] * 100), expected) == (100, 0, False)
    assert agreement(expected, answers(*[0.9] * 100)) == (100, 0, False)
    assert agreement(expected[:, :1], expected) == (100, 0, False)


def test_one_label_for_all_tells_nothing() -> None:
    assert tells_apart(answers(0.9, 0.4))
    assert not tells_apart(answers(0.9, 0.6))
    assert tells_apart(answers(0.9, 0.4)[:, :1])
    assert not tells_apart(answers(0.1, 0.4)[:, :1])


def test_pictures_without_a_label_tell_nothing() -> None:
    """Of classes that are all as good, an engine that answers anything agrees."""
    flat, other = (np.random.default_rng(seed).uniform(0.333, 0.335, (100, 3)) for seed in (7, 8))
    assert agreement(other, flat) == (0, 0, True)
    assert not tells_apart(flat)
    some = answers(*[0.9, 0.1] * 24, *[0.501, 0.499] * 26)
    assert not tells_apart(some)
    assert tells_apart(some[:96])
    assert not tells_apart(some[:, :1])


def test_infinity_is_no_number_and_no_fault() -> None:
    expected = answers(*[0.9] * 99, np.inf)
    assert agreement(expected, expected) == (100, 100, True)
    assert agreement(answers(*[0.9] * 100), expected) == (100, 0, False)


def verdict(*trials: Any) -> Verdict:
    listed: List[Trial] = []
    for engine, precision, ms, same in trials:
        agrees = same == 100
        listed.append(
            Trial(engine=engine, precision=precision, ms=ms, pictures=100, same=same, agrees=agrees)
        )
    return Verdict(releases={}, trials=tuple(listed))


def test_the_fastest_that_agrees_has_won_and_says_its_figures() -> None:
    found = verdict(
        ("onnxruntime", "float32", 5.61, 100),
        ("openvino", "float32", 5.9, 100),
        ("openvino", "float16", 2.71, 100),
        ("openvino", "bfloat16", 2.5, 97),
    )
    assert found.winner.candidate == Candidate("openvino", "float16")
    assert found.why == (
        "openvino float16: 2.71 ms of CPU a picture; onnxruntime float32 5.61; openvino float32 5.9; "
        "openvino bfloat16 2.5, but agrees with float32 on 97 of 100 only; agrees with float32 on 100 of 100"
    )
    assert Verdict.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(("half", "wins"), [(5.4, "onnxruntime"), (4.9, "openvino")])
def test_of_nearly_equal_ones_the_more_exact_has_won(half: float, wins: str) -> None:
    """As one measurement or the other has it, the choice would be another at each start."""
    found = verdict(("onnxruntime", "float32", 5.6, 100), ("openvino", "float16", half, 100))
    assert found.winner.engine == wins


@pytest.mark.parametrize(
    ("float16", "bfloat16", "wins"), [(5.6, 4.9, "float32"), (5.6, 4.8, "bfloat16"), (4.5, 4.2, "float16")]
)
def test_two_engines_have_to_gain_more_than_one(float16: float, bfloat16: float, wins: str) -> None:
    found = verdict(("onnxruntime", "float32", 5.6, 100), ("openvino", "float16", float16, 100))
    repeats = {"again": "onnxruntime", "margin": 0.3, "close": 0.224, "pictures": 100, "same": 100}
    pair = Trial(engine="openvino", precision="bfloat16", ms=bfloat16, agrees=True, **repeats)
    found = found.model_copy(update={"trials": (*found.trials, pair)})
    assert found.winner.precision == wins
    says = "openvino bfloat16 (22% close calls again by onnxruntime float32)"
    assert (
        f"{says}: {bfloat16} ms of CPU a picture" if wins == "bfloat16" else f"{says} {bfloat16}"
    ) in found.why
    assert Verdict.model_validate_json(found.model_dump_json()) == found


def test_what_is_too_slow_anyway_is_not_compared() -> None:
    found = verdict(("onnxruntime", "float32", 5.6, 100))
    slow = Trial(engine="openvino", precision="float16", ms=9.7)
    found = found.model_copy(update={"trials": (*found.trials, slow)})
    assert found.winner.engine == "onnxruntime"
    assert found.why == "onnxruntime float32: 5.6 ms of CPU a picture; openvino float16 9.7"


def test_exact_means_float32_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.engines.fastest.candidates.has_openvino", lambda: True)
    assert {each.precision for each in candidates("auto", "exact")} == {"float32"}
    assert len({each.precision for each in candidates("auto", "half")}) == 3
    assert {each.engine for each in candidates("openvino", "half")} == {"openvino"}
    assert candidates("torch", "half") == []


@pytest.mark.parametrize("shape", [(224, 224, 3), (64, 96, 1), (1, 3, 3)])
def test_the_pictures_are_always_the_same_and_unlike_each_other(shape: Any) -> None:
    pictures = drawn(shape, 10)
    assert (pictures.shape, pictures.dtype) == ((10, *shape), np.uint8)
    np.testing.assert_array_equal(drawn(shape, 10), pictures)
    assert len({picture.tobytes() for picture in pictures}) == 10
