"""What `class_weight` and `sample_weight` make of each training row: one number, how many times it counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.checks import require
from slide.estimator.labels import Labels
from slide.training.weights import check_weights

Floats = npt.NDArray[np.float64]
WANTED = "a dict of labels and numbers, 0 or more, 'balanced' or None"


def row_weights(
    sample_weight: Any, class_weight: Any, labels: Labels, Y: sp.csr_array, *, some_count: bool = True
) -> Floats | None:
    """float64 [n]: the sample's weight times the mean of its labels' weights; None where every row counts once.

    Y : indicator CSR [n, n_labels]; a row without a label has its sample's weight
    some_count : whether to refuse weights that are all 0

    Raises
    ------
    ValueError
        For weights that make no sense, labels that are not known, or where no row would count.
    """
    weights = check_weights(sample_weight, Y.shape[0])
    of_label = label_weights(class_weight, labels, Y)
    if of_label is not None:
        counts = np.diff(Y.indptr)
        means = np.asarray(Y @ of_label).reshape(-1) / np.maximum(counts, 1)
        weights = np.where(counts > 0, means, 1.0) * (1.0 if weights is None else weights)
    if some_count and weights is not None and len(weights) and not weights.any():
        name = "sample_weight" if sample_weight is not None else "class_weight"
        raise ValueError(f"{name}: found zero for every row, wanted a weight over 0, of one class at least")
    return weights


def label_weights(class_weight: Any, labels: Labels, Y: sp.csr_array) -> Floats | None:
    """float64 [n_labels], or None for weights of 1.

    "balanced" gives all labels that there are the same sum over their rows: Y.nnz / (labels * rows of the label), as
    scikit-learn has it for one label a row.
    """
    if class_weight is None:
        return None
    if isinstance(class_weight, str):
        require(class_weight == "balanced", "class_weight", class_weight, WANTED)
        counts = np.bincount(Y.indices, minlength=Y.shape[1])
        return np.where(counts > 0, Y.nnz / (np.count_nonzero(counts) * np.maximum(counts, 1.0)), 0.0)
    require(isinstance(class_weight, Mapping), "class_weight", class_weight, WANTED)
    weights = np.ones(len(labels.classes))
    for name, weight in class_weight.items():
        where = f"class_weight[{name!r}]"
        ok = isinstance(weight, int | float | np.number) and 0 <= weight <= np.finfo(np.float32).max
        require(bool(ok), where, weight, "a finite number, 0 or more")
        weights[_column(name, labels)] = weight
    return weights


def _column(name: Any, labels: Labels) -> int:
    try:
        column = int(labels.ids([name], drop_unknown=True)[0])
    except (ValueError, TypeError):
        column = -1
    require(column >= 0, "class_weight", name, f"labels of y: one of the {len(labels.classes):,} classes that it has")
    return column
