"""Picks the engine: the C core where it was built, else the Numba reference."""

from __future__ import annotations

import warnings

from slide.checks import among, require
from slide.engine.binding import c_core, forced_isa
from slide.engine.guard import guard
from slide.engine.protocol import Engine, StepRule
from slide.engine.quantized import CompressedPairs
from slide.engine.state import LayerState, WideState

BACKENDS = ("c", "numba")


def resolve_backend(name: str | None) -> str:
    """The name itself, or for None "c" if it was built, else "numba" with a warning."""
    require(name is None or among(name, BACKENDS), "backend", name, "'c', 'numba' or None")
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
    optimizer: StepRule,
    loss: str,
    seed: int,
    n_threads: int,
) -> Engine:
    """An engine over the given arrays. SLIDE_ISA forces an instruction set of the C core."""
    if backend == "numba":
        from slide.engine.reference.engine import Engine as NumbaEngine

        layers, pairs = [layer.dequantized() for layer in layers], None if wide is None else wide.dequantized()
        return guard(NumbaEngine(layers, pairs, optimizer, loss, seed, n_threads), layers)
    core = c_core()
    assert core is not None
    return guard(core.Engine(layers, wide, optimizer, loss, seed, n_threads, forced_isa()), layers)
