"""Operating many members: the nanofleet command, the demo, the embedded broker."""

#: The packages of this repository.
OUR_PACKAGES = ("wire", "labels", "publisher", "worker", "fleet")
