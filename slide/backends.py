"""Picks the engine: the C core where it was built, else the Numba reference. The one place that imports either."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from slide._state import Engine, LayerState, allocate_plain
from slide.custom import guard
from slide.lsh import require
from slide.optim import Optimizer
from slide.wide import WideState

if TYPE_CHECKING:
    from types import ModuleType

BACKENDS = ("c", "numba")


def c_core() -> ModuleType | None:
    """The compiled module, None where it was not built."""
    try:
        from slide import _engine
    except ImportError:
        return None
    return _engine


def resolve_backend(name: str | None) -> str:
    """The name itself, or for None "c" if it was built, else "numba" with a warning."""
    require(name is None or name in BACKENDS, "backend", name, "'c', 'numba' or None")
    built = c_core() is not None
    if name == "c" and not built:
        raise ImportError("backend='c': the C extension slide._engine was not built; use backend='numba' or reinstall")
    if name is None and not built:
        warnings.warn(
            "the C extension slide._engine was not built: training uses the slower Numba back end",
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
    wide: WideState | None,
    optimizer: Optimizer,
    loss: str,
    seed: int,
    n_threads: int,
) -> Engine:
    """An engine over the given arrays. SLIDE_ISA forces an instruction set of the C core."""
    if backend == "numba":
        from slide.reference.engine import Engine as NumbaEngine

        return guard(NumbaEngine(layers, wide, optimizer, loss, seed, n_threads), layers)
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
    free = available_memory()
    if free is not None and needed > free:
        raise MemoryError(f"{what} need {needed:,} bytes, available are {free:,}: choose smaller sizes")
    core = c_core()
    if core is None:
        return allocate_plain(shape, dtype)
    array: npt.NDArray[Any] = core.allocate(shape, dtype)
    return array


def available_memory() -> int | None:
    """Bytes this process may still take, None where the system does not say."""
    try:
        with open("/proc/meminfo") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        return None
    return None
