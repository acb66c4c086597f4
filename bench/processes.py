"""What a way's processes cost: all descendants of the bench, since one way runs at a time.

/proc/PID/stat          parent, CPU time of the process and of the children it has waited for
/proc/PID/smaps_rollup  PSS: memory, with each shared page divided by those who share it
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence

from bench.checkouts import ROOT, of_tree
from wire.errors import NanofleetError

#: What a worker of several front ends calls the process that runs its model.
ENGINE_PROCESS = "engine process"
_TICKS = os.sysconf("SC_CLK_TCK")
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_LIBC = ctypes.CDLL(None)
#: Signals that end the bench, and with it all that it has started.
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stat(NamedTuple):
    """A process: its parent, and its CPU seconds with those of its children that have ended."""

    parent: int
    cpu_seconds: float


def adopt_orphans() -> None:
    """Have daemons whose parents are gone stay among this process's descendants."""
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent() -> None:
    """Have this process killed when the bench is, however that ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def descendants() -> List[int]:
    """Process ids of all descendants of this process."""
    children: Dict[int, List[int]] = {}
    for entry in Path("/proc").iterdir():
        stat = _stat(int(entry.name)) if entry.name.isdigit() else None
        if stat is not None:
            children.setdefault(stat.parent, []).append(int(entry.name))
    found, fresh = [], [os.getpid()]
    while fresh:
        fresh = [child for pid in fresh for child in children.get(pid, [])]
        found += fresh
    return found


def cpu_seconds() -> Dict[int, Stat]:
    """What each measured descendant has spent so far, and whose child it is."""
    stats = {pid: _stat(pid) for pid in _measured()}
    return {pid: stat for pid, stat in stats.items() if stat is not None}


def spent_since(before: Dict[int, Stat]) -> Dict[str, float]:
    """CPU seconds of all descendants since `before`, those of one name added up."""
    now, spent = cpu_seconds(), {}
    for pid, stat in now.items():
        seconds = stat.cpu_seconds - (before[pid].cpu_seconds if pid in before else 0.0)
        # A child that has ended meanwhile counts among its parent's, with what it had spent before, too.
        ended = (was for child, was in before.items() if was.parent == pid and child not in now)
        name = name_of(pid)
        spent[name] = spent.get(name, 0.0) + seconds - sum(was.cpu_seconds for was in ended)
    return spent


def _measured() -> List[int]:
    """The descendants that belong to a way; the one that watches the GPU does not."""
    return [pid for pid in descendants() if name_of(pid) != "nvidia-smi"]


def memory() -> Dict[str, int]:
    """Bytes of memory of all measured descendants (PSS), those of one name added up."""
    found: Dict[str, int] = {}
    for pid in _measured():
        with contextlib.suppress(OSError):  # it has ended
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    name = name_of(pid)
                    found[name] = found.get(name, 0) + int(line.split()[1]) * 1024
    return found


def name_of(pid: int) -> str:
    """What a process was started as: its module, its program, or what it calls itself."""
    try:
        # One of several that a worker forks: its command line is the worker's.
        if Path(f"/proc/{pid}/comm").read_text() == f"{ENGINE_PROCESS}\n":
            return ENGINE_PROCESS
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return "ended"
    if "-m" in words[:-1]:
        return words[words.index("-m") + 1]
    return Path(words[0].split(" ")[0]).name or "ended"


def _stat(pid: int) -> Optional[Stat]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name in parentheses may hold anything
    # In proc(5): ppid is field 4, utime to cstime are 14 to 17; these begin with field 3.
    return Stat(int(fields[1]), sum(map(int, fields[11:15])) / _TICKS)


def all_memory() -> int:
    """Bytes of memory of all measured descendants together."""
    return sum(memory().values())


class PeakMemory:
    """The most memory that all descendants, or some, had at once while the block lasted."""

    def __init__(self, of: Callable[[], int] = all_memory, every: float = 1.0) -> None:
        """Prepare to watch.

        Args:
            of: bytes of those that count.
            every: seconds between two looks.
        """
        self._of, self._every = of, every

    def __enter__(self) -> PeakMemory:
        self.bytes = self._of()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._ended.wait(self._every):
            self.bytes = max(self.bytes, self._of())

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()
        self.bytes = max(self.bytes, self._of())


class Process:
    """A server of some way, in a process group of its own, with its output in a file."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        variables: Optional[Dict[str, str]] = None,
        tree: Path = ROOT,
    ) -> None:
        self.command = command
        self.log = folder / f"{len(list(folder.iterdir()))}.log"
        place = of_tree(tree)
        place["env"].update(variables or {})
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                **place,
                # Ctrl-C in the terminal is the bench's, which then ends what it has started.
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    def wait_until(self, ready: Callable[[], bool], timeout: float = 180.0) -> None:
        """Wait until a condition holds.

        Raises:
            NanofleetError: the process ended, or the time is over; the text holds the end of its log.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            late = time.monotonic() > deadline
            if late or self.process.poll() is not None:
                why = "was not ready in time" if late else f"ended with {self.process.poll()}"
                raise NanofleetError(f"{' '.join(self.command)} {why}:\n{self.output()[-2000:]}")
            time.sleep(0.05)

    def output(self) -> str:
        """Its output so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """End, with the block, every descendant: by SIGTERM, then by SIGKILL. Signals wait until that is done."""
    try:
        yield
    finally:
        with _signals_wait():
            _end(signal.SIGTERM, lambda pid: name_of(pid) != "mosquitto")  # who leaves a broker needs it
            _end(signal.SIGTERM, lambda pid: True)
            _end(signal.SIGKILL, lambda pid: True)


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    main, came = threading.current_thread() is threading.main_thread(), set()
    previous = [(signum, signal.signal(signum, lambda each, _: came.add(each))) for signum in ENDS if main]
    try:
        yield
    finally:
        for signum, handler in previous:
            signal.signal(signum, handler)
        for signum in came:
            signal.raise_signal(signum)


def _end(signum: int, which: Callable[[int], bool], seconds: float = 10.0) -> None:
    """Send a signal to some descendants, and wait for their end."""
    for pid in filter(which, descendants()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)
    deadline = time.monotonic() + seconds
    while any(map(which, _reap())) and time.monotonic() < deadline:
        time.sleep(0.02)


def _reap() -> List[int]:
    """The descendants that are left, and live."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return descendants()


def listens(port: int) -> bool:
    """Whether a server listens on a port of this machine."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
        return True
    return False
