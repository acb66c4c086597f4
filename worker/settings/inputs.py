"""Which frames a worker reads, and under which name."""

from __future__ import annotations

from functools import cached_property
from typing import List, Optional, Tuple

from pydantic import Field, field_validator

from wire.broker import BrokerSettings
from wire.lengths import MAX_INPUTS, MAX_TOPIC, MAX_WORD
from wire.settings import Names
from wire.topics import ID, Template, is_id


class InputSettings(BrokerSettings):
    """The group, the worker's id in it, and the topics that the group shares."""

    group: str = Field(
        "workers", max_length=MAX_WORD, description="Workers of one group share the frames between them"
    )
    worker_id: Optional[str] = Field(
        None,
        description="Stable name of this worker (default: the host's name, with -2, -3, … beside others; "
        "with --processes -p, -p2, …)",
    )
    input: Names = Field(
        [], description="Topic template with {camera}, may be repeated (default: ROOT/frames/{camera})"
    )

    @field_validator("worker_id")
    @classmethod
    def _worker_id_is_an_id(cls, worker_id: Optional[str]) -> Optional[str]:
        if worker_id is not None and not ID.fullmatch(worker_id):
            raise ValueError(f"1 to 64 letters, digits, - and _, not {worker_id!r}")
        return worker_id

    @field_validator("group")
    @classmethod
    def _group_is_a_level(cls, group: str) -> str:
        if not group or set(group) & set("/+#\0"):
            raise ValueError(f"one topic level without wildcards, not {group!r}")
        return group

    @field_validator("input")
    @classmethod
    def _inputs_are_templates(cls, inputs: List[str]) -> List[str]:
        if len(inputs) > MAX_INPUTS:
            raise ValueError(f"at most {MAX_INPUTS} topic templates, not {len(inputs)}")
        for text in inputs:
            if len(text) > MAX_TOPIC:
                raise ValueError(f"{text[:40]!r}...: at most {MAX_TOPIC} characters, not {len(text)}")
            Template(text)
        return inputs

    @cached_property
    def templates(self) -> List[Template]:
        """Where frames come from."""
        return [Template(text) for text in self.input or [self.topics.frames("{camera}")]]

    def camera_of(self, topic: str) -> Optional[str]:
        """The camera whose frames come on a topic; None if that is no frames topic, or of no valid camera."""
        for template in self.templates:
            match = template.match(topic)
            if match:
                return match["camera"] if is_id(match["camera"]) else None
        return None

    @property
    def inputs(self) -> Tuple[str, ...]:
        """The templates, as texts."""
        return tuple(template.text for template in self.templates)

    @property
    def subscriptions(self) -> List[str]:
        """Filters of the topics that the group shares."""
        return [f"$share/{self.group}/{template.filter}" for template in self.templates]
