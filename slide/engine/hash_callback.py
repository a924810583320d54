"""Hash families of the user's own: a function pointer for the engines, and the way back for what goes wrong in it.

Both engines call C's `slide_custom_hash` (csrc/slide.h). A family in pure Python is behind a ctypes callback, which
takes the GIL: right, and slow. Exceptions cannot pass through C, so they wait here until the engine has returned.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

PROTOTYPE = ctypes.CFUNCTYPE(
    None,
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_float),
    ctypes.c_int64,
    ctypes.c_int64,
    ctypes.POINTER(ctypes.c_uint32),
)


def signature() -> Any:
    """The Numba signature of a family's compiled hash, for `numba.cfunc`."""
    import numba

    types: Any = numba.types
    floats, codes = types.CPointer(types.float32), types.CPointer(types.uint32)
    return types.void(types.voidptr, floats, types.int64, types.int64, codes)


class CustomHash:
    """A family's codes as a function pointer (`address`, `context`), and the first exception that `codes` raised."""

    def __init__(self, family: Any, K: int, dim: int, choices: Any) -> None:
        self.family, self.dim, self.choices = family, dim, choices
        self.limit = 2 ** (K * family.bits_per_hash)
        self.error: BaseException | None = None
        self._function: Any = family.compiled(choices)
        self.context = 0
        if self._function is None:
            self._function = PROTOTYPE(self._call)
            self.address = ctypes.cast(self._function, ctypes.c_void_p).value or 0
            return
        self.address = int(self._function.address)
        if isinstance(choices, np.ndarray):
            self.choices = np.ascontiguousarray(choices)
            self.context = self.choices.ctypes.data

    def _call(self, context: Any, x: Any, n: int, stride: int, codes: Any) -> None:
        out = np.ctypeslib.as_array(codes, shape=(n, self.family.L))
        out[:] = 0
        if self.error is not None:
            return
        try:
            # A vector may end where its memory does, short of a whole stride.
            vectors = np.ctypeslib.as_array(x, shape=((n - 1) * stride + self.dim,))
            rows = np.lib.stride_tricks.as_strided(vectors, (n, self.dim), (4 * stride, 4), writeable=False)
            out[:] = self._checked(self.family.codes(rows, self.choices), n)
        except BaseException as error:  # Ctrl-C too: it is raised again by whoever called the engine
            self.error = error

    def _checked(self, codes: Any, n: int) -> Any:
        name, shape = f"{type(self.family).__name__}.codes()", (n, self.family.L)
        codes = np.asarray(codes)
        if codes.shape != shape or codes.dtype.kind not in "iub":
            raise ValueError(f"{name}: found {codes.dtype} {codes.shape}, wanted integers {shape}")
        if codes.size and not 0 <= codes.min() <= codes.max() < self.limit:
            raise ValueError(f"{name}: found codes {codes.min()} to {codes.max()}, wanted 0 to {self.limit - 1}")
        return codes
