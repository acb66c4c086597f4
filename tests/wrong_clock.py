"""A clock that is wrong, for processes that are started to see it: a library that comes before the system's.

libfaketime takes the functions that wait as well, and has them fail where the clock is far behind.
"""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
from pathlib import Path
from typing import Iterator

from tests.harness import need

_SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long *ahead;

__attribute__((constructor)) static void look(void) {
    const char *name = getenv("WRONG_CLOCK");
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    void *there = mmap(NULL, sizeof *ahead, PROT_READ, MAP_SHARED, file, 0);
    ahead = there == MAP_FAILED ? NULL : there;
}

int clock_gettime(clockid_t id, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, id, now);
    if (!failed && ahead && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) now->tv_sec += *ahead;
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *stored) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (stored) *stored = now.tv_sec;
    return now.tv_sec;
}
"""


class WrongClock:
    """What the wall clock shows to processes that are started while it is `shown`; it can be set later."""

    def __init__(self, folder: Path, ahead: float) -> None:
        """Compile the library that shows it.

        Args:
            folder: for its files.
            ahead: seconds that it is ahead of the true time.
        """
        self._file, library, source = (folder / f"wrong_clock{suffix}" for suffix in ("", ".so", ".c"))
        source.write_text(_SOURCE)
        subprocess.run([need("gcc"), "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
        self._environment = {"LD_PRELOAD": str(library), "WRONG_CLOCK": str(self._file)}
        self._file.write_bytes(bytes(8))
        self.set(ahead)

    def set(self, ahead: float) -> None:
        """Have it jump."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("@l", int(ahead)))

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Start processes that see it while the block lasts."""
        before = {name: os.environ.get(name) for name in self._environment}
        os.environ.update(self._environment)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
