"""One network out of the parts of all workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.distributed.training.loop import SharedTraining
from slide.distributed.training.moving import stacked
from slide.distributed.training.shard import Range
from slide.distributed.transport.group import collect
from slide.engine import memory
from slide.layers import Sampled
from slide.lsh import QueryCells

Arrays = dict[str, npt.NDArray[Any]]


def merged_arrays(training: SharedTraining) -> Arrays | None:
    """At the first worker: all parameters, by the names that files have for them; elsewhere None. Called by all."""
    shard = training.shard
    rows = _in_order(training, shard.input.rows, training.feature_ranges, training.features.inverse)
    labels = _in_order(training, shard.output.rows, training.label_ranges, training.labels.inverse)
    pairs = None if training.pairs is None else _pairs(training)
    if rows is None or labels is None:
        return None
    return {"layer0.rows": rows, "layer1.rows": labels} | hash_functions(training) | (pairs or {})


def _in_order(
    training: SharedTraining, own: npt.NDArray[Any], ranges: Sequence[Range], inverse: Any
) -> npt.NDArray[Any] | None:
    """Rows of all workers, by their old numbers."""
    parts = collect(training.group, own)
    if parts is None:
        return None
    rows = memory.allocate((len(inverse), own.shape[1]), own.dtype, "the rows of all workers")
    for (first, end), part in zip(ranges, parts, strict=True):
        rows[inverse[first:end]] = part
    return rows


def hash_functions(training: SharedTraining) -> Arrays:
    """The cells' centres, which all workers have; lists are filled anew."""
    lsh = training.shard.output.lsh
    if lsh is None or not lsh.directions.any():
        return {}
    return {"layer1.signs": lsh.directions, "layer1.positions": lsh.positions, "layer1.frame": lsh.frame}


def merged_layer(training: SharedTraining) -> Sampled:
    """The output layer, with as many cells as the workers' tables grew to."""
    layer, lsh = training.spec.output, training.shard.output.lsh
    if lsh is None or not isinstance(layer.lsh, QueryCells) or layer.lsh.resolved_K(layer.n) == lsh.K:
        return layer
    return replace(layer, lsh=replace(layer.lsh, K=lsh.K))


def _pairs(training: SharedTraining) -> Arrays | None:
    """The sparse part of all labels."""
    assert training.pairs is not None
    state, found = training.pairs.state, []
    for array in (state.indptr, state.labels, state.weights, state.bias):
        parts = collect(training.group, array)
        if parts is not None:
            found.append(parts)
    if not found:
        return None
    inverse, shape = training.labels.inverse, (len(state.indptr) - 1, len(training.labels.inverse))
    blocks = [
        sp.csr_array((weights, inverse[first:end][labels], indptr), shape=shape)
        for (first, end), indptr, labels, weights in zip(training.label_ranges, *found[:3], strict=True)
    ]
    bias = np.empty(len(inverse), np.float32)
    bias[inverse] = np.concatenate(found[3])
    whole = stacked(blocks)
    return {
        "wide.indptr": whole.indptr,
        "wide.labels": whole.indices.astype(np.int32),
        "wide.weights": whole.data,
        "wide.bias": bias,
    }
