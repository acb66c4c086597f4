"""What is reported of one fault."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """What is reported.

    Attributes:
        fault: what was done.
        sent: frames, each under an id of its own.
        distinct_answers: those of them that were answered or rejected.
        lost: those that were not.
        duplicated: answers beyond the first of each frame.
        peak_worker_MB: the most memory that was ever resident in any one worker process.
        peak_decoder_MB: the same for any one of their decoder processes.
        seconds_to_recover: from the fault until each frame had its first answer.
    """

    fault: str
    sent: int
    distinct_answers: int
    lost: int
    duplicated: int
    peak_worker_MB: int
    peak_decoder_MB: int
    seconds_to_recover: float
