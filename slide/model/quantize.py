"""Makes models of 8 bits, which only predict: one scale for each row and for each feature of the sparse part.

A weight w of a row becomes the whole number nearest to 127 w / max |w|, so it is off by at most 1 / 254 of the row's
largest one. Pairs of the sparse part whose number is 0 say nothing and are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from slide.checks import require
from slide.engine.layout import FloatArray, pad
from slide.engine.quantized import CompressedLayer, CompressedPairs, QWeights
from slide.engine.state import LayerState, WideState
from slide.model.pairs import check_pairs

LARGEST = 127
NARROW = 2**16  # labels that fit 16 bits
ROWS_AT_ONCE = 4096


def layer_arrays(state: LayerState) -> dict[str, npt.NDArray[Any]]:
    """What takes the place of a layer's rows."""
    if state.is_compressed:
        return state.arrays
    qweights = np.zeros((state.n_rows, state.padded), np.int8)
    scales = np.zeros(state.n_rows, np.float32)
    for first in range(0, len(qweights), ROWS_AT_ONCE):
        some = slice(first, first + ROWS_AT_ONCE)
        rows = state.weights_of(some)
        scales[some] = np.abs(rows).max(axis=1) / np.float32(LARGEST)
        qweights[some, : state.width] = _nearest(rows, scales[some, None])
    has_own = state.kind not in ("sparse_input", "dense_input")
    biases = state.biases.copy() if has_own else np.zeros(len(qweights), np.float32)
    return {"codes": qweights, "scales": scales, "biases": biases}


def pair_arrays(wide: WideState | CompressedPairs) -> dict[str, npt.NDArray[Any]]:
    """What takes the place of the pairs and their weights."""
    if isinstance(wide, CompressedPairs):
        return wide.arrays
    lengths = np.diff(wide.indptr)
    scales = np.zeros(len(lengths), np.float32)
    if len(wide.weights):
        starts = wide.indptr[:-1][lengths > 0]
        scales[lengths > 0] = np.maximum.reduceat(np.abs(wide.weights), starts) / np.float32(LARGEST)
    qweights = _nearest(wide.weights, np.repeat(scales, lengths))
    keep = qweights != 0
    kept = np.concatenate([[0], np.cumsum(keep, dtype=np.int64)])
    labels = wide.labels[keep].astype(_label_dtype(len(wide.bias)))
    return {
        "codes": qweights[keep],
        "scales": scales,
        "bias": wide.bias.copy(),
        "labels": labels,
        "indptr": kept[wide.indptr],
    }


def _nearest(values: FloatArray, scales: FloatArray) -> QWeights:
    safe = np.where(scales > 0, scales, np.float32(1))
    return np.clip(np.rint(values / safe), -LARGEST, LARGEST).astype(np.int8)


def _label_dtype(n_labels: int) -> type[Any]:
    return np.uint16 if n_labels <= NARROW else np.int32


def make_layer(state: LayerState, n_rows: int, stored: Mapping[str, npt.NDArray[Any]]) -> CompressedLayer:
    """A layer of these arrays, whose options are those of `state`."""
    qweights, scales, biases = (stored.get(name) for name in ("codes", "scales", "biases"))
    _check("codes", qweights, (n_rows, pad(state.width)), np.int8)
    _check("scales", scales, (n_rows,), np.float32)
    _check("biases", biases, (n_rows,), np.float32)
    options = {name: getattr(state, name) for name in LayerState.__dataclass_fields__}
    return CompressedLayer(**options, qweights=qweights, scales=scales, bias_values=biases)  # type: ignore[arg-type]


def make_pairs(plain: WideState, stored: Mapping[str, npt.NDArray[Any]]) -> CompressedPairs:
    """Pairs of these arrays, whose options are those of `plain`, an empty state of the right sizes."""
    n_features, n_labels = len(plain.indptr) - 1, len(plain.bias)
    found = {name: stored.get(name) for name in ("indptr", "labels", "scales", "bias")}
    qweights = stored.get("codes")
    assert qweights is not None
    _check("indptr of the pairs", found["indptr"], (n_features + 1,), np.int64)
    _check("codes of the pairs", qweights, (qweights.size,), np.int8)
    _check("labels of the pairs", found["labels"], qweights.shape, _label_dtype(n_labels))
    _check("scales of the pairs", found["scales"], (n_features,), np.float32)
    _check("bias of the pairs", found["bias"], (n_labels,), np.float32)
    ratios = {name: getattr(plain, name) for name in ("lr_ratio", "bias_ratio", "deep_share")}
    pairs = CompressedPairs(qweights=qweights, **found, **ratios)  # type: ignore[arg-type]
    check_pairs(pairs.indptr, pairs.labels, n_labels)
    return pairs


def _check(name: str, array: npt.NDArray[Any] | None, shape: tuple[int, ...], dtype: type[Any]) -> None:
    """The C core trusts sizes."""
    found = "none" if array is None else (array.shape, array.dtype.name)
    ok = array is not None and array.shape == shape and array.dtype == dtype
    require(ok, name, found, f"{shape} {np.dtype(dtype).name}")
