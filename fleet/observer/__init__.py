"""The observer: follows all answers and statuses, and keeps the state of each camera."""
