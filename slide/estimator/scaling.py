"""What is done to the rows of X before the network sees them, in training and in prediction alike.

Sparse rows are scaled to unit length: what matters is which features a row has. Dense tables of few features carry
their information in how far a value lies from its mean, which unit length would destroy; their columns are centred and
scaled instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.checks import among, check_finite, require
from slide.csr import csr_of_dense
from slide.engine.layout import FloatArray
from slide.engine.one_row import Row, nonzeros, unit_row

DENSE = 0.5  # share of entries that are not 0 over which X is a dense table
ROWS_AT_ONCE = 4096
CONSTANT = 1e-6  # a column whose standard deviation is less than this share of its mean is one value and rounding

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scaling:
    """kind "unit", "none" or "standard"; mean and factor float64 [n_features] for the last, else empty."""

    kind: str
    mean: Floats
    factor: Floats

    @classmethod
    def of(cls, X: sp.csr_array, normalize: bool | str, weights: FloatArray | None = None) -> Scaling:
        """What `normalize` means for training rows X, which count so many times."""
        require(
            isinstance(normalize, bool) or among(normalize, ("auto",)), "normalize", normalize, "'auto', True or False"
        )
        none = np.empty(0)
        if normalize == "auto" and is_dense(X):
            return cls("standard", *_standard(X, weights))
        return cls("unit" if normalize else "none", none, none)

    def __call__(self, X: sp.csr_array) -> sp.csr_array:
        """The rows as the network sees them."""
        if self.kind == "unit":
            return unit_rows(X)
        if self.kind == "standard":
            scaled, first = np.empty(X.shape, np.float32), 0
            with np.errstate(over="ignore"):  # what is too large for float32 is refused as infinite
                for part in _blocks(X):
                    scaled[first : first + len(part)] = (part - self.mean) * self.factor
                    first += len(part)
            return check_finite(csr_of_dense(scaled))
        return X

    def row(self, row: Row) -> Row | None:
        """The same for one row; None where it is to be seen by `__call__`."""
        if self.kind == "standard":
            dense = np.zeros(len(self.mean))
            dense[row[0]] = row[1]
            with np.errstate(over="ignore"):
                return nonzeros(((dense - self.mean) * self.factor).astype(np.float32))
        return unit_row(row) if self.kind == "unit" else row

    def config(self) -> dict[str, Any]:
        """As JSON values."""
        return {"kind": self.kind, "mean": self.mean.tolist(), "factor": self.factor.tolist()}

    @classmethod
    def restored(cls, config: Mapping[str, Any], n_features: int) -> Scaling:
        """The inverse of `config`."""
        mean, factor = np.asarray(config["mean"], np.float64), np.asarray(config["factor"], np.float64)
        kind, shape = config["kind"], (n_features if config["kind"] == "standard" else 0,)
        require(kind in ("unit", "none", "standard"), "scaling", kind, "unit, none or standard")
        require(mean.shape == factor.shape == shape, "scaling", mean.shape, f"{shape[0]:,} features")
        require(bool(np.isfinite([mean, factor]).all()), "scaling", "NaN or infinity", "finite numbers")
        return cls(kind, mean, factor)


def is_dense(X: sp.csr_array) -> bool:
    """Whether more than half of the entries are not 0."""
    return X.nnz > DENSE * X.shape[0] * X.shape[1]


def _standard(X: sp.csr_array, weights: FloatArray | None) -> tuple[Floats, Floats]:
    """Means, and factors that give every column the same variance and rows a mean squared length of about 1."""
    if weights is not None:
        return _standardised(*_weighted_moments(X, weights.astype(np.float64)))
    n = X.shape[0]
    mean = sum(block.sum(axis=0) for block in _blocks(X)) / n
    return _standardised(mean, np.sqrt(sum(((block - mean) ** 2).sum(axis=0) for block in _blocks(X)) / n))


def _weighted_moments(X: sp.csr_array, weights: Floats) -> tuple[Floats, Floats]:
    parts, total = np.split(weights, range(ROWS_AT_ONCE, len(weights), ROWS_AT_ONCE)), weights.sum()
    mean = sum(w @ block for w, block in zip(parts, _blocks(X), strict=True)) / total
    return mean, np.sqrt(sum(w @ (block - mean) ** 2 for w, block in zip(parts, _blocks(X), strict=True)) / total)


def _standardised(mean: Floats, deviation: Floats) -> tuple[Floats, Floats]:
    n_features = len(mean)
    varies = deviation > CONSTANT * np.abs(mean)
    factor = np.zeros(n_features)
    factor[varies] = 1 / (deviation[varies] * np.sqrt(n_features))
    return mean, factor


def _blocks(X: sp.csr_array) -> Iterator[Floats]:
    """Rows as dense float64, few at a time."""
    whole = X.data.reshape(X.shape) if X.nnz == X.shape[0] * X.shape[1] else None
    for first in range(0, X.shape[0], ROWS_AT_ONCE):
        some = slice(first, first + ROWS_AT_ONCE)
        yield (X[some].toarray() if whole is None else whole[some]).astype(np.float64)


def unit_rows(X: sp.csr_array) -> sp.csr_array:
    """Rows scaled to Euclidean length 1, empty rows left; X itself if they are so already."""
    lengths = np.diff(X.indptr)
    row = np.repeat(np.arange(len(lengths)), lengths)
    norms = np.sqrt(np.bincount(row, np.square(X.data, dtype=np.float64), len(lengths)))
    if np.all((norms == 0) | (np.abs(norms - 1) < 1e-4)):
        return X
    factors = 1 / np.where(norms > 0, norms, 1)
    scaled = copy(X)  # another matrix of the same places: to make one anew takes longer than a row's scaling
    scaled.data = (X.data * factors[row]).astype(np.float32)
    return scaled
