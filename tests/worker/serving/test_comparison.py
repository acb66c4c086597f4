"""The former model beside the one that serves: counted, never published, one picture at a time."""

from __future__ import annotations

from tests.harness import wait_for
from tests.worker.serving.small import Asked, ChannelEngine, png, serving
from worker.serving.comparison import Comparison
from worker.serving.job import Classified

RED, BLACK = png((255, 0, 0)), png((0, 0, 0))


def test_pictures_on_which_both_agree_are_counted() -> None:
    with serving(ChannelEngine()) as former, serving(ChannelEngine()) as now:
        comparison = Comparison(former)
        for count in (1, 2):
            asked = Asked()
            now.submit(comparison.take(asked.job, RED), RED)
            assert asked.label() == "red"
            wait_for(lambda count=count: comparison.compared == count, what="the former model's label")
    assert comparison.agreed == 2


def test_the_answer_is_the_new_models_where_they_differ() -> None:
    with serving(ChannelEngine(swapped=True)) as former, serving(ChannelEngine()) as now:
        comparison, asked = Comparison(former), Asked()
        now.submit(comparison.take(asked.job, RED), RED)
        assert asked.label() == "red"
        wait_for(lambda: comparison.compared == 1, what="the former model's label")
    assert comparison.agreed == 0


def test_only_one_picture_is_compared_at_a_time() -> None:
    slow = ChannelEngine()
    slow.gate.clear()
    with serving(slow) as former:
        comparison, first, second = Comparison(former), Asked(), Asked()
        assert comparison.take(first.job, RED) != first.job
        assert comparison.take(second.job, RED) == second.job
        slow.gate.set()


def test_a_picture_that_one_of_them_rejects_is_not_counted_and_the_next_one_is() -> None:
    with serving(ChannelEngine()) as former, serving(ChannelEngine()) as now:
        comparison, rejected, asked = Comparison(former), Asked(), Asked()
        now.submit(comparison.take(rejected.job, BLACK), BLACK)
        assert not isinstance(rejected.outcome(), Classified)
        wait_for(lambda: not comparison._busy, what="the former model's error")
        now.submit(comparison.take(asked.job, RED), RED)
        assert asked.label() == "red"
        wait_for(lambda: comparison.compared == 1, what="the former model's label")
