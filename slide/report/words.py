"""Which features decide a model's answers: for a sample of rows, the one that spoke most for each row's first label."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from slide.engine.layout import IntArray
from slide.inference.explain import explain
from slide.model.model import Model

ROWS = 400  # explained, some milliseconds each


class Word(NamedTuple):
    """A feature by name. rows : whose first label it decided; right : of these, that have the label; label : the one
    it spoke for most often."""

    name: str
    rows: int
    right: int
    label: int


def some_rows(n: int) -> IntArray:
    """Numbers of the rows that are explained, ascending: drawn at random, always the same ones."""
    return np.sort(np.random.default_rng(0).permutation(n)[:ROWS]).astype(np.int32)


def deciding(net: Model, rows: sp.csr_array, best: IntArray, right: Sequence[bool], names: Sequence[str]) -> list[Word]:
    """The features that decided, those of most rows first.

    Parameters
    ----------
    rows : CSR [n, n_features]
        As the network sees them.
    best : int32 [n]
        Their first labels; -1 for none.
    right : bool [n]
        Whether each row has that label.
    names : [n_features]
        What the features are called.
    """
    spoke: dict[int, list[tuple[int, bool]]] = defaultdict(list)
    for i, label in enumerate(best.tolist()):
        row = rows[[i]]
        if label < 0 or not row.nnz:
            continue
        found = explain(net, row, label)
        if found.contributions[0] > 0:
            spoke[int(found.features[0])].append((label, bool(right[i])))
    words = [
        Word(
            names[feature],
            len(told),
            sum(ok for _, ok in told),
            Counter(label for label, _ in told).most_common(1)[0][0],
        )
        for feature, told in spoke.items()
    ]
    return sorted(words, key=lambda word: (-word.rows, -word.right, word.name))
