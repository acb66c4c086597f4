"""Frames from their receipt to their ack: in hand (unacked), in turn (scheduler), answered (outbox)."""
