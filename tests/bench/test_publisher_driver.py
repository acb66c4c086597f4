"""What the bench's own publisher takes for an answer."""

from __future__ import annotations

from typing import Any, cast

import pytest

from bench.drivers.publisher import Answers
from publisher.sent import Sent
from tests.fleet.members import rejection, result


@pytest.mark.parametrize(
    ("answer", "said"),
    [(rejection(), "was not classified"), (result(repeats="0"), "was answered as an earlier one was")],
)
def test_what_no_model_has_answered_is_in_no_ratio(answer: Any, said: str) -> None:
    answers = Answers(cast(Any, None))
    with pytest.raises(RuntimeError, match=said):
        answers.receive(Sent("1", "door", "1", answer=answer))
