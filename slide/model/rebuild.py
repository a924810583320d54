"""Rebuilds tables: on the spot, or behind the back of training into a second set that is swapped in when it is full."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from slide.engine.layout import FloatArray
from slide.engine.protocol import Engine, Examples
from slide.engine.state import LayerState, LshState
from slide.layers import Layer, Sampled
from slide.lsh import HashFamily, Lesson
from slide.model.recall import is_time, measured_recall

if TYPE_CHECKING:
    from slide.network import Network


def families(layers: Sequence[Layer]) -> list[tuple[int, HashFamily]]:
    """Numbers and hash families of the layers with tables."""
    return [(i, layer.lsh) for i, layer in enumerate(layers) if isinstance(layer, Sampled) and layer.lsh is not None]


def rebuild(
    net: Network,
    states: Sequence[LayerState],
    engine: Engine,
    examples: Examples | None,
    generation: int,
    *,
    at_the_end: bool = False,
    refresh: bool = False,
) -> bool:
    """Fills the tables in these states by their engine; see Network.rebuild_tables. Whether any were only refreshed."""
    refreshed = False
    for i, family in families(net.layers):
        queries = _queries(family, states[i], engine, i, examples)
        if queries is not None and (at_the_end or _may_learn(states[i], generation)):
            rng = np.random.default_rng([net.seed, i, generation])
            family.learn(states[i], Lesson(queries, rng, partial(engine.hash_codes, i), at_the_end))
            _tables(states[i]).marks[:] = 0
        refreshes = refresh and family.can_refresh(states[i], net.step)
        try:
            engine.rebuild(i, generation, refreshes)
        except BaseException:
            _tables(states[i]).marks[:] = 0  # rows may be marked whose codes were never made
            raise
        if examples is not None and queries is not None and family.wanted_recall and is_time(generation):
            net.recalls[i] = measured_recall(states[i], engine, i, queries)
        refreshed |= refreshes
    return refreshed


def _may_learn(state: LayerState, generation: int) -> bool:
    """Seldom where codes are remembered: what was learned in between would make all of them worthless."""
    return not _tables(state).codes.size or generation & (generation - 1) == 0


def _queries(
    family: HashFamily, state: LayerState, engine: Engine, index: int, examples: Examples | None
) -> FloatArray | None:
    """Vectors that enter the layer, for families that learn from them; rows of weights where there are no others."""
    if not family.n_queries(state.n) or (examples is None and family.is_ready(_tables(state))):
        return None
    queries = state.weights if examples is None else engine.hidden(examples, index)
    return queries if len(queries) and np.isfinite(queries).all() else None  # else training says where they overflow


def _tables(state: LayerState) -> LshState:
    assert state.lsh is not None
    return state.lsh
