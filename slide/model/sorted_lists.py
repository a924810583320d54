"""Many ascending lists in one array, as a CSR matrix has them: looked up and enlarged where they are few that change.

SciPy goes through all lists to add to a few; here the time is that of a copy at most.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FEW = 1_000  # places

Array = npt.NDArray[Any]
Places = npt.NDArray[np.int64]


def lower_bound(values: Array, wanted: Array, first: Places, end: Places) -> tuple[Places, npt.NDArray[np.bool_]]:
    """The first place in values[first:end], which ascends, with what is wanted or more; and whether it is there.

    One search for each entry of wanted, first and end.
    """
    low, high, last = first.copy(), end.copy(), max(len(values) - 1, 0)
    while (low < high).any():
        middle = (low + high) // 2
        less = (low < high) & (values[np.minimum(middle, last)] < wanted)
        low, high = np.where(less, middle + 1, low), np.where(less, high, middle)
    return low, (low < end) & (values[np.minimum(low, last)] == wanted if len(values) else False)


def inserted(values: Array, at: Places, new: Array) -> Array:
    """A copy with new[i] before values[at[i]]; `at` ascends. Between few places, whole pieces are moved."""
    if len(at) > FEW:
        return np.insert(values, at, new)
    out = np.empty(len(values) + len(at), values.dtype)
    start = 0
    for i, place in enumerate(at.tolist()):
        out[start + i : place + i] = values[start:place]
        out[place + i] = new[i]
        start = place
    out[start + len(at) :] = values[start:]
    return out


def with_longer(indptr: Places, lists: Array) -> Places:
    """indptr after one entry more for each mention of a list."""
    more = np.bincount(lists + 1, minlength=len(indptr))
    return np.asarray(indptr + np.cumsum(more), np.int64)
