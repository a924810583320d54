"""A small classifier, rows and labels by name, as the tests of slide/estimator/ use them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from engine_strategies import needs_c

import slide

BACKENDS = ["numba", pytest.param("c", marks=needs_c)]
NAMES = np.array(["ant", "bee", "cow", "dog", "eel", "fox", "gnu", "hen"])


def classifier(**options: Any) -> slide.SlideClassifier:
    return slide.SlideClassifier(**{"hidden": (16,), "epochs": 10, "n_threads": 1} | options)


def problem(n: int = 300, n_labels: int = 8, per_row: int = 2, seed: int = 0) -> tuple[sp.csr_array, sp.csr_array]:
    return slide.datasets.synthetic(n, 60, n_labels, nnz=8, labels_per_row=per_row, seed=seed)


def label_lists(Y: sp.csr_array, names: Any = NAMES) -> list[list[Any]]:
    return [names[row].tolist() for row in np.split(Y.indices, Y.indptr[1:-1])]
