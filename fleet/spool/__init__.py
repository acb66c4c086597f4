"""`nanofleet spool`: frames of the publisher that have no answer."""
