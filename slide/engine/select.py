"""Picks the engine: the C core where it was built, else the Numba reference. The one place that imports either."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from slide.checks import require
from slide.engine.hash_callback import guard
from slide.engine.state import Engine, LayerState, allocate_plain
from slide.model.pairs import WideState
from slide.model.quantize import CompressedPairs
from slide.optim import Optimizer

if TYPE_CHECKING:
    from types import ModuleType

BACKENDS = ("c", "numba")


def c_core() -> ModuleType | None:
    """The compiled module, None where it was not built."""
    try:
        from slide.engine import _c
    except ImportError:
        return None
    return _c


def resolve_backend(name: str | None) -> str:
    """The name itself, or for None "c" if it was built, else "numba" with a warning."""
    require(name is None or name in BACKENDS, "backend", name, "'c', 'numba' or None")
    built = c_core() is not None
    if name == "c" and not built:
        raise ImportError(
            "backend='c': the C extension slide.engine._c was not built; use backend='numba' or reinstall"
        )
    if name is None and not built:
        warnings.warn(
            "the C extension slide.engine._c was not built: training uses the slower Numba back end",
            RuntimeWarning,
            stacklevel=3,
        )
        return "numba"
    if name != "numba":
        forced_isa()
    return name or "c"


def make_engine(
    backend: str,
    layers: list[LayerState],
    wide: WideState | CompressedPairs | None,
    optimizer: Optimizer,
    loss: str,
    seed: int,
    n_threads: int,
) -> Engine:
    """An engine over the given arrays. SLIDE_ISA forces an instruction set of the C core."""
    if backend == "numba":
        from slide.engine.reference.engine import Engine as NumbaEngine

        layers, pairs = [layer.plain() for layer in layers], None if wide is None else wide.plain()
        return guard(NumbaEngine(layers, pairs, optimizer, loss, seed, n_threads), layers)
    core = c_core()
    assert core is not None
    return guard(core.Engine(layers, wide, optimizer, loss, seed, n_threads, forced_isa()), layers)


def forced_isa() -> str | None:
    """SLIDE_ISA, if set to an instruction set that is usable here."""
    isa, core = os.environ.get("SLIDE_ISA") or None, c_core()
    usable = core.isa_available() if core else []
    require(isa is None or isa in usable, "SLIDE_ISA", isa, f"one usable here: {', '.join(usable)}")
    return isa


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
