"""Two decorators: `kernel` for leaves, `loop` for what Python calls, whose machine code is kept on disk.

Kernels release the GIL: threads are Python threads that each run one loop over their share of the samples, so nothing
depends on Numba's threading layers, and calls may run side by side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import _dynfunc, njit  # type: ignore[attr-defined]
from numba.core.caching import FunctionCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
_NOT_FROM_C: dict[str, Any] = {**_OPTIONS, "no_cfunc_wrapper": True}
#: Of what compiled code alone calls: to compile the way in from Python would take a third as long as the kernels do.
_INSIDE: dict[str, Any] = {**_NOT_FROM_C, "no_cpython_wrapper": True}


def _hash_of_sources() -> str:
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(p.read_bytes() for p in sources)).hexdigest()


_SOURCES = _hash_of_sources()


class _Cache(FunctionCache):
    """Numba's cache looks at the function's own file alone; a loop must be compiled again when a kernel changed."""

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return super()._index_key(sig, codegen), _SOURCES  # type: ignore[no-untyped-call]


class _Linked(JITCodeLibrary):
    """A kernel's code, linked into the loops that call it and optimized there: it gets no machine code of its own."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()  # type: ignore[no-untyped-call]
        self._verify_declare_only_symbols()  # type: ignore[no-untyped-call]
        self._finalized = True


class _Kernel(Compiler):
    """Numba optimizes and translates each function with all that it calls, which most kernels would be many times over.

    Half of the time of a loop's first call went there: 118 s for training and prediction, 65 s so.
    """

    def compile_extra(self, func: Callable[..., Any]) -> Any:
        state = self.state
        state.flags = state.flags.copy()
        state.flags.no_compile = True
        state.library = _Linked(state.targetctx.codegen(), func.__qualname__)  # type: ignore[no-untyped-call]
        result = super().compile_extra(func)  # type: ignore[no-untyped-call]
        made = result.fndesc
        nowhere = 0
        entry = _dynfunc.make_function(
            made.lookup_module(), func.__name__, "", nowhere, result.environment, (state.library,)
        )
        state.targetctx.insert_user_function(entry, made, [state.library])
        return result._replace(entry_point=entry)


def kernel(function: Callable[..., Any]) -> Any:
    """Compiles on first use by a loop. Arithmetic keeps its order: no fast-math."""
    return njit(pipeline_class=_Kernel, **_INSIDE)(function)


def sum_kernel(function: Callable[..., Any]) -> Any:
    """A kernel whose sums may be reordered, so that they vectorise; products and everything else stay exact."""
    return njit(fastmath={"reassoc"}, pipeline_class=_Kernel, **_INSIDE)(function)


def loop(function: Callable[..., Any]) -> Any:
    """A kernel that Python calls.

    Its machine code is kept beside the source, in the user's cache folder or in NUMBA_CACHE_DIR, if one is writable.
    """
    compiled = njit(**_NOT_FROM_C)(function)
    try:
        compiled._cache = _Cache(function)  # type: ignore[no-untyped-call]
    except RuntimeError:  # no writable folder: compile in every process
        return compiled
    return compiled
