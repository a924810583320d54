"""Labels that come later and labels taken out: the same model with other rows in its last layer.

What it has learned of the labels that stay is kept to the bit, the state of the optimizer too. Hash functions follow
the number of labels, so the tables are made anew; there are no leaves until training has made some.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np

from slide.engine import memory
from slide.engine.layout import BIAS, IntArray
from slide.engine.state import LayerState
from slide.layers import Sampled
from slide.model.leaves import PREFIX
from slide.model.model import Model
from slide.model.pairs import INITIAL_BIAS
from slide.model.snapshot import TABLE_ARRAYS, Array, Snapshot, layer_config

M = TypeVar("M", bound=Model)


def resized(model: M, keep: IntArray, n_new: int) -> M:
    """The model with the labels `keep` (ascending ids) and n_new unknown ones behind them."""
    model.refuse_compressed("labels that come or go")
    if model.is_stored:
        raise ValueError("labels that come or go: found a model with memory=, wanted one whose rows are all in memory")
    last = len(model.layers) - 1
    layer = model.layers[last]
    assert isinstance(layer, Sampled)
    whole = model.snapshot()
    arrays = whole.without(PREFIX, *(f"layer{last}.{name}" for name in TABLE_ARRAYS))
    arrays[f"layer{last}.rows"] = _rows(model.states[last], keep, n_new)
    if model.wide_state is not None:
        arrays |= _pairs(model, keep, n_new)
    if model.ranker is not None:
        arrays |= {f"rank.{name}": a for name, a in model.ranker.resized(keep, n_new).arrays.items()}
    layers = [*whole.config["layers"][:last], layer_config(replace(layer, n=len(keep) + n_new))]
    # No tables yet, so they are not filled: the old hash functions come first.
    progress = whole.config["progress"] | {"tables_step": -1}
    snapshot = Snapshot(whole.config | {"layers": layers, "progress": progress}, arrays)
    again = type(model).of(snapshot, model.n_threads, model.backend, model.own_family)
    _fill_tables(again, model)
    again.next_rebuild = again.step  # so that training centres the new hash functions first
    return again


def _rows(state: LayerState, keep: IntArray, n_new: int) -> Array:
    """New rows are 0 with the lowest bias there is: a label without examples is never predicted."""
    rows = memory.allocate((len(keep) + n_new, state.rows.shape[1]), state.rows.dtype, "the rows of the labels")
    rows[: len(keep)] = state.rows[keep]
    replace(state, rows=rows).row_scalars[len(keep) :, BIAS] = state.biases.min()
    return rows


def _pairs(model: Model, keep: IntArray, n_new: int) -> dict[str, Array]:
    """The sparse part without the pairs of labels that go."""
    state = model.wide_state
    assert state is not None
    place = np.full(len(state.bias), -1, np.int32)
    place[keep] = np.arange(len(keep), dtype=np.int32)
    stays = place[state.labels] >= 0
    kept = np.concatenate([[0], np.cumsum(stays, dtype=np.int64)])
    return {
        "wide.indptr": kept[state.indptr],
        "wide.labels": place[state.labels[stays]],
        "wide.weights": state.weights[stays],
        "wide.bias": np.concatenate([state.bias[keep], np.full(n_new, INITIAL_BIAS, np.float32)]),
    }


def _fill_tables(again: Model, model: Model) -> None:
    """Hashes the rows, from what the old functions learned where their shape stays, until training learns anew."""
    for new, old in zip(again.states, model.states, strict=True):
        if new.lsh is None or old.lsh is None:
            continue
        if new.lsh.frame.shape == old.lsh.frame.shape:
            new.lsh.frame[...] = old.lsh.frame
        if new.lsh.directions.shape == old.lsh.directions.shape:
            new.lsh.directions[...] = old.lsh.directions
    again.rebuild_tables()
