"""`nanofleet workers` and `workers forget`, and the fleet as the other commands see it (watch.py)."""
