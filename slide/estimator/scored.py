"""A classifier's predictions scored by every metric, whatever form the labels come in; the metrics: slide/metrics/."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide import metrics
from slide.checks import Checked, check_lengths, require, whole
from slide.estimator.encoding import Encoding
from slide.estimator.labels import Truth
from slide.network import Network
from slide.training.evaluation import widened


def evaluate(
    net: Network,
    encoding: Encoding,
    X: Any,
    y: Any,
    n_candidates: int | None,
    *,
    Y_train: Any,
    ks: Sequence[int],
    filter_labels: Any,
    **options: Any,
) -> dict[str, float]:
    """See SlideClassifier.evaluate; options are those of slide.metrics.evaluate."""
    for k in ks:
        require(whole(k) >= 1, "ks", k, "whole numbers, 1 or more")
    require(len(ks) > 0, "ks", "none", "at least one")
    rows, truth = encoding.test_rows(X, y, n_threads=net.n_threads)
    require(rows.shape[0] > 0 or truth.Y.shape[0] > 0, "X and y", "no rows", "at least one to score by")
    check_lengths(rows.shape[0], truth.Y.shape[0])
    train = None if Y_train is None else _training_labels(encoding, truth, Y_train)
    pairs = None if filter_labels is None else _pairs(truth, filter_labels)
    width = max(ks) + (0 if pairs is None or not len(pairs) else int(np.bincount(pairs[:, 0]).max()))
    k = min(width, net.n_labels)
    ids = np.full((rows.shape[0], width), -1, np.int32)
    ids[:, :k] = net.predict_topk(Checked(rows), k, n_candidates=n_candidates)[0]
    return metrics.evaluate(truth.Y, ids, train, ks, filter_labels=pairs, **options)


def _training_labels(encoding: Encoding, truth: Truth, Y_train: Any) -> sp.csr_array:
    """In the columns of the truth; labels that are in neither the model nor the truth change no weight."""
    labels = truth.labels if encoding.labels.named else encoding.labels
    return widened(labels.encode(Y_train, drop_unknown=True), truth.Y.shape[1])


def _pairs(truth: Truth, pairs: Any) -> npt.NDArray[np.int64]:
    """Rows and columns."""
    given = [tuple(pair) for pair in (pairs.tolist() if isinstance(pairs, np.ndarray) else pairs)]
    for pair in given:
        ok = len(pair) == 2 and 0 <= whole(pair[0]) < truth.Y.shape[0]
        require(ok, "filter_labels", pair, f"a row under {truth.Y.shape[0]:,} and a label")
    if not given:
        return np.zeros((0, 2), np.int64)
    names = [label for _, label in given]
    ids = truth.labels.ids(names, drop_unknown=True, argument="filter_labels")
    found = np.array([[row for row, _ in given], ids.tolist()], np.int64).T
    return found[ids >= 0]
