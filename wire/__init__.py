"""The contract all members of a fleet speak: topics, messages, connection.

settings       one field -> its flag (flags), its NANOFLEET_ variable, its key of --config (config_file)
broker         where the broker is, and how to log in (credentials)
topics         the fleet's, and where other topics have the camera
messages       the JSON on them: common to all is message, how long things may be is lengths
model_choice   which model a worker runs: the same as flags, as a file, and on the control topic
mqtt           one connection that keeps itself alive
decoder        a process that decodes pictures, and may die
picture        bytes of an image -> an upright picture
errors         what ends a command, and its exit code
printable      others' text, made fit for a terminal and a log; log_lines: which lines are never held back
signals, waiting, clock            shutting down; waiting until; whether the clock has been set
files, private, install            whole files and locks; closed to other users; what to install
"""

__version__ = "0.1.0"
