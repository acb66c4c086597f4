"""`nanofleet cameras list | show | set | remove`: what the broker keeps of each camera."""
