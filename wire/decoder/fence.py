"""A system call filter for processes that decode untrusted pictures, raised once they have all they need.

raise_fence ──> from here on:  read the jobs, write the replies, take and give back memory, end
                all else:      "not permitted" (EPERM)

A codec that a picture has taken over then finds no file, no socket, no other process, and no way to run new
code, whoever the user is. It is a seccomp filter [1], by two calls of prctl that need no privilege and are as
old as Linux 3.5. What is not on the list fails instead of ending the process, so that a new allocator or C
library that asks for more than this one costs nothing.

[1] https://docs.kernel.org/userspace-api/seccomp_filter.html
"""

from __future__ import annotations

import os
import platform
import struct
import sys
from typing import Dict, List, NamedTuple, Tuple

_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_PR_SET_NO_NEW_PRIVS = 38

#: By machine: what the kernel calls it (AUDIT_ARCH), and which of the two numbers of a system call is its.
#: Other calls of the same machine, such as those of 32 bits and of x32, have another AUDIT_ARCH or number.
_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}

#: Numbers on x86-64 and aarch64 of what needs no look at its arguments.
_FREE: Dict[str, Tuple[int, int]] = {
    # Memory.
    **{"brk": (12, 214), "munmap": (11, 215), "mremap": (25, 216)},
    # Time, chance, and what a thread does when it waits or is interrupted.
    **{"clock_gettime": (228, 113), "gettimeofday": (96, 169), "getrandom": (318, 278)},
    **{"futex": (202, 98), "sched_yield": (24, 124), "restart_syscall": (219, 128), "rseq": (334, 293)},
    **{"rt_sigreturn": (15, 139), "rt_sigprocmask": (14, 135)},
    # The end.
    **{"close": (3, 57), "exit": (60, 93), "exit_group": (231, 94)},
}
_READ, _WRITE = (0, 63), (1, 64)
_MMAP, _MPROTECT, _MADVISE = (9, 222), (10, 226), (28, 233)
_PROT_EXEC, _MAP_ANONYMOUS = 4, 0x20
#: Advice from here on is an administrator's: it takes pages of memory out of use.
_MADV_HWPOISON = 100

# Of classic BPF: load a word of what the kernel says of the call; jump if it equals, is at least, has a bit;
# return.
_LOAD, _EQUALS, _AT_LEAST, _HAS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_ALLOW = 0x7FFF0000
_DENY = 0x00050000 | 1  # SECCOMP_RET_ERRNO, EPERM


class _Check(NamedTuple):
    """A look at the lower 32 bits of an argument; all that the kernel reads of these is in them."""

    argument: int
    test: int
    value: int
    wanted: bool


def raise_fence(jobs: int, replies: int) -> str:
    """Restrict this process, which must have a single thread, to the calls that it needs. This is final.

    Args:
        jobs: the file descriptor that it reads.
        replies: the file descriptor that it writes.

    Returns:
        Why there is no fence here; empty where there is one.
    """
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _MACHINES or struct.calcsize("P") != 8:
        return f"it is not known for {sys.platform} on {machine} ({struct.calcsize('P') * 8} bits)"
    try:
        import ctypes
    except ImportError as error:
        return f"this Python has no ctypes ({error})"
    code = _program(*_MACHINES[machine], jobs, replies)
    instructions = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(code) // 8, ctypes.addressof(instructions)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong]
    if prctl(_PR_SET_NO_NEW_PRIVS, 1, None, 0, 0) or prctl(
        _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(program), 0, 0
    ):
        return f"the kernel takes no system call filter ({os.strerror(ctypes.get_errno())})"
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except PermissionError:
        return ""
    return "the kernel takes a system call filter and does not keep to it"


def _program(arch: int, which: int, jobs: int, replies: int) -> bytes:
    """The filter: a machine's AUDIT_ARCH, then the number, then perhaps an argument."""
    lines = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_EQUALS, 1, 0, arch),
        (_RETURN, 0, 0, _DENY),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    for numbers in _FREE.values():
        lines += _allow(numbers[which])
    lines += _allow(_READ[which], _Check(0, _EQUALS, jobs, True))
    lines += _allow(_WRITE[which], _Check(0, _EQUALS, replies, True))
    no_code = _Check(2, _HAS, _PROT_EXEC, False)
    lines += _allow(_MMAP[which], no_code, _Check(3, _HAS, _MAP_ANONYMOUS, True))
    lines += _allow(_MPROTECT[which], no_code)
    lines += _allow(_MADVISE[which], _Check(2, _AT_LEAST, _MADV_HWPOISON, False))
    lines.append((_RETURN, 0, 0, _DENY))
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def _allow(number: int, *checks: _Check) -> List[Tuple[int, int, int, int]]:
    """Instructions that allow a call if all checks hold, deny it otherwise, and pass over all others."""
    body: List[Tuple[int, int, int, int]] = []
    for check in checks:
        # Little-endian, as both machines are: the lower half comes first.
        body.append((_LOAD, 0, 0, _ARGUMENTS_AT + 8 * check.argument))
        body.append((check.test, *((1, 0) if check.wanted else (0, 1)), check.value))
        body.append((_RETURN, 0, 0, _DENY))
    body.append((_RETURN, 0, 0, _ALLOW))
    return [(_EQUALS, 0, len(body), number), *body]
