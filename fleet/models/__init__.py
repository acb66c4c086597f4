"""`nanofleet models`: list, show, download, export, use, reset."""
