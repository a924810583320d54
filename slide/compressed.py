"""Models that only predict: weights of 8 bits, with one scale for each row and for each feature of the sparse part.

A weight w of a row becomes the whole number nearest to 127 w / max |w|, so it is off by at most 1 / 254 of the row's
largest one. Pairs of the sparse part whose number is 0 say nothing and are left out. Kernels multiply the numbers as
they are (csrc/kernels/kernels_body.h); nothing is expanded but a block of rows at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide._state import BIAS, TAIL, FloatArray, LayerState, pad
from slide.lsh import require
from slide.wide import PairState, WideState, check_pairs

LARGEST = 127
NARROW = 2**16  # labels that fit 16 bits
ROWS_AT_ONCE = 4096

Codes = npt.NDArray[np.int8]


@dataclass
class CompressedLayer(LayerState):
    """A layer of codes int8 [n_rows, padded], scales and bias_values float32 [n_rows]; rows is empty."""

    codes: Codes = field(default_factory=lambda: np.empty((0, 0), np.int8))
    scales: FloatArray = field(default_factory=lambda: np.empty(0, np.float32))
    bias_values: FloatArray = field(default_factory=lambda: np.empty(0, np.float32))

    @property
    def is_compressed(self) -> bool:
        return True

    @property
    def n_bytes(self) -> int:
        return self.codes.nbytes + self.scales.nbytes + self.bias_values.nbytes

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {"codes": self.codes, "scales": self.scales, "biases": self.bias_values}

    def weights_of(self, rows: Any) -> FloatArray:
        """float32 [n, width], made at each call."""
        return expanded(self.codes[rows, : self.width], self.scales[rows])

    @property
    def biases(self) -> FloatArray:
        """float32 [n]."""
        if self.kind != "sparse_input":
            return self.bias_values
        return self.weights_of(slice(self.fan_in, None))[0] if self.bias else np.zeros(self.n, np.float32)

    def plain(self) -> LayerState:
        """The layer with rows of floats, for an engine that knows no codes."""
        from slide.backends import allocate

        rows = allocate((len(self.codes), self.padded + TAIL), np.float32, "the rows of an expanded layer")
        rows[:, : self.padded] = expanded(self.codes, self.scales)
        rows[:, self.padded + BIAS] = self.bias_values
        options = {name: getattr(self, name) for name in LayerState.__dataclass_fields__}
        return LayerState(**options | {"rows": rows})


@dataclass
class CompressedPairs(PairState):
    """Pairs that only predict: codes int8 with one scale a feature, and labels uint16 where there are no more than
    65,536 of them."""

    STORED: ClassVar[tuple[str, ...]] = ("codes", "scales", "bias", "labels", "indptr")

    codes: Codes
    scales: FloatArray

    @property
    def weights(self) -> FloatArray:
        """float32, made at each call."""
        return self.codes.astype(np.float32) * np.repeat(self.scales, np.diff(self.indptr))

    def matrix(self) -> sp.csr_array:
        """The weights as a sparse [n_features, n_labels] matrix."""
        return self.plain().matrix()

    def plain(self) -> WideState:
        """The pairs with weights of floats, for an engine that knows no codes."""
        shared = {f.name: getattr(self, f.name) for f in fields(PairState)}
        return WideState(**shared | {"labels": self.labels.astype(np.int32), "weights": self.weights})


def expanded(codes: Codes, scales: FloatArray) -> FloatArray:
    """float32, of the shape of the codes; of one row, too, with its scale."""
    return codes.astype(np.float32) * scales[..., None]


# -- from floats -------------------------------------------------------------------------------------------------------


def layer_arrays(state: LayerState) -> dict[str, npt.NDArray[Any]]:
    """What takes the place of a layer's rows."""
    if state.is_compressed:
        return state.arrays
    codes = np.zeros((len(state.rows), state.padded), np.int8)
    scales = np.zeros(len(state.rows), np.float32)
    for first in range(0, len(codes), ROWS_AT_ONCE):
        some = slice(first, first + ROWS_AT_ONCE)
        rows = state.weights_of(some)
        scales[some] = np.abs(rows).max(axis=1) / np.float32(LARGEST)
        codes[some, : state.width] = _nearest(rows, scales[some, None])
    biases = np.zeros(len(codes), np.float32) if state.kind == "sparse_input" else state.biases.copy()
    return {"codes": codes, "scales": scales, "biases": biases}


def pair_arrays(wide: WideState | CompressedPairs) -> dict[str, npt.NDArray[Any]]:
    """What takes the place of the pairs and their weights."""
    if isinstance(wide, CompressedPairs):
        return wide.arrays
    lengths = np.diff(wide.indptr)
    scales = np.zeros(len(lengths), np.float32)
    if len(wide.weights):
        starts = wide.indptr[:-1][lengths > 0]
        scales[lengths > 0] = np.maximum.reduceat(np.abs(wide.weights), starts) / np.float32(LARGEST)
    codes = _nearest(wide.weights, np.repeat(scales, lengths))
    keep = codes != 0
    kept = np.concatenate([[0], np.cumsum(keep, dtype=np.int64)])
    labels = wide.labels[keep].astype(_label_dtype(len(wide.bias)))
    return {
        "codes": codes[keep],
        "scales": scales,
        "bias": wide.bias.copy(),
        "labels": labels,
        "indptr": kept[wide.indptr],
    }


def _nearest(values: FloatArray, scales: FloatArray) -> Codes:
    safe = np.where(scales > 0, scales, np.float32(1))
    return np.clip(np.rint(values / safe), -LARGEST, LARGEST).astype(np.int8)


def _label_dtype(n_labels: int) -> type[Any]:
    return np.uint16 if n_labels <= NARROW else np.int32


# -- from a file -------------------------------------------------------------------------------------------------------


def make_layer(state: LayerState, n_rows: int, stored: Mapping[str, npt.NDArray[Any]]) -> CompressedLayer:
    """A layer of these arrays, whose options are those of `state`."""
    codes, scales, biases = (stored.get(name) for name in ("codes", "scales", "biases"))
    _check("codes", codes, (n_rows, pad(state.width)), np.int8)
    _check("scales", scales, (n_rows,), np.float32)
    _check("biases", biases, (n_rows,), np.float32)
    options = {name: getattr(state, name) for name in LayerState.__dataclass_fields__}
    return CompressedLayer(**options, codes=codes, scales=scales, bias_values=biases)  # type: ignore[arg-type]


def make_pairs(plain: WideState, stored: Mapping[str, npt.NDArray[Any]]) -> CompressedPairs:
    """Pairs of these arrays, whose options are those of `plain`, an empty state of the right sizes."""
    n_features, n_labels = len(plain.indptr) - 1, len(plain.bias)
    found = {name: stored.get(name) for name in ("indptr", "labels", "codes", "scales", "bias")}
    codes = found["codes"]
    assert codes is not None
    _check("indptr of the pairs", found["indptr"], (n_features + 1,), np.int64)
    _check("codes of the pairs", codes, (codes.size,), np.int8)
    _check("labels of the pairs", found["labels"], codes.shape, _label_dtype(n_labels))
    _check("scales of the pairs", found["scales"], (n_features,), np.float32)
    _check("bias of the pairs", found["bias"], (n_labels,), np.float32)
    ratios = {name: getattr(plain, name) for name in ("lr_ratio", "bias_ratio", "deep_share")}
    pairs = CompressedPairs(**found, **ratios)  # type: ignore[arg-type]
    check_pairs(pairs.indptr, pairs.labels, n_labels)
    return pairs


def _check(name: str, array: npt.NDArray[Any] | None, shape: tuple[int, ...], dtype: type[Any]) -> None:
    """The C core trusts sizes."""
    found = "none" if array is None else (array.shape, array.dtype.name)
    ok = array is not None and array.shape == shape and array.dtype == dtype
    require(ok, name, found, f"{shape} {np.dtype(dtype).name}")
