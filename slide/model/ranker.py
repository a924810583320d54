"""Retrieve and rank: how what a network's tables return is ranked, and how that is learned.

A label's score is the log odds that it is one of the row's:

    curve(z) + logit_share * logit + sum_share * log sum e^logit,

where z is the score of its sparse row (sparse_rows.py) and the sum goes over the shortlist. Curve and shares are a
logistic regression on rows that neither network nor sparse rows were learned on: nothing is set by hand for a set, and
scores are log odds that mean something (Platt, 1999, with a curve in place of his line).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.engine.layout import FloatArray, IntArray
from slide.model.sparse_rows import SparseRows, check_rows

FIRST, STEP, N_KNOTS = -1.5, 0.25, 13  # of the curve: around the margins of -1 and 1
RIDGE = 1.0  # of the regression: as strong as a handful of pairs
SMALL_RIDGE = 0.1  # on the weights themselves: few rows that are told apart without a fault must not send them away
MOST_PASSES = 30
TOLERANCE = 1e-6
LARGEST = 127
DROPPED = 0.02  # of the sum of all squared weights: what compressing leaves out, smallest weights first

Floats = npt.NDArray[np.float64]
NO_ROWS = SparseRows(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), np.empty(0, np.float32), 0)


@dataclass
class Ranker:
    """What ranks a network's labels, in prediction.

    Attributes
    ----------
    rows : SparseRows
    n : int
        The network's best labels that are ranked.
    curve : float32 [N_KNOTS]
        At z = FIRST, FIRST + STEP, ...; straight in between and beyond.
    logit_share, sum_share : float
    """

    rows: SparseRows
    n: int
    curve: FloatArray
    logit_share: float
    sum_share: float
    first: float = FIRST
    step: float = STEP

    def __post_init__(self) -> None:
        self.rows = self.rows.narrowed()

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What a file holds, by name."""
        numbers = np.array([self.n, self.logit_share, self.sum_share, self.first, self.step], np.float32)
        found: dict[str, npt.NDArray[Any]] = {
            "indptr": self.rows.indptr,
            "features": self.rows.features,
            "bias": self.rows.bias,
        }
        found |= {"curve": self.curve, "numbers": numbers}
        if self.rows.weights is not None:
            return found | {"weights": self.rows.weights}
        assert self.rows.qweights is not None
        assert self.rows.scales is not None
        return found | {"codes": self.rows.qweights, "scales": self.rows.scales}

    @classmethod
    def stored(cls, found: Mapping[str, npt.NDArray[Any]], n_features: int, n_labels: int) -> Ranker:
        """The inverse of `arrays`; ValueError for arrays that the C core could not trust."""
        n, logit_share, sum_share, first, step = found["numbers"].tolist()
        rows = SparseRows(
            found["indptr"], found["features"], found.get("weights"), found["bias"], n_features,
            found.get("codes"), found.get("scales"),
        )  # fmt: skip
        check_rows(rows, n_labels)
        return cls(rows, round(n), found["curve"], logit_share, sum_share, first, step)

    def resized(self, keep: IntArray, n_new: int) -> Ranker:
        """With the rows of the labels `keep` and n_new empty ones, on the margin of "not this label", behind them."""
        assert self.rows.weights is not None
        matrix = self.rows.matrix()[keep]
        indptr = np.concatenate([matrix.indptr, np.full(n_new, matrix.indptr[-1])]).astype(np.int64)
        bias = np.concatenate([self.rows.bias[keep], np.full(n_new, -1, np.float32)])
        rows = SparseRows(indptr, matrix.indices.astype(np.int32), matrix.data, bias, self.rows.n_features)
        n = min(self.n, len(bias))
        return Ranker(rows, n, self.curve, self.logit_share, self.sum_share, self.first, self.step)

    def compressed(self) -> Ranker:
        """With weights of 8 bits, one scale a label; without the smallest, which have 2 % of all squares together.

        One threshold serves all labels: rows are on one scale, that of the margin, and a small weight of a label with
        few says as little as one of a label with many.
        """
        rows = self.rows
        if rows.weights is None:
            return self
        lengths = np.diff(rows.indptr)
        scales = np.zeros(len(lengths), np.float32)
        if len(rows.weights):
            starts = rows.indptr[:-1][lengths > 0]
            scales[lengths > 0] = np.maximum.reduceat(np.abs(rows.weights), starts) / np.float32(LARGEST)
        of_pair = np.repeat(np.where(scales > 0, scales, np.float32(1)), lengths)
        qweights = np.clip(np.rint(rows.weights / of_pair), -LARGEST, LARGEST).astype(np.int8)
        keep = (qweights != 0) & (np.abs(rows.weights) >= _least(rows.weights))
        kept = np.concatenate([[0], np.cumsum(keep, dtype=np.int64)])[rows.indptr]
        small = SparseRows(kept, rows.features[keep], None, rows.bias, rows.n_features, qweights[keep], scales)
        return Ranker(small, self.n, self.curve, self.logit_share, self.sum_share, self.first, self.step)

    def log_odds(self, z: Floats, logits: Floats, log_sums: Floats) -> Floats:
        """The same for every label: z and logits [n, n_labels], log_sums [n] over the shortlists."""
        return self.at(z) + self.logit_share * logits + self.sum_share * log_sums[:, None]

    def at(self, z: Floats) -> Floats:
        """The curve."""
        place = (z - self.first) / self.step
        i = np.clip(place, 0, len(self.curve) - 2).astype(np.int64)
        curve = self.curve.astype(np.float64)
        return np.asarray(curve[i] + (place - i) * (curve[i + 1] - curve[i]))


def calibrate(z: FloatArray, logits: FloatArray, hits: npt.NDArray[np.bool_]) -> tuple[FloatArray, float, float]:
    """Curve, logit_share and sum_share under which shortlists of labels are most probable.

    Parameters
    ----------
    z, logits : float32 [n, m]
        Of rows that nothing was learned on; -infinity in both where a place is empty.
    hits : bool [n, m]
        Whether a label is the row's.
    """
    used = np.isfinite(z) & np.isfinite(logits)
    sums = np.broadcast_to(log_sums(logits)[:, None], z.shape)
    columns = np.concatenate([_hats(z[used]), logits[used, None], sums[used, None]], axis=1)
    found = _logistic(columns, hits[used].astype(np.float64))
    steps = np.maximum(np.diff(found[:N_KNOTS]), 0)  # a better z is never worse
    curve = found[0] + np.concatenate([[0.0], np.cumsum(steps)])
    return curve.astype(np.float32), max(_single(found[N_KNOTS]), 0.0), _single(found[N_KNOTS + 1])


def _least(weights: FloatArray) -> float:
    """Weights under this in absolute value have DROPPED of the sum of squares between them, but for one of them."""
    sizes = np.sort(np.abs(weights))
    squares = np.cumsum(np.square(sizes, dtype=np.float64))
    return float(sizes[np.searchsorted(squares, DROPPED * squares[-1])]) if len(sizes) else 0.0


def _single(number: float) -> float:
    """The same in float32, as the engines have it."""
    return float(np.float32(number))


def log_loss(z: FloatArray, logits: FloatArray, hits: npt.NDArray[np.bool_]) -> float:
    """Of a shortlist's labels, on average over places in use, with the curve and shares that suit them best."""
    used = np.isfinite(z) & np.isfinite(logits)
    if not used.any():
        return 0.0
    curve, logit_share, sum_share = calibrate(z, logits, hits)
    ranker = Ranker(NO_ROWS, z.shape[1], curve, logit_share, sum_share)
    scores = ranker.log_odds(np.where(used, z, 0), np.where(used, logits, 0), log_sums(logits))
    return float(np.logaddexp(0, np.where(hits, -scores, scores))[used].mean())


def log_sums(logits: npt.NDArray[Any]) -> Floats:
    """log sum e^logit of each row, of those that are finite."""
    most = logits.max(axis=1, keepdims=True).astype(np.float64)
    most = np.where(np.isfinite(most), most, 0)
    with np.errstate(divide="ignore"):
        total = np.log(np.exp(logits - most).sum(axis=1)) + most[:, 0]
    return np.where(np.isfinite(total), total, 0)


def _hats(z: FloatArray) -> Floats:
    """[n, N_KNOTS]: z as a mixture of the two knots around it, outside of the last two."""
    place = (z.astype(np.float64) - FIRST) / STEP
    i = np.clip(place, 0, N_KNOTS - 2).astype(np.int64)
    hats = np.zeros((len(z), N_KNOTS))
    at = np.arange(len(z))
    hats[at, i], hats[at, i + 1] = 1 - (place - i), place - i
    return hats


def _logistic(columns: Floats, hits: Floats) -> Floats:
    """Weights of the most probable logistic model, by Newton's method; a curve without bends costs nothing."""
    n = columns.shape[1]
    bend = np.zeros((N_KNOTS - 2, n))
    for i in range(N_KNOTS - 2):
        bend[i, i : i + 3] = 1, -2, 1
    ridge = RIDGE * bend.T @ bend + SMALL_RIDGE * np.eye(n)
    w = np.zeros(n)
    w[:N_KNOTS] = np.log((hits.sum() + 1) / (len(hits) - hits.sum() + 1))

    def cost(w: Floats) -> float:
        u = columns @ w
        return float(np.logaddexp(0, u).sum() - hits @ u + w @ ridge @ w / 2)

    now = cost(w)
    for _ in range(MOST_PASSES):
        p = 1 / (1 + np.exp(-np.clip(columns @ w, -36, 36)))
        pull = columns.T @ (hits - p) - ridge @ w
        step = np.linalg.solve((columns * (p * (1 - p))[:, None]).T @ columns + ridge, pull)
        before = now
        while (now := cost(w + step)) > before and np.abs(step).max() > TOLERANCE:
            step /= 2  # far from the solution a whole step may overshoot
        w += step
        if before - now < TOLERANCE * len(hits):
            break
    return w


def found_among(Y: sp.csr_array, ids: IntArray) -> npt.NDArray[np.bool_]:
    """[n, m]: which of the labels ids [n, m] (-1: none) are the row's; Y has ascending labels in a row."""
    if not Y.nnz:
        return np.zeros(ids.shape, np.bool_)
    rows = np.arange(Y.shape[0], dtype=np.int64)
    true = np.repeat(rows, np.diff(Y.indptr)) * Y.shape[1] + Y.indices
    asked = rows[:, None] * Y.shape[1] + ids
    at = np.minimum(np.searchsorted(true, asked), len(true) - 1)
    return np.asarray((true[at] == asked) & (ids >= 0))
