"""What tells a CUDA device from others, asked of its driver: which opens nothing on the device for that."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path
from typing import Any, List, Optional

_DRIVER = "libcuda.so.1"
#: The driver's own release; the library above only knows the CUDA that it is for.
_RELEASE = Path("/sys/module/nvidia/version")


def gpu(device: str) -> List[str]:
    """The device's name, and its driver's releases; what of it can be known.

    Args:
        device: `cuda` or `cuda:N`, by CUDA's own numbers, as `CUDA_VISIBLE_DEVICES` may have changed them.
    """
    found = []
    driver = _driver()
    if driver is not None and driver.cuInit(0) == 0:
        number, name = ctypes.c_int(), ctypes.create_string_buffer(256)
        if driver.cuDriverGetVersion(ctypes.byref(number)) == 0:
            found.append(f"CUDA {number.value}")
        handle = _handle(driver, device)
        if handle is not None and driver.cuDeviceGetName(name, len(name), handle) == 0:
            found.append(name.value.decode(errors="replace"))
    with contextlib.suppress(OSError):
        found.append(_RELEASE.read_text(encoding="ascii", errors="replace").strip())
    return found


def is_missing(device: str) -> bool:
    """Whether the driver says that there is no such device, as with `CUDA_VISIBLE_DEVICES=""`.

    Of a driver that is not found, a library may yet know where it lies.
    """
    driver = _driver()
    return driver is not None and (driver.cuInit(0) != 0 or _handle(driver, device) is None)


def _driver() -> Optional[Any]:
    """The driver's library, if it is found."""
    try:
        return ctypes.CDLL(_DRIVER)
    except OSError:
        return None


def _handle(driver: Any, device: str) -> Optional[ctypes.c_int]:
    """The driver's own number of a device, if there is one; it has to be started."""
    handle = ctypes.c_int()
    number = int(device.partition(":")[2] or 0)
    return handle if driver.cuDeviceGet(ctypes.byref(handle), number) == 0 else None
