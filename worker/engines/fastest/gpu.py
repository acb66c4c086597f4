"""What tells a CUDA device from others, asked of its driver: which opens nothing on the device for that."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path
from typing import List

_DRIVER = "libcuda.so.1"
#: The driver's own release; the library above only knows the CUDA that it is for.
_RELEASE = Path("/sys/module/nvidia/version")


def gpu(device: str) -> List[str]:
    """The device's name, and its driver's releases; what of it can be known.

    Args:
        device: `cuda` or `cuda:N`, by CUDA's own numbers, as `CUDA_VISIBLE_DEVICES` may have changed them.
    """
    found = []
    with contextlib.suppress(OSError, AttributeError):  # no driver
        driver = ctypes.CDLL(_DRIVER)
        handle, number, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(256)
        if driver.cuInit(0) == 0 and driver.cuDriverGetVersion(ctypes.byref(number)) == 0:
            found.append(f"CUDA {number.value}")
        if (
            driver.cuDeviceGet(ctypes.byref(handle), int(device.partition(":")[2] or 0)) == 0
            and driver.cuDeviceGetName(name, len(name), handle) == 0
        ):
            found.append(name.value.decode(errors="replace"))
    with contextlib.suppress(OSError):
        found.append(_RELEASE.read_text(encoding="ascii", errors="replace").strip())
    return found
