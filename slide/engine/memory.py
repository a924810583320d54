"""How much memory there is, and arrays that are refused before they would not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from slide.engine.binding import c_core


def allocate_plain(shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any]:
    """Zeroed 64-byte aligned array from NumPy's own memory, for when the C core is not built."""
    dtype = np.dtype(dtype)
    n_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.zeros(n_bytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + n_bytes].view(dtype).reshape(shape)


def allocate(shape: tuple[int, ...], dtype: Any, what: str) -> npt.NDArray[Any]:
    """Zeroed array for parameters or tables.

    Raises
    ------
    MemoryError
        Naming the bytes needed and the bytes there are, before anything is taken.
    """
    needed = int(np.prod([int(s) for s in shape], dtype=object)) * np.dtype(dtype).itemsize
    require_memory(needed, f"{what} need", "choose smaller sizes")
    core = c_core()
    if core is None:
        return allocate_plain(shape, dtype)
    array: npt.NDArray[Any] = core.allocate(shape, dtype)
    return array


def require_memory(needed: int, what: str, advice: str = "") -> None:
    """Raises MemoryError "`what` N bytes, available are M: `advice`" where there is not so much."""
    free = available_memory()
    if free is not None and needed > free:
        raise MemoryError(f"{what} {needed:,} bytes, available are {free:,}" + (f": {advice}" if advice else ""))


def available_memory() -> int | None:
    """Bytes this process may still take, None where the system does not say.

    The least of what the machine has, what the control group allows and what the address space may grow by (ulimit -v).
    """
    found = [f() for f in (_machine_memory, _group_memory, _address_space)]
    return min((n for n in found if n is not None), default=None)


def _machine_memory() -> int | None:
    try:
        with open("/proc/meminfo") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        return None
    return None


def _group_memory(root: str = "/sys/fs/cgroup") -> int | None:
    """Version 2, then 1; "max" means no limit."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            with open(f"{root}/{limit}") as most, open(f"{root}/{used}") as now:
                return max(0, int(most.read()) - int(now.read()))
        except (OSError, ValueError):
            continue
    return None


def _address_space() -> int | None:
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit == resource.RLIM_INFINITY:
            return None
        with open("/proc/self/statm") as file:
            return max(0, limit - int(file.read().split()[0]) * resource.getpagesize())
    except (ImportError, OSError):  # not on every system
        return None
