"""What each member of a fleet may read and write, as Mosquitto's ACL has it; all else is denied.

camera         its own frames and answers
worker         all frames and answers, snapshots, its own status; and what an observer does
observer       the states of the cameras, and what Home Assistant is told
listener       reads answers, statuses, states and snapshots
homeassistant  reads states, snapshots and announcements; asks for them again, chooses models
operator       reads as a listener; commands, sets, removes

What is a member's own has its name in the topic, and is no `pattern` with %u: Mosquitto gives those to all
members, so that a camera could have a status.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Mapping

from wire.discovery import BIRTH_TOPIC, discovery_filter
from wire.topics import Topics

#: In the order in which they are listed.
ROLES = ("camera", "worker", "observer", "listener", "homeassistant", "operator")
#: The roles that connect to the inner port; the others connect to the outer one. An observer needs two
#: connections, and the outer port gives each member one.
INNER_ROLES = ("worker", "observer", "operator")


def acl(root: str, prefix: str, members: Mapping[str, str]) -> str:
    """Mosquitto's ACL file.

    Args:
        root: first level of the fleet's topics.
        prefix: Home Assistant's discovery prefix.
        members: the role of each, by name.
    """
    rights = Rights(Topics(root), prefix, workers_observe=workers_observe(members))
    sections = ["# Written by `nanofleet provision`, and again by each run of it."]
    for name, role in members.items():
        lines = [f"topic {right}" for right in rights.of(name, role)]
        sections.append("\n".join([f"# {role}", f"user {name}", *lines]))
    return "\n\n".join(sections) + "\n"


def workers_observe(members: Mapping[str, str]) -> bool:
    """Whether workers keep the cameras' states: unless somebody is there to do that alone.

    Whoever announces to Home Assistant is believed by it, and a worker's machine also decodes pictures of
    strangers and runs models.
    """
    return "observer" not in members.values()


@dataclass(frozen=True)
class Rights:
    """The rights in one fleet."""

    topics: Topics
    prefix: str
    workers_observe: bool

    def of(self, name: str, role: str) -> List[str]:
        """The rights of a member, each with `read`, `write` or `readwrite` before its topic filter."""
        return {
            "camera": self._camera,
            "worker": self._worker,
            "observer": self._observer,
            "listener": self._listener,
            "homeassistant": self._home_assistant,
            "operator": self._operator,
        }[role](name)

    def _camera(self, name: str) -> List[str]:
        topics = self.topics
        return [
            f"write {topics.frames(name)}",
            f"read {topics.results(name)}",
            f"read {topics.rejects(name)}",
            f"read {topics.replies(name)}/#",
        ]

    def _worker(self, name: str) -> List[str]:
        topics = self.topics
        return [
            f"read {topics.frames('+')}",
            f"write {topics.results('+')}",
            f"write {topics.rejects('+')}",
            f"write {topics.replies('+')}/#",
            f"write {topics.snapshot('+')}",
            f"readwrite {topics.snapshot_notice('+')}",
            # Its own status, and its own claims: none may write another's.
            f"read {topics.adoption('+', '+')}",
            f"write {topics.worker(name)}",
            f"write {topics.adoption('+', name)}",
            f"read {topics.beacon('+')}",
            f"write {topics.beacon(name)}",
            f"read {topics.model_command()}",
            f"read {topics.model_command(name)}",
            f"read {topics.worker_action(name)}",
            *(self._observer(name) if self.workers_observe else self._follows()),
        ]

    def _observer(self, name: str) -> List[str]:
        topics = self.topics
        return [
            *self._follows(),
            *self._reads_answers(),
            f"readwrite {topics.camera('+')}",
            f"write {topics.camera_event('+')}",
            f"read {topics.observer('+')}",
            f"write {topics.observer(name)}",
            f"read {topics.announce}",
            f"read {BIRTH_TOPIC}",
            f"readwrite {discovery_filter(self.prefix, topics)}",
        ]

    def _follows(self) -> List[str]:
        return [f"read {self.topics.worker('+')}", f"read {self.topics.camera_settings('+')}"]

    def _reads_answers(self) -> List[str]:
        return [f"read {self.topics.results('+')}", f"read {self.topics.rejects('+')}"]

    def _reads_cameras(self) -> List[str]:
        topics = self.topics
        return [
            f"read {topics.camera('+')}",
            f"read {topics.camera_event('+')}",
            f"read {topics.snapshot('+')}",
        ]

    def _listener(self, name: str) -> List[str]:
        topics = self.topics
        return [
            *self._reads_answers(),
            *self._reads_cameras(),
            f"read {topics.worker('+')}",
            f"read {topics.adoption('+', '+')}",
        ]

    def _home_assistant(self, name: str) -> List[str]:
        topics = self.topics
        return [
            *self._reads_cameras(),
            f"read {topics.worker('+')}",
            f"read {discovery_filter(self.prefix, topics)}",
            f"write {BIRTH_TOPIC}",
            f"write {topics.announce}",
            f"write {topics.model_command()}",
            f"write {topics.model_command('+')}",
            f"write {topics.worker_action('+')}",
        ]

    def _operator(self, name: str) -> List[str]:
        topics = self.topics
        return [
            *self._listener(name),
            f"write {topics.frames('+')}",
            f"read {topics.replies('+')}/#",
            f"write {topics.announce}",
            f"write {topics.worker_action('+')}",
            f"readwrite {topics.model_command()}",
            f"readwrite {topics.model_command('+')}",
            f"readwrite {topics.camera_settings('+')}",
            # To forget members that are gone, and remove cameras: an empty message takes a retained one back.
            f"write {topics.worker('+')}",
            f"write {topics.adoption('+', '+')}",
            f"write {topics.beacon('+')}",
            f"readwrite {topics.observer('+')}",
            f"write {topics.camera('+')}",
            f"write {topics.snapshot('+')}",
            f"readwrite {discovery_filter(self.prefix, topics)}",
        ]
