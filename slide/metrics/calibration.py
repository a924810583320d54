"""Whether probabilities are right as often as they say: the reliability curve, and the mean distance from it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from slide.checks import require
from slide.metrics.matched import Matched, check_k
from slide.metrics.predicted import Predicted

MOST_BINS = 1_000


class ReliabilityBin(NamedTuple):
    """Predictions with probabilities of `low` to `high`: how many, what they say on average, and how many are true."""

    low: float
    high: float
    n: int
    said: float
    true: float


def reliability(
    Y_true: Any, ids: Any, probabilities: Any = None, k: int = 1, n_bins: int = 15, *, labels: Any = None
) -> list[ReliabilityBin]:
    """The first k predictions of each row by what they say, in bins of equal width, empty ones left out.

    Parameters
    ----------
    Y_true, labels
        As for ``precision_at_k``.
    ids, probabilities : arrays [n, at least k]
        Labels, -1 or None for none, and numbers of 0 to 1; or both as a pair, as ``predict_topk(X, k, proba=True)``
        returns them.
    k : int
        1: the best label of each row, of which most is said. More: every label of the first k counts.

    Raises
    ------
    ValueError
        As ``precision_at_k``; for shapes that differ, numbers outside 0 to 1, or a number of bins that makes no sense.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> Y = sp.csr_array([[1, 0, 1], [0, 1, 0]])
    >>> [(b.n, b.said, b.true) for b in reliability(Y, [[0], [2]], [[0.75], [0.25]], n_bins=2)]
    [(1, 0.25, 0.0), (1, 0.75, 1.0)]
    """
    if probabilities is None:
        require(isinstance(ids, tuple) and len(ids) == 2, "probabilities", None, "numbers of 0 to 1, or a pair in ids")
        ids, probabilities = ids
    ids, p = np.asarray(ids), np.asarray(probabilities, np.float64)
    if ids.ndim != 2 or p.shape != ids.shape:
        raise ValueError(f"probabilities: found shape {p.shape}, wanted that of ids, {ids.shape}")
    given = Predicted.of(ids)
    check_k(k, given)
    matched = Matched.of(Y_true, given, k, labels=labels)
    there = matched.ids >= 0
    p, hits = p[:, :k][there], matched.hits[there]
    if bad := np.flatnonzero(~((p >= 0) & (p <= 1))).tolist():
        raise ValueError(f"probabilities: found {p[bad[0]]}, wanted 0 to 1: predict_topk(proba=True)")
    if isinstance(n_bins, bool) or not isinstance(n_bins, int | np.integer) or not 1 <= n_bins <= MOST_BINS:
        raise ValueError(f"n_bins: found {n_bins!r}, wanted a whole number, 1 to {MOST_BINS:,}")
    place = np.minimum((p * n_bins).astype(np.int64), n_bins - 1)
    counts, said, true = (np.bincount(place, weights, n_bins) for weights in (None, p, hits))
    return [
        ReliabilityBin(
            i / n_bins, (i + 1) / n_bins, int(counts[i]), float(said[i] / counts[i]), float(true[i] / counts[i])
        )
        for i in np.flatnonzero(counts).tolist()
    ]


def calibration_error(
    Y_true: Any, ids: Any, probabilities: Any = None, k: int = 1, n_bins: int = 15, *, labels: Any = None
) -> float:
    """How far probabilities are from the share that is true, on average over predictions (ECE: Guo et al., ICML 2017).

    The distance within each bin of ``reliability``, whose arguments and errors these are, weighed by its predictions;
    0 where there are none. A hundred rows cannot show less than about 0.04, by chance alone; 10,000 not less than 0.01.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> Y = sp.csr_array([[1, 0, 1], [0, 1, 0]])
    >>> calibration_error(Y, [[0], [2]], [[0.75], [0.25]], n_bins=2)
    0.25
    """
    bins = reliability(Y_true, ids, probabilities, k, n_bins, labels=labels)
    n = sum(b.n for b in bins)
    return float(sum(b.n * abs(b.said - b.true) for b in bins) / max(n, 1))
