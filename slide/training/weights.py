"""Rows to train on, with how many times each counts: what `sample_weight` is turned into."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.engine.layout import FloatArray

FEW_ROWS = 2_000  # below, threads that race cost more than they give; rows are repeated rather than weighed
ROUNDING = 1e-6  # weights that are equal but for this count once each


@dataclass(frozen=True)
class TrainingRows:
    """Checked rows X and their labels Y, CSR; weights float32 [n], all over 0, or None: every row counts once.

    A row of weight w moves the model about as w rows like it would, one after the other.
    """

    X: sp.csr_array
    Y: sp.csr_array
    weights: FloatArray | None = None

    @classmethod
    def of(cls, X: sp.csr_array, Y: sp.csr_array, sample_weight: Any = None) -> TrainingRows:
        """Of checked matrices; rows of weight 0 are left out.

        Raises
        ------
        ValueError
            For what are no weights of so many rows.
        """
        weights = check_weights(sample_weight, X.shape[0])
        if weights is None:
            return cls(X, Y)
        kept = weights > 0
        if not kept.all():
            X, Y, weights = X[kept], Y[kept], weights[kept]
        return cls(X, Y, None if (weights == 1).all() else weights.astype(np.float32))

    def key(self) -> dict[str, str]:
        """What must be equal for a fit to go on from a checkpoint; nothing where every row counts once."""
        if self.weights is None:
            return {}
        return {"sample_weight": hashlib.blake2b(self.weights.astype("<f4").data, digest_size=16).hexdigest()}

    def take(self, rows: npt.NDArray[Any]) -> TrainingRows:
        """Some of them, by number or by a mask."""
        return TrainingRows(self.X[rows], self.Y[rows], None if self.weights is None else self.weights[rows])

    def scaled_up(self) -> TrainingRows:
        """With a mean weight of 1, where it is less: weights that add up to 1, as those of boosting do, are shares."""
        if self.weights is None or not len(self.weights):
            return self
        mean = float(self.weights.mean(dtype=np.float64))
        weights = self.weights if mean >= 1 else np.asarray(self.weights / mean, np.float32)
        return replace(self, weights=None if (abs(weights - 1) < ROUNDING).all() else weights)

    def repeated(self) -> TrainingRows:
        """Of few rows: each as often as its weight says, one after the other, if all say whole numbers."""
        if self.weights is None:
            return self
        n = float(self.weights.sum(dtype=np.float64))
        if not n < FEW_ROWS or (self.weights % 1).any():
            return self
        rows = np.repeat(np.arange(self.X.shape[0]), self.weights.astype(np.int64))
        return TrainingRows(self.X, self.Y).take(rows)


def check_weights(sample_weight: Any, n_rows: int) -> npt.NDArray[np.float64] | None:
    """Weights float64 [n_rows] from a vector or one number for all; None stays None.

    Raises
    ------
    ValueError
        For other shapes, and for what is not a finite number of 0 or more; names the row.
    """
    if sample_weight is None:
        return None
    found = type(sample_weight).__name__
    try:
        given = np.asarray(sample_weight)
        weights = given.astype(np.float64) if given.dtype.kind not in "cmM" else None
    except (TypeError, ValueError) as e:
        raise ValueError(f"sample_weight: found {found} of what are no numbers ({e}), wanted a number a row") from None
    if weights is None or np.ma.is_masked(sample_weight):
        what = "masked values" if weights is not None else f"dtype {given.dtype}"
        raise ValueError(f"sample_weight: found {found} of {what}, wanted a real number a row")
    if weights.ndim == 0:
        weights = np.full(n_rows, weights)
    if weights.shape != (n_rows,):
        raise ValueError(f"sample_weight: found shape {weights.shape}, wanted ({n_rows},): a number a row")
    bad = np.flatnonzero(~((weights >= 0) & (weights <= np.finfo(np.float32).max)))
    if len(bad):
        raise ValueError(f"sample_weight: found {weights[bad[0]]} in row {bad[0]}, wanted finite numbers, 0 or more")
    return weights
