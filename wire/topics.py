"""Topics: the fleet's own, and the templates by which a worker finds the camera in any topic.

nanofleet/frames/{camera}               nanofleet/frames/+             our own
frigate/{camera}/{object}/snapshot      frigate/+/+/snapshot           Frigate's
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Dict, List, Optional

#: A camera or worker id: one topic level that needs no escaping anywhere.
ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
#: Characters and levels of a reply's topic below its camera's.
MAX_REPLY, MAX_REPLY_LEVELS = 256, 16
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


#: What can be the id of a camera, for people.
CAMERA_RULE = "a camera is 1 to 64 letters, digits, - and _"


def is_id(text: str) -> bool:
    """Whether `text` can be the id of a camera or a worker."""
    return ID.fullmatch(text) is not None


def camera_ids(names: List[str]) -> List[str]:
    """Names of cameras as they are, if each can be an id.

    Raises:
        ValueError: some cannot; the text names them.
    """
    wrong = [name for name in names if not is_id(name)]
    if wrong:
        raise ValueError(f"{CAMERA_RULE}, not {', '.join(wrong)}")
    return names


def client_id(worker: str) -> str:
    """The MQTT client id of a worker, by which the broker keeps its session and another may adopt it."""
    return f"nanofleet-worker-{worker}"


def answers_client_id(worker: str) -> str:
    """The MQTT client id under which a worker answers where it needs a connection for that alone."""
    return f"nanofleet-answers-{worker}"


@dataclass(frozen=True)
class Topics:
    """The topics below one root."""

    root: str = "nanofleet"

    def frames(self, camera: str) -> str:
        """Where a camera's frames go; the template's default with `{camera}`."""
        return f"{self.root}/frames/{camera}"

    def results(self, camera: str) -> str:
        """Where a camera's Results appear."""
        return f"{self.root}/results/{camera}"

    def rejects(self, camera: str) -> str:
        """Where a camera's Rejections appear."""
        return f"{self.root}/rejects/{camera}"

    def worker(self, worker: str) -> str:
        """Where a worker's retained WorkerStatus stands."""
        return f"{self.root}/workers/{worker}"

    def adoption(self, dead: str, worker: str) -> str:
        """Where the retained AdoptionClaim of a worker on a dead one's session stands."""
        return f"{self.worker(dead)}/adoption/{worker}"

    def beacon(self, worker: str) -> str:
        """Where the retained Beacon of a worker stands."""
        return f"{self.root}/beacons/{worker}"

    def model_command(self, worker: Optional[str] = None) -> str:
        """Where the retained ModelCommand for the fleet stands, or the one for a single worker."""
        return f"{self.root}/control/{worker}/model" if worker else f"{self.root}/control/model"

    def worker_action(self, worker: str) -> str:
        """Where a worker is told what to do, by a WorkerAction."""
        return f"{self.root}/control/{worker}/action"

    def camera(self, camera: str) -> str:
        """Where the retained CameraState of a camera stands."""
        return f"{self.root}/cameras/{camera}"

    def camera_event(self, camera: str) -> str:
        """Where a camera's CameraEvents appear."""
        return f"{self.root}/events/{camera}"

    def camera_settings(self, camera: str) -> str:
        """Where a camera's retained CameraSettings stand."""
        return f"{self.root}/settings/cameras/{camera}"

    def snapshot(self, camera: str) -> str:
        """Where the retained frame behind a camera's last change of label stands."""
        return f"{self.root}/snapshots/{camera}"

    def snapshot_notice(self, camera: str) -> str:
        """Where a worker says that it has published a camera's snapshot, so that the others need not."""
        return f"{self.snapshot(camera)}/notice"

    def observer(self, observer: str) -> str:
        """Where an observer's retained ObserverStatus stands."""
        return f"{self.root}/observers/{observer}"

    @property
    def announce(self) -> str:
        """Where anyone may ask for every camera's state, and for Home Assistant's announcements, again."""
        return f"{self.root}/control/announce"

    def replies(self, camera: str) -> str:
        """Below which topic the sender of a camera's frames may have the answers sent again."""
        return f"{self.root}/replies/{camera}"

    def is_reply(self, topic: str, camera: str) -> bool:
        """Whether the Response Topic of a camera's frame may be followed.

        Any other could make workers publish anywhere, or let one camera's answers pass for another's. Topics
        for which a broker drops the connection are not followed either: Mosquitto takes at most 200 levels
        and no control characters, but checks the levels only when something is published there.
        """
        prefix = f"{self.replies(camera)}/"
        rest = topic[len(prefix) :]
        return (
            topic.startswith(prefix)
            and 0 < len(rest) <= MAX_REPLY
            and rest.count("/") < MAX_REPLY_LEVELS
            and rest.isprintable()
            and not set(rest) & set("+#")
        )


class Template:
    """A topic with placeholders, each standing for exactly one level. One of them is `{camera}`."""

    def __init__(self, text: str) -> None:
        """Parse a template.

        Raises:
            ValueError: it has no `{camera}`, names one twice, or a placeholder is not a whole level.
        """
        levels = text.split("/")
        names = []
        patterns = []
        for level in levels:
            placeholder = _PLACEHOLDER.fullmatch(level)
            if placeholder:
                names.append(placeholder.group(1))
                patterns.append(f"(?P<{placeholder.group(1)}>[^/]*)")
            elif set(level) & set("{}+#\0"):
                raise ValueError(f"{text!r}: a level is plain text or one {{placeholder}}, not {level!r}")
            else:
                patterns.append(re.escape(level))
        if names.count("camera") != 1 or len(set(names)) != len(names):
            raise ValueError(f"{text!r}: needs {{camera}} once, and no placeholder twice")
        self.text = text
        #: The MQTT topic filter that matches the same topics.
        self.filter = "/".join("+" if _PLACEHOLDER.fullmatch(level) else level for level in levels)
        self._pattern = re.compile("/".join(patterns), re.DOTALL)

    def match(self, topic: str) -> Optional[Dict[str, str]]:
        """The placeholders' values in a topic, or None if the topic is not of this form."""
        match = self._pattern.fullmatch(topic)
        return match.groupdict() if match else None

    def __repr__(self) -> str:
        return f"Template({self.text!r})"
