"""Every metric at once, and how well labels of like frequency are found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from slide.metrics.matched import Matched, check_k, ndcg, precision, psndcg, psp, recall
from slide.metrics.predicted import Predicted
from slide.metrics.propensity import weights_of


def evaluate(
    Y_true: Any,
    ids: Any,
    Y_train: Any = None,
    ks: Sequence[int] = (1, 3, 5),
    A: float = 0.55,
    B: float = 1.5,
    filter_labels: npt.ArrayLike | None = None,
    *,
    labels: Any = None,
    sample_weight: Any = None,
) -> dict[str, float]:
    """Every metric at every k: {"p@1": ..., "ndcg@1": ..., "recall@1": ..., "psp@1": ..., "psndcg@1": ...}, fractions.

    The "psp" and "psndcg" entries need ``Y_train``. Other arguments and errors are those of ``psp_at_k`` and, for
    filter_labels, pairs of a row and a label, of ``without_pairs``: there ids should have more columns than the
    largest k.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> evaluate(sp.csr_array([[1, 0, 1], [0, 1, 0]]), [[0, 1], [1, 2]], ks=(1, 2))["recall@1"]
    0.75
    """
    ids = Predicted.of(ids)
    all_ks = check_k(ks, ids)
    rows = {"labels": labels, "Y_train": Y_train, "sample_weight": sample_weight, "filter_labels": filter_labels}
    matched = Matched.of(Y_true, ids, max(all_ks), **rows)
    results = {"p": precision(matched, all_ks), "ndcg": ndcg(matched, all_ks), "recall": recall(matched, all_ks)}
    if Y_train is not None:
        weights = weights_of(matched, None, A, B)
        results |= {"psp": psp(matched, all_ks, weights), "psndcg": psndcg(matched, all_ks, weights)}
    return {f"{name}@{k}": float(v) for name, values in results.items() for k, v in zip(all_ks, values, strict=True)}


class Frequency(NamedTuple):
    """How well labels of like frequency are found.

    least, most : training rows that a label of this group has; labels : how many there are in all, of which `true`
    pairs are in the test rows and `found` of these among the first k; `predicted` is how often they are there at all.
    """

    least: int
    most: int
    labels: int
    true: int
    found: int
    predicted: int

    @property
    def recall(self) -> float:
        """Share of the true pairs that are among the first k predictions; NaN for none."""
        return self.found / self.true if self.true else float("nan")

    @property
    def precision(self) -> float:
        """Share of the predictions of these labels that are true; NaN for none."""
        return self.found / self.predicted if self.predicted else float("nan")


def by_frequency(
    Y_true: Any,
    ids: Any,
    Y_train: Any,
    k: int = 5,
    edges: Sequence[int] = (1, 2, 5, 20, 100, 1000),
    *,
    labels: Any = None,
) -> list[Frequency]:
    """Recall and precision at k of the labels by how many training rows have them: the tail, the middle, the head.

    Parameters
    ----------
    Y_true, ids, k, labels
        As for ``precision_at_k``.
    Y_train : labels of the training rows, in a form that Y_true may have
    edges : ascending ints
        The least frequency of each group but the first, which has the labels below.

    Returns
    -------
    list of Frequency
        Groups without a label are left out.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> Y = sp.csr_array([[1, 0, 1], [0, 1, 0]])
    >>> rare, frequent = by_frequency(Y, [[0], [0]], sp.csr_array([[1, 0, 1], [1, 1, 0]]), k=1)
    >>> rare.recall, frequent.recall, frequent.precision
    (0.0, 1.0, 0.5)
    """
    ids = Predicted.of(ids)
    ks = check_k(k, ids)
    m = Matched.of(Y_true, ids, max(ks), labels=labels, Y_train=Y_train)
    train, L = m.Y_train, m.Y.shape[1]
    assert train is not None
    if train.shape[1] != L:
        raise ValueError(f"Y_train: found {train.shape[1]:,} labels, wanted the {L:,} of Y_true")
    starts = np.asarray(edges, np.int64)
    if not len(starts) or (np.diff(starts) <= 0).any() or starts[0] < 1:
        raise ValueError(f"edges: found {list(edges)}, wanted ascending whole numbers from 1")
    frequency = np.bincount(train.indices, minlength=L)
    group = np.searchsorted(starts, frequency, "right")
    n = len(starts) + 1

    def count(labels: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
        return np.bincount(group[labels], minlength=n)

    parts = count(np.arange(L)), count(m.Y.indices), count(m.ids[m.hits]), count(m.ids[m.ids >= 0])
    bounds = [0, *starts.tolist(), max(int(frequency.max(initial=0)), int(starts[-1])) + 1]
    rows = [Frequency(bounds[i], bounds[i + 1] - 1, *(int(part[i]) for part in parts)) for i in range(n)]
    return [row for row in rows if row.labels]
