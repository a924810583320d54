"""What a report page is made of: a model, and its answers to rows with known labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.engine.layout import FloatArray, IntArray
from slide.metrics.matched import Matched
from slide.report.words import Word

if TYPE_CHECKING:
    from slide.estimator.classifier import SlideClassifier
    from slide.inference.lsh_report import LshReport


@dataclass(frozen=True)
class ScoredRows:
    """A model's answers to rows with known labels.

    Y : indicator [n, n_labels]; ids, scores : [n, 5], as predict_topk gives them; Y_train : of the training rows;
    empty : bool [n], rows of which the model knows no feature; proba : whether scores are calibrated probabilities;
    decided : what `predict` predicts, CSR [n, n_labels], or None where a row has one class.
    """

    name: str
    Y: sp.csr_array
    ids: IntArray
    scores: FloatArray
    Y_train: sp.csr_array | None
    propensity: tuple[float, float]
    empty: npt.NDArray[np.bool_]
    proba: bool = False
    decided: sp.csr_array | None = None


@dataclass(frozen=True)
class Report:
    """All that the sections of a page are given; each takes what it needs, and is empty where that is missing.

    label_names : what a person calls each label; row_text : describes one of the scored rows; words : the features
    that decided, by name.
    """

    clf: SlideClassifier
    title: str
    scored: ScoredRows | None = None
    tables: LshReport | None = None
    label_names: Sequence[Any] = ()
    row_text: Callable[[int], str] = str
    n_examples: int = 12
    words: Sequence[Word] = field(default_factory=list)

    def name_of(self, label: int) -> str:
        """What a label is called."""
        return str(self.label_names[label])


class LabelScore(NamedTuple):
    """How well one label is found.

    rows : scored rows that have it; found : of these, with it among the first five; first : rows whose first label it
    is; right : of these, that have it; instead : the label that most often comes first where it is missed, or -1
    """

    label: int
    rows: int
    found: int
    first: int
    right: int
    instead: int


def label_scores(scored: ScoredRows, least_rows: int) -> list[LabelScore]:
    """Labels that so many scored rows have, the best found ones first, of equals those of more rows.

    >>> Y, ids = sp.csr_array([[1, 0, 1], [0, 1, 0]]), np.array([[0], [0]], np.int32)
    >>> rows = ScoredRows("", Y, ids, ids.astype(np.float32), None, (0.55, 1.5), np.zeros(2, bool))
    >>> label_scores(rows, 1)[0], [score.label for score in label_scores(rows, 1)]
    (LabelScore(label=0, rows=1, found=1, first=2, right=1, instead=-1), [0, 1, 2])
    """
    m = Matched.of(scored.Y, scored.ids, scored.ids.shape[1])
    L = m.Y.shape[1]
    support = np.bincount(m.Y.indices, minlength=L)
    found = np.bincount(m.ids[m.hits], minlength=L)
    first = np.bincount(m.ids[:, 0][m.ids[:, 0] >= 0], minlength=L)
    right = np.bincount(m.ids[:, 0][m.hits[:, 0]], minlength=L)
    chosen = np.flatnonzero(support >= least_rows)
    order = chosen[np.lexsort((-support[chosen], -found[chosen] / support[chosen]))]
    instead = _mistaken_for(scored)
    return [
        LabelScore(i, int(support[i]), int(found[i]), int(first[i]), int(right[i]), instead.get(i, -1))
        for i in order.tolist()
    ]


def _mistaken_for(scored: ScoredRows) -> dict[int, int]:
    """By label, what most often comes first in rows that have it."""
    known = ~scored.empty
    most: dict[int, int] = {}
    for (true, said), _ in confusions(scored.Y[known], scored.ids[known, 0]).most_common():
        most.setdefault(true, said)
    return most


def confusions(Y: sp.csr_array, best: IntArray) -> Counter[tuple[int, int]]:
    """How often a row has the one label and not the other, which was its best one: (has, said) -> rows.

    >>> confusions(sp.csr_array([[1, 0, 1], [0, 1, 0]]), np.array([1, 1], np.int32)) == {(0, 1): 1, (2, 1): 1}
    True
    """
    found: Counter[tuple[int, int]] = Counter()
    for row, said in enumerate(best.tolist()):
        true = Y.indices[Y.indptr[row] : Y.indptr[row + 1]].tolist()
        if said >= 0 and said not in true:
            found.update((label, said) for label in true)
    return found
