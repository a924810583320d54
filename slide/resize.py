"""Labels that come later and labels taken out: the same network with other rows in its last layer.

What it has learnt of the labels that stay is kept to the bit, the state of the optimizer too. Hash functions follow the
number of labels, so the tables are made anew.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from slide._state import BIAS, IntArray, LayerState
from slide.layers import Sampled
from slide.model_file import Array, network_arrays
from slide.network import Network
from slide.wide import INITIAL_BIAS

OF_TABLES = ("slots", "signs", "positions", "frame")


def resized(net: Network, keep: IntArray, n_new: int) -> Network:
    """The network with the labels `keep` (ascending ids) and n_new unknown ones behind them."""
    net.refuse_compressed("labels that come or go")
    last = len(net.layers) - 1
    layer = net.layers[last]
    assert isinstance(layer, Sampled)
    arrays = network_arrays(net)
    stale = [f"layer{last}.{name}" for name in OF_TABLES]
    arrays = {k: a for k, a in arrays.items() if k not in stale and not k.startswith("leaves.")}
    arrays[f"layer{last}.rows"] = _rows(net.states[last], keep, n_new)
    if net.wide_state is not None:
        arrays |= _pairs(net, keep, n_new)
    again = Network(
        [*net.layers[:last], replace(layer, n=len(keep) + n_new)],
        wide=net.wide,
        optimizer=net.optimizer,
        rebuild=net.rebuild,
        loss=net.loss,
        batch_size=net.batch_size,
        storage=net.storage,
        n_threads=net.n_threads,
        seed=net.seed,
        backend=net.backend,
        arrays=arrays,
    )
    again.step, again.epoch, again.generation = net.step, net.epoch, net.generation
    _fill_tables(again, net)
    again.next_rebuild = again.step  # so that training centres the new hash functions first
    return again


def _rows(state: LayerState, keep: IntArray, n_new: int) -> Array:
    """New rows are 0 with the lowest bias there is: a label without examples is never predicted."""
    from slide import backends

    rows = backends.allocate((len(keep) + n_new, state.rows.shape[1]), state.rows.dtype, "the rows of the labels")
    rows[: len(keep)] = state.rows[keep]
    replace(state, rows=rows).tail[len(keep) :, BIAS] = state.biases.min()
    return rows


def _pairs(net: Network, keep: IntArray, n_new: int) -> dict[str, Array]:
    """The sparse part without the pairs of labels that go."""
    state = net.wide_state
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


def _fill_tables(again: Network, net: Network) -> None:
    """Hashes the rows, from what the old functions learned where their shape stays, until training learns anew."""
    for new, old in zip(again.states, net.states, strict=True):
        if new.lsh is None or old.lsh is None:
            continue
        if new.lsh.frame.shape == old.lsh.frame.shape:
            new.lsh.frame[...] = old.lsh.frame
        if new.lsh.directions.shape == old.lsh.directions.shape:
            new.lsh.directions[...] = old.lsh.directions
    again.rebuild_tables()
