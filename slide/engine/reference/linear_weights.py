"""The weights of one label's problem, spread out over all features, the bias last. Mirrors csrc/linear/weights.c."""

from __future__ import annotations

from typing import Any

import numpy as np

from slide.engine.reference.jit import kernel

ZERO, ONE = np.float32(0), np.float32(1)
START_BIAS = np.float32(-1)  # to which a bias is drawn: the margin of "not this label"


@kernel
def margin(w: Any, X: Any, row: Any) -> Any:
    """w . x with the bias, w's last: four sums side by side."""
    first, last = X.indptr[row], X.indptr[row + 1]
    whole = last - (last - first) % 4
    a, b, c, d = w[-1], ZERO, ZERO, ZERO
    for j in range(first, whole, 4):
        a += X.data[j] * w[X.indices[j]]
        b += X.data[j + 1] * w[X.indices[j + 1]]
        c += X.data[j + 2] * w[X.indices[j + 2]]
        d += X.data[j + 3] * w[X.indices[j + 3]]
    for j in range(whole, last):
        a += X.data[j] * w[X.indices[j]]
    return (a + b) + (c + d)


@kernel
def add_row(w: Any, X: Any, row: Any, factor: Any) -> None:
    """w += factor * {x, 1}"""
    for j in range(X.indptr[row], X.indptr[row + 1]):
        w[X.indices[j]] += factor * X.data[j]
    w[-1] += factor


@kernel
def add_rows(w: Any, X: Any, rows: Any, sign: Any, alpha: Any) -> None:
    """The weights that the multipliers stand for, in w, which is 0."""
    w[-1] = START_BIAS
    for i in range(len(rows)):
        if alpha[i] > 0:
            add_row(w, X, rows[i], alpha[i] * sign[i])


@kernel
def clear(w: Any, X: Any, rows: Any) -> None:
    """w = 0 where these rows have features, and its bias as it begins."""
    for row in rows:
        for j in range(X.indptr[row], X.indptr[row + 1]):
            w[X.indices[j]] = 0
    w[-1] = START_BIAS
