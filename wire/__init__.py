"""The contract all members of a fleet speak: topics, messages, connection."""

__version__ = "0.1.0"
