"""What tables find of the exact best neurons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from slide.engine.layout import FloatArray
from slide.engine.protocol import Engine
from slide.engine.state import LayerState

if TYPE_CHECKING:
    pass

TOP = 10
FIRST = 4  # rebuild after which recall is measured
QUERIES, PRODUCTS = 64, 2**23  # at most so many queries, and so many products with neurons


def is_time(generation: int) -> bool:
    """Rebuild 4, 8, 16 and so on: before, queries are still those of an untrained network."""
    return generation >= FIRST and generation & (generation - 1) == 0


def measured_recall(state: LayerState, engine: Engine, index: int, queries: FloatArray) -> float:
    """Share of the ten best neurons of some of the queries [m, fan_in] that a training sample would retrieve."""
    some = queries[: max(1, min(QUERIES, PRODUCTS // state.n))]
    k, wanted = min(TOP, state.n), max(state.n_active - state.n_random, 1)
    found = engine.retrieve(index, some, min(wanted, state.n))
    return float(np.mean([np.isin(_best(state, query, k), f).mean() for query, f in zip(some, found, strict=True)]))


def _best(state: LayerState, query: FloatArray, k: int) -> npt.NDArray[np.int64]:
    """The k neurons with the largest logits."""
    logits = state.weights @ query + state.biases
    return np.argpartition(logits, len(logits) - k)[-k:]
