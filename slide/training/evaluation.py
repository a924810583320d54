"""Scores on rows held out during a fit. The calls are in slide/training/loop.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import scipy.sparse as sp

from slide import metrics
from slide.checks import Checked, check_XY, require
from slide.model.model import Model

KS = (1, 3, 5)
METRICS = tuple(f"{name}@{k}" for name in ("p", "psp", "ndcg", "psndcg", "recall") for k in KS)


def held_out(eval_set: Any, n_features: int, n_labels: int) -> tuple[sp.csr_array, sp.csr_array]:
    """The rows and labels of an evaluation set as checked matrices.

    Raises
    ------
    ValueError
        For what is no pair, or does not fit the network or each other; the message begins with eval_set.

    Labels that a classifier checked may have columns behind those of the network, for labels that it does not know.
    """
    X, y = _pair(eval_set, "a pair (X, y)")
    with _named():
        return check_XY(X, y, n_features, None if isinstance(y, Checked) else n_labels)  # which wants a label too


def widened(Y: sp.csr_array, n_labels: int) -> sp.csr_array:
    """Y with at least so many columns; those of labels that no row has come behind the others."""
    if Y.shape[1] >= n_labels:
        return Y
    return sp.csr_array((Y.data, Y.indices, Y.indptr), shape=(Y.shape[0], n_labels))


def _pair(eval_set: Any, wanted: str) -> tuple[Any, Any]:
    ok = isinstance(eval_set, tuple | list) and len(eval_set) == 2
    require(ok, "eval_set", eval_set if np.isscalar(eval_set) else type(eval_set).__name__, wanted)
    first, second = eval_set
    return first, second


@contextmanager
def _named() -> Iterator[None]:
    """What is wrong with an evaluation set is said of it, not of the training rows."""
    try:
        yield
    except ValueError as e:
        raise ValueError(f"eval_set: {e}") from e


class Evaluator:
    """Scores a network on rows that it is not trained on.

    X float32 CSR [n, n_features]; Y indicator CSR [n, at least n_labels], with labels that the network does not know
    behind the others; Y_train [rows, n_labels] for the propensities of PSP@k.
    """

    def __init__(self, X: sp.csr_array, Y: sp.csr_array, Y_train: sp.csr_array | None) -> None:
        self._X, self._Y = X, Y
        self._Y_train = None if Y_train is None else widened(Y_train, Y.shape[1])

    def __call__(self, net: Model) -> dict[str, float]:
        """Every metric of METRICS, as fractions."""
        k = min(max(KS), net.n_labels)
        ids = np.full((self._X.shape[0], max(KS)), -1, np.int32)
        ids[:, :k] = net.predict_topk(self._X, k)[0]
        found = metrics.evaluate(self._Y, ids, self._Y_train, KS)
        return {name: found[name] for name in METRICS}
