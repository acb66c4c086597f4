"""The stable label, frame by frame."""

from __future__ import annotations

import random
from typing import Dict, List, Sequence, Tuple

import pytest

from fleet.observer.stable import StableLabel
from wire.cameras import NONE, Stability

#: Frames by a letter: how sure each label is.
FRAMES: Dict[str, Sequence[Tuple[str, float]]] = {
    "C": (("cat", 0.9), ("dog", 0.02)),
    "D": (("dog", 0.9), ("cat", 0.02)),
    "c": (("cat", 0.52), ("dog", 0.46)),
    "d": (("dog", 0.52), ("cat", 0.46)),
    "?": (("cat", 0.3), ("dog", 0.25), ("fox", 0.2)),
    "-": (),
}


RULE = Stability()


def seen(frames: str, rule: Stability = RULE, start: str = NONE) -> List[str]:
    """The stable label after each frame."""
    stable = StableLabel(rule, start, 0.9)
    labels = []
    for frame in frames:
        stable.add(FRAMES[frame])
        labels.append(stable.label)
    return labels


def changes(labels: Sequence[str]) -> int:
    return sum(a != b for a, b in zip(labels, labels[1:]))


def test_a_label_is_stable_once_it_held_in_k_of_n_frames() -> None:
    assert seen("CCC") == [NONE, NONE, "cat"]
    assert seen("C?C?C") == [NONE, NONE, NONE, NONE, "cat"]
    assert seen("C??C??C??C") == [NONE] * 10  # never 3 within 5


def test_what_is_not_sure_enough_is_none() -> None:
    assert set(seen("??????????")) == {NONE}
    assert set(seen("----------")) == {NONE}
    assert set(seen("c" * 10, Stability(min_confidence=0.6))) == {NONE}


def test_of_two_classes_with_one_label_the_likelier_counts() -> None:
    """As ImageNet's two cranes, a bird and a machine."""
    stable = StableLabel(RULE)
    for _ in range(8):
        stable.add((("crane", 0.9), ("crane", 0.02)))
    assert (stable.label, stable.confidence) == ("crane", 0.9)


def test_another_thing_takes_the_place_of_one_that_is_gone() -> None:
    assert seen("CCCCCDDDD")[5:] == ["cat", "cat", "cat", "dog"]
    assert seen("CCCCC----")[5:] == ["cat", "cat", "cat", NONE]


@pytest.mark.parametrize("frames", ["cd", "ccdd", "cccddd", "ccdcdd", "cdd", "CD", "CCDD", "CCCDDD"])
def test_labels_that_take_turns_do_not_flap(frames: str) -> None:
    labels = seen("CCC" + 50 * frames)
    assert set(labels[2:]) == {"cat"}


def test_two_labels_that_are_about_as_likely_seldom_take_turns() -> None:
    """At random, each the best in half of the frames: what a plain majority of five would flap at."""
    frames = "".join(random.Random(1056).choices("cd", k=2000))
    window = [frames[max(0, end - 4) : end + 1] for end in range(len(frames))]
    majority = [max("cd", key=each.count) for each in window]
    assert changes(majority) > 300
    assert changes(seen(frames)) < changes(majority) / 6


def test_a_confidence_about_the_threshold_does_not_flap() -> None:
    rule = Stability(min_confidence=0.5)
    stable = StableLabel(rule)
    labels = []
    for n in range(200):
        stable.add([("cat", 0.48 if n % 3 else 0.51), ("dog", 0.1)])
        labels.append(stable.label)
    assert set(labels) == {NONE}  # 2 of 5 are sure
    for n in range(200):
        stable.add([("cat", 0.48 if n % 2 else 0.51), ("dog", 0.1)])
        labels.append(stable.label)
    assert changes(labels) == 1
    assert labels[-1] == "cat"


def test_one_that_is_always_second_does_not_stay() -> None:
    assert seen("CCCCCddddd")[5:] == ["cat"] * 4 + ["dog"]


def test_doubtful_frames_take_a_label_away() -> None:
    assert seen("CCCCC?????")[5:] == ["cat"] * 4 + [NONE]


def test_k_of_one_follows_each_sure_frame() -> None:
    assert seen("CDC", Stability(k=1, n=1)) == ["cat", "dog", "cat"]
    assert seen("CD?", Stability(k=1, n=1)) == ["cat", "dog", NONE]


def test_of_two_with_k_votes_the_one_with_more_wins_and_then_the_later() -> None:
    assert seen("C-DCD", Stability(k=2, n=5))[-1] == "cat"  # it was first, and stays
    assert seen("DCCDC", Stability(k=3, n=5))[-1] == "cat"


def test_the_confidence_is_that_of_the_last_frame_close_to_it() -> None:
    stable = StableLabel(Stability())
    for frame in "CCCcd":
        stable.add(FRAMES[frame])
    assert (stable.label, stable.confidence) == ("cat", 0.46)
    stable.add(FRAMES["D"])
    assert stable.confidence == 0.46
    for frame in "----":
        stable.add(FRAMES[frame])
    assert (stable.label, stable.confidence) == (NONE, None)


def test_what_was_stable_before_a_restart_goes_on() -> None:
    assert seen("?CC", start="cat") == ["cat"] * 3
    assert seen("DDDD", start="cat") == ["cat"] * 3 + ["dog"]


def test_another_rule_counts_the_frames_that_were_seen() -> None:
    stable = StableLabel(Stability(k=5, n=5))
    for _ in range(4):
        assert not stable.add(FRAMES["C"])
    stable.follow(Stability(k=3, n=3))
    assert stable.add(FRAMES["C"])
    assert stable.label == "cat"
