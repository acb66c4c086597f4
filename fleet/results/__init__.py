"""`nanofleet results`: the answers, live."""
