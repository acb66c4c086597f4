"""`python -m fleet` is the nanofleet command."""

import signal
import sys

# Until a command has something to lose, Ctrl-C just ends it: importing torch turns a KeyboardInterrupt into
# whatever its C code makes of it.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from fleet.cli import main

if __name__ == "__main__":
    sys.exit(main())
