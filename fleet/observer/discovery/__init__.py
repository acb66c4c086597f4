"""Home Assistant's MQTT discovery: what is announced of cameras and workers, and the one who announces it.

CameraState  ──> camera.announce ──┐
                                   ├──> Announcement (topic, payload) ──> Announcer ──> the broker, retained
WorkerStatus ──> worker.announce ──┘

One payload that cores from 2025.4 to 2026.11 take whole: they refuse a device for an unknown key at the top,
in `device` or in `origin`, and drop one in a component without a word.
"""
