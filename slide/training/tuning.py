"""Measures what new tables find, and enlarges those that find too little, while a network trains."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from slide.engine.layout import FloatArray
from slide.engine.protocol import Engine
from slide.engine.state import LayerState
from slide.layers import Sampled
from slide.lsh import HashFamily
from slide.model.parameters import add_tables

if TYPE_CHECKING:
    from slide.network import Network

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


def grow_tables(net: Network) -> bool:
    """Enlarges the tables of layers whose last rebuild found less than their family wants. Whether there were any."""
    from slide.model.rebuild import families

    grown = False
    for i, family in families(net.layers):
        bigger = family.grown(net.states[i].n)
        if net.recalls.get(i, 1.0) < family.wanted_recall and bigger is not None:
            del net.recalls[i]  # of tables that are gone
            _change_family(net, i, bigger)
            grown = True
    return grown


def _change_family(net: Network, index: int, family: HashFamily) -> None:
    """The larger tables start as copies of the present ones."""
    state = net.states[index]
    old = state.lsh
    assert old is not None
    try:
        add_tables(state, family, np.random.default_rng([net.seed, index]), {})
    except MemoryError:
        return
    layer = net.layers[index]
    assert state.lsh is not None
    assert isinstance(layer, Sampled)
    family.grow(old, state.lsh)
    net.replace_layer(index, replace(layer, lsh=family))
