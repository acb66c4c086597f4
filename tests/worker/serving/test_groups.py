"""A group's confidence: the sum of its labels', of all that the model has."""

from __future__ import annotations

import numpy as np
import pytest

from labels import IMAGENET_1K, read_labels
from labels.groups import PACKAGED, read_groups
from tests.worker.serving.small import model
from worker.serving.groups import MOST_GROUPS, Grouping, scorer

CLASSES = ("tabby", "Persian cat", "pug", "cup")
GROUPS = {"cat": ("tabby", "Persian cat"), "dog": ("pug",)}


def row(*probabilities: float) -> np.ndarray:
    return np.array(probabilities, np.float32)


def test_two_cats_that_are_each_unlikely_are_a_likely_cat() -> None:
    score = scorer(GROUPS, CLASSES)
    assert score is not None
    (best, confidence), second = score(row(0.3, 0.25, 0.35, 0.1))
    assert (best, second[0]) == ("cat", "dog")
    assert confidence == pytest.approx(0.55)


def test_labels_that_do_not_exclude_each_other_are_not_added() -> None:
    score = scorer(GROUPS, CLASSES, threshold=0.2)
    assert score is not None
    assert dict(score(row(0.9, 0.8, 0.25, 0.1))) == pytest.approx({"cat": 0.9, "dog": 0.25})


def test_a_group_none_of_whose_labels_is_true_is_not_told() -> None:
    """As its labels are not: a model whose classes are all unlikely sees nothing."""
    several = model().model_copy(update={"classes": CLASSES, "multi_label": True, "threshold": 0.5})
    grouping = Grouping(GROUPS)
    assert grouping.scores(several, row(0.4, 0.5, 0.3, 0.9)) == [("cat", 0.5)]
    assert grouping.scores(several, row(0.4, 0.3, 0.3, 0.9)) == []


def test_a_model_without_any_of_the_labels_has_no_groups() -> None:
    assert scorer(GROUPS, ("left", "right")) is None


def test_rounding_takes_no_group_above_one() -> None:
    score = scorer(GROUPS, CLASSES)
    assert score is not None
    assert score(row(0.6, 0.4005, -0.001, 0.0)) == [("cat", 1.0)]


def test_of_imagenets_groups_the_likeliest_are_told_and_no_more() -> None:
    classes = read_labels(IMAGENET_1K)
    score = scorer(read_groups(PACKAGED["home"]), classes)
    assert score is not None
    probabilities = np.full(1000, 0.0005, np.float32)
    probabilities[classes.index("tabby")] += 0.5
    found = score(probabilities)
    assert found[0][0] == "cat"
    assert found[0][1] == pytest.approx(0.5 + 5 * 0.0005, abs=1e-6)
    assert len(found) == MOST_GROUPS
