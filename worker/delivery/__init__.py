"""Frames from their receipt to their ack. Knows no model.

frame           one frame: its id, its times, its payload; `check_age` refuses a stale one
unacked         the frames in hand, acked in the order in which they came
scheduler       which frames are at work, and which camera's turn is next
crash_journal   the frames at work when the worker last died
clocks          works out how old a frame is, although no two clocks agree, and refuses none
outbox          answers on their way out
"""
