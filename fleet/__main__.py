"""`python -m fleet` is the nanofleet command."""

import signal
import sys
import threading

# Until a command has something to lose, Ctrl-C just ends it: importing torch turns a KeyboardInterrupt into
# whatever its C code makes of it.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from fleet import cli
from fleet.output import prepare_streams

#: Threads of a worker that may still be in an engine's code when it leaves, for example to warm up a model.
_IN_ENGINES = ("control", "engine-")


def main() -> int:
    """Run the command that this process was started for; returns the exit code."""
    prepare_streams()
    code = cli.main()
    if any(thread.name.startswith(_IN_ENGINES) for thread in threading.enumerate()):
        cli.end_at_once(code)  # PyTorch aborts if the interpreter is taken down around it
    return code


if __name__ == "__main__":
    sys.exit(main())
