"""Rows that a classifier's fit holds out to be scored by, as a share of the training rows or as a pair of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from slide.checks import require
from slide.engine.layout import IntArray
from slide.estimator.encoding import Encoding, Pair
from slide.training.weights import TrainingRows


def hold_out(
    rows: TrainingRows, eval_set: Any, encoding: Encoding, seed: int, n_threads: int | None = None
) -> tuple[TrainingRows, Pair | None]:
    """The rows to train on, and the pair to score by if there is one, as the network sees them.

    Parameters
    ----------
    rows : all there are
    eval_set : a share of the rows, a pair (X, y) as the classifier takes them, or None
    n_threads : that may read it

    Raises
    ------
    ValueError
        For what is no pair and no share, or does not fit; the message begins with eval_set.
    """
    if isinstance(eval_set, float | np.floating):
        train, held = split(rows.X.shape[0], float(eval_set), seed)
        return rows.take(train), (rows.X[held], rows.Y[held])
    if eval_set is None:
        return rows, None
    return rows, encoded(eval_set, encoding, n_threads, wanted="a pair (X, y), or a share of the rows like 0.1")


def encoded(
    eval_set: Any,
    encoding: Encoding,
    n_threads: int | None = None,
    name: str = "eval_set",
    wanted: str = "a pair (X, y)",
) -> Pair:
    """An evaluation set as a classifier's network sees it; labels that the classifier does not know are missed.

    Raises
    ------
    ValueError
        For what is no pair, or does not fit; the message begins with eval_set.
    """
    ok = isinstance(eval_set, tuple | list) and len(eval_set) == 2
    found = eval_set if np.isscalar(eval_set) else type(eval_set).__name__
    require(ok, name, found, wanted)
    X, y = eval_set
    try:
        rows, Y = encoding.test_pair(X, y, f"{name}: ", n_threads)
        known = Y[:, : len(encoding.labels.classes)].nnz
        require(known > 0, "y", f"no known label in {Y.shape[0]:,} rows", "labels to score by")
        return rows, Y
    except ValueError as e:
        raise ValueError(f"{name}: {e}") from e


def split(n: int, share: float, seed: int) -> tuple[IntArray, IntArray]:
    """Rows to train on and rows held out, both ascending; equal seeds give equal parts.

    Raises
    ------
    ValueError
        If one of the parts would be empty.
    """
    held = round(n * share) if 0 < share < 1 else 0
    require(0 < held < n, "eval_set", share, f"a share of the {n:,} rows that leaves some on both sides")
    order = np.random.default_rng([seed, 7]).permutation(n).astype(np.int32)
    return np.sort(order[held:]), np.sort(order[:held])
