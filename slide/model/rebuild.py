"""Rebuilds tables: on the spot, or behind the back of training into a second set that is swapped in when it is full."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from slide.engine.layout import FloatArray
from slide.engine.protocol import Engine, Examples
from slide.engine.state import LayerState, LshState
from slide.layers import Layer
from slide.lsh import HashFamily, LearnContext
from slide.model.recall import is_time, measured_recall
from slide.model.snapshot import families


def rebuild(
    layers: Sequence[Layer],
    states: Sequence[LayerState],
    engine: Engine,
    examples: Examples | None,
    *,
    number: int,
    seed: int,
    step: int,
    recalls: dict[int, float],
    final: bool = False,
    refresh: bool = False,
) -> bool:
    """Fills the tables in these states by their engine; see Model.rebuild_tables. Whether any were only refreshed.

    number, seed : of the rebuild, from 0, and of the model: what is random follows from both
    step : samples that the model has been trained on
    recalls : gets what new tables find, where it is time to measure
    """
    refreshed = False
    for i, family in families(layers):
        queries = _queries(family, states[i], engine, i, examples)
        if queries is not None and (final or _may_learn(states[i], number)):
            rng = np.random.default_rng([seed, i, number])
            family.learn(states[i], LearnContext(queries, rng, partial(engine.hash_codes, i), final))
            tables_of(states[i]).row_digests[:] = 0
        refreshes = refresh and family.can_refresh(states[i], step)
        try:
            engine.rebuild(i, number, refreshes)
        except BaseException:
            tables_of(states[i]).row_digests[:] = 0  # rows may be marked whose codes were never made
            raise
        if examples is not None and queries is not None and family.wanted_recall and is_time(number):
            recalls[i] = measured_recall(states[i], engine, i, queries)
        refreshed |= refreshes
    return refreshed


def _may_learn(state: LayerState, number: int) -> bool:
    """Seldom where codes are remembered: what was learned in between would make all of them worthless."""
    return not tables_of(state).codes.size or number & (number - 1) == 0


def _queries(
    family: HashFamily, state: LayerState, engine: Engine, index: int, examples: Examples | None
) -> FloatArray | None:
    """Vectors that enter the layer, for families that learn from them; rows of weights where there are no others."""
    if not family.n_queries(state.n) or (examples is None and family.is_ready(tables_of(state))):
        return None
    queries = state.weights if examples is None else engine.hidden(examples, index)
    return queries if len(queries) and np.isfinite(queries).all() else None  # else training says where they overflow


def tables_of(state: LayerState) -> LshState:
    """The tables of a layer that has some."""
    assert state.lsh is not None
    return state.lsh
