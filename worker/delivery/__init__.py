"""Frames from their receipt to their ack. Knows no model.

frame           one frame: its id, its times, its payload
unacked         the frames in hand, acked in the order in which they came
scheduler       which frames are at work, and which camera's turn is next
crash_journal   the frames at work when the worker last died
clocks          how old a frame is, although no two clocks agree
outbox          answers on their way out
"""
