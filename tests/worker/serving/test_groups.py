"""A group's confidence: the sum of its labels', of all that the model has."""

from __future__ import annotations

import logging
from typing import List

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


def warnings(caplog: pytest.LogCaptureFixture) -> List[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_a_model_that_shares_no_label_with_the_groups_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    home, taking_turns = Grouping(read_groups(PACKAGED["home"])), [model("one"), model("another")]
    for each in (*taking_turns, *taking_turns):
        assert home.scores(each, row(0.2, 0.3, 0.5)) is None
    one, another = warnings(caplog)
    assert "none of the labels of one is in the groups that come with nanofleet" in one
    assert "none of the labels of another is in" in another


def test_labels_of_ones_own_groups_that_a_model_does_not_have_are_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    own = Grouping({"warm": ("red", "orange", "yellow"), "cold": ("blue", "cyan", "navy")}, "door")
    for _ in range(2):
        assert own.scores(model(), row(0.2, 0.3, 0.5))
    assert warnings(caplog) == [
        "groups of camera door: small has no label 'orange', 'yellow', 'cyan', … (4 of them)"
    ]
    Grouping({"cold": ("blau",)}, "garden").scores(model(), row(0.2, 0.3, 0.5))
    assert "none of the labels of small is in the groups of camera garden" in warnings(caplog)[1]


def test_groups_that_suit_a_model_are_no_matter_for_the_log(caplog: pytest.LogCaptureFixture) -> None:
    Grouping({"warm": ("red",)}, "door").scores(model(), row(0.2, 0.3, 0.5))
    Grouping({"red": (), "animal": ("cat",)}).scores(model(), row(0.2, 0.3, 0.5))
    assert not warnings(caplog)
