"""`nanofleet cameras remove`: takes back all that the broker retains of cameras."""

from __future__ import annotations

from fleet.cameras.retained import open_fleet
from fleet.cameras.settings import CameraRemoveSettings
from fleet.console import open_console
from fleet.observer.discovery.camera import camera_topic


def remove(settings: CameraRemoveSettings) -> int:
    """Remove cameras, and say which.

    Returns:
        0 if there was something of each, else 1.

    Raises:
        NanofleetError: the broker refused, or was not there in time.
    """
    console = open_console()
    topics = settings.topics
    unknown = 0
    announced = {name: camera_topic(name, topics, settings.discovery_prefix) for name in settings.names}
    with open_fleet(settings, others=list(announced.values())) as fleet:
        for camera in announced:
            kept = [topics.camera_settings(camera), topics.snapshot(camera), topics.camera(camera)]
            there = [topic for topic in kept if topic in fleet.also]
            # Home Assistant's entities go first, because they read the others. The state goes last: by it a
            # run that was cut off is found to be not done.
            kept[:0] = [announced[camera]] if announced[camera] in fleet.also else []
            # Mosquitto shows nothing to a user that its ACL keeps from it; it refuses that user here.
            fleet.take_back(kept)
            unknown += not there
            console.print(f"{camera}: {'removed' if there else 'there is nothing of such a camera'}")
    return 1 if unknown else 0
