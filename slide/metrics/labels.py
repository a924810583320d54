"""How well each label is found: a line for each, to look at the best and the worst, or to write as a table."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.metrics.forms import compared
from slide.metrics.predicted import Predicted

COLUMNS = (
    "label",
    "support",
    "predicted",
    "right",
    "precision",
    "recall",
    "f1",
    "threshold",
    "confused_with",
    "confused",
)

Counts = npt.NDArray[np.int64]


class LabelQuality(NamedTuple):
    """One label: rows that have it, rows that it is predicted for, and rows of both kinds.

    threshold : the probability over which it is predicted, NaN where that is not known
    confused_with : the label that is most often predicted wrongly where this one is missed, in so many rows `confused`;
    None where there is none
    """

    label: Any
    support: int
    predicted: int
    right: int
    threshold: float
    confused_with: Any
    confused: int

    @property
    def precision(self) -> float:
        """Share of its predictions that are right; NaN for none."""
        return self.right / self.predicted if self.predicted else math.nan

    @property
    def recall(self) -> float:
        """Share of its rows that it is predicted for; NaN for none."""
        return self.right / self.support if self.support else math.nan

    @property
    def f1(self) -> float:
        """Harmonic mean of both; 0 where one of them is missing."""
        return 2 * self.right / max(self.support + self.predicted, 1)


def label_report(Y_true: Any, Y_pred: Any, *, labels: Any = None, thresholds: Any = None) -> list[LabelQuality]:
    """Precision, recall and F1 of each label that is true or predicted somewhere, by support, most first.

    Parameters
    ----------
    Y_true, labels
        As for ``precision_at_k``.
    Y_pred : label sets of n rows
        As ``predict`` returns them: an indicator, lists of labels, or one label each; or an array [n, k] of columns or
        names, -1 or None for none.
    thresholds : [L] numbers, optional
        Of the columns of Y_true, or of `labels`; ``clf.thresholds_.values(np.arange(clf.n_labels_))``.

    Raises
    ------
    ValueError
        As ``precision_at_k``; for other numbers of thresholds than labels.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> found = label_report([["cat", "pet"], ["dog"], ["cat"]], [["cat"], ["cat"], ["dog", "cat"]])
    >>> [(q.label, q.support, round(q.precision, 2), q.recall, q.confused_with) for q in found]
    [('cat', 2, 0.67, 1.0, None), ('dog', 1, 0.0, 0.0, 'cat'), ('pet', 1, nan, 0.0, None)]
    """
    given = Predicted.of(Y_pred)
    Y, ids, _, names, n_known = compared(Y_true, given, max(_longest(given), 1), labels=labels)
    L = Y.shape[1]
    there = ids >= 0
    P = sp.csr_array((np.ones(int(there.sum())), (np.nonzero(there)[0], ids[there])), shape=(len(ids), L))
    T = sp.csr_array((np.ones(Y.nnz), Y.indices, Y.indptr), shape=Y.shape)
    right = sp.csr_array(T.multiply(P))
    support, predicted, both = (np.bincount(m.indices, minlength=L) for m in (T, P, right))
    instead, confused = _confused(T - right, P - right)
    cuts = _thresholds(thresholds, L, n_known)
    order = np.lexsort((np.arange(L), -predicted, -support))
    return [
        LabelQuality(
            _name(names, i),
            int(support[i]),
            int(predicted[i]),
            int(both[i]),
            float(cuts[i]),
            _name(names, int(instead[i])) if confused[i] else None,
            int(confused[i]),
        )
        for i in order[: np.count_nonzero(support + predicted)].tolist()
    ]


def _longest(given: Predicted) -> int:
    """Labels of a row, at most."""
    if given.cells is not None:
        return given.length
    if sp.issparse(given.scores):
        return int(np.diff(given.scores.indptr).max(initial=0))
    return int(np.count_nonzero(np.nan_to_num(np.asarray(given.scores)), axis=1).max(initial=0))


def _name(names: Any, column: int) -> Any:
    return column if names is None else names[column]


def _thresholds(thresholds: Any, L: int, n_known: int) -> npt.NDArray[np.float64]:
    cuts = np.full(L, math.nan)
    if thresholds is not None:
        array = np.asarray(thresholds, np.float64)
        if array.ndim != 1 or len(array) > L:
            raise ValueError(f"thresholds: found shape {array.shape}, wanted ({n_known},): one for each label")
        cuts[: len(array)] = array
    return cuts


def _confused(missed: sp.csr_array, wrong: sp.csr_array) -> tuple[Counts, Counts]:
    """[L]: for each label the one that is most often wrongly predicted in rows where it is missed, and how often."""
    pairs = sp.csr_array(sp.csr_array(missed).T.tocsr() @ sp.csr_array(wrong))
    pairs.eliminate_zeros()
    pairs.sort_indices()
    most, label = np.zeros(pairs.shape[0], np.int64), np.zeros(pairs.shape[0], np.int64)
    rows = np.repeat(np.arange(pairs.shape[0]), np.diff(pairs.indptr))
    order = np.lexsort((-pairs.indices, pairs.data, rows))  # the last of a row has most, of equals the lowest label
    most[rows[order]], label[rows[order]] = pairs.data[order], pairs.indices[order]
    return label, most


def write_label_report(file: IO[str], report: Iterable[LabelQuality], names: Sequence[Any] | None = None) -> None:
    """As CSV; numbers with six digits, empty where there are none. names : what labels that are columns are called."""

    def cell(value: Any) -> Any:
        if isinstance(value, float):
            return "" if math.isnan(value) else f"{value:.6g}"
        return "" if value is None else value

    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for q in report:
        row = {name: getattr(q, name) for name in COLUMNS}
        if names is not None:
            for name in ("label", "confused_with"):
                row[name] = None if row[name] is None else names[row[name]]
        writer.writerow([cell(row[name]) for name in COLUMNS])
