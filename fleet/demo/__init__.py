"""`nanofleet demo`."""
