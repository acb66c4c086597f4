"""Operating many members: the nanofleet command, the demo, the embedded broker."""
