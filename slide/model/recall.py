"""What tables find of the exact best neurons."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from slide.engine.layout import FloatArray
from slide.engine.protocol import Engine
from slide.engine.state import LayerState

TOP = 10
FIRST = 4  # rebuild after which recall is measured
QUERIES, PRODUCTS = 64, 2**23  # at most so many queries, and so many products with neurons


def is_time(number: int) -> bool:
    """Rebuild 4, 8, 16 and so on: before, queries are still those of an untrained network."""
    return number >= FIRST and number & (number - 1) == 0


def measured_recall(state: LayerState, engine: Engine, index: int, queries: FloatArray) -> float:
    """Share of the ten best neurons of some of the queries [m, fan_in] that a training sample would retrieve."""
    some = queries[: max(1, min(QUERIES, PRODUCTS // state.n))]
    k, wanted = min(TOP, state.n), max(state.n_active - state.n_random, 1)
    found = engine.retrieve(index, some, min(wanted, state.n))
    return found_share(state.top(some, k), found)


def found_share(exact: npt.NDArray[Any], found: npt.NDArray[Any]) -> float:
    """Recall: the mean share of a query's exact best [m, k] that is among what was found for it [m, n], -1 padded."""
    return float(np.mean([np.isin(e, f).mean() for e, f in zip(exact, found, strict=True)]))
