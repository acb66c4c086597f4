"""Feeds images in. Never imports torch, numpy or the worker.

publish     the command: images out, answers in        settings   its flags
sources     the images to send                         shrink, shrinker   made smaller, in a decoder process
report      what the user sees, and the exit code      tally      what became of the frames, counted
publisher   frames out, answers in                     sent       one frame, until it is done
unanswered  the frames that are not done: without a spool given up as missing after --timeout
timeouts    the two clocks behind that: since the last answer, and without the broker
spooling    with a spool: resend sends again, in a thread; refused sets aside what the broker refuses for good
spool       the folder on the disk                     frame_files, contents   its files, read and listed
"""
