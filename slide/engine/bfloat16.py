"""Numbers of 16 bits with the range of float32: its sign, its exponent and the first 7 bits of its fraction."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Halves = npt.NDArray[np.uint16]


def to_bfloat16(values: npt.NDArray[np.float32]) -> Halves:
    """The nearest, ties to even; values are finite and round to what is."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def to_float32(halves: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The same numbers."""
    return (halves.astype(np.uint32) << 16).view(np.float32)
