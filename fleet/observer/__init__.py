"""The observer: one member of the fleet keeps what each camera sees, for all who don't read every frame.

observe        the command, and the observer inside a worker
task           what an observer is to do
observer       a thread's life: connects, and again after trouble
term           from one connect to its end: elects, and follows while it is active
election       which one of the observers is active
following      what the active one reads and publishes
restoring      what is retained as it begins, and when all of it has come
workers        the workers' statuses
cameras        the states of all cameras: what has changed, and what is due
camera         one camera's state
frame_ids      which of a camera's answers count
stable         the label that has held
vocabulary     what that may be
worker_clocks  how late an answer is, by clocks that disagree
bursts         taking many answers at a time where many come
publishing     what goes out: little at a time, the latest of each topic, only while active
discovery      what is announced to Home Assistant
"""
