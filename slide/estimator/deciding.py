"""What a classifier learns on rows that it was not trained on: what scores are worth, and which labels to predict.

Which rows these are: slide/estimator/calibrating.py. How it is learned: calibration.py and thresholds.py of
slide/inference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.checks import Checked, require
from slide.engine.layout import FloatArray, IntArray
from slide.estimator.calibrating import FEWEST
from slide.estimator.encoding import Pair
from slide.estimator.predictions import Predictions
from slide.inference.calibration import N_BEST, learn
from slide.inference.thresholds import TAKES_BEST, Judged, Thresholds, tune
from slide.model.ranker import found_among
from slide.network import Network

MOST_LEARNED = 3_000  # rows: more say the same
LEAST_GIVEN = 20  # rows that were given for it
DEFAULT = "f1"  # where rows were kept back, and nobody says what to predict


@dataclass(frozen=True)
class BestLabels:
    """The best labels of rows: ids int32 [n, k], -1 for none, scores, -infinity there, hits; Y the rows' labels."""

    ids: IntArray
    scores: FloatArray
    hits: npt.NDArray[np.bool_]
    Y: sp.csr_array

    @classmethod
    def of(cls, net: Network, rows: sp.csr_array, Y: sp.csr_array) -> BestLabels:
        """Of rows as a network sees them, or some of them where they are many."""
        if rows.shape[0] > MOST_LEARNED:
            some = np.linspace(0, rows.shape[0] - 1, MOST_LEARNED).astype(np.int64)
            rows, Y = rows[some], Y[some]
        ids, scores = net.predict_topk(Checked(rows), min(N_BEST, net.n_labels))
        return cls(ids, np.where(ids >= 0, scores, -np.inf), found_among(Y, ids), Y)


@dataclass(frozen=True)
class LearnedOn:
    """What a fit learns on, besides rows that it keeps back: rows that were given for it, or an evaluation set."""

    clf: Predictions
    given: Pair | None
    held: Pair | None

    def check(self, n_kept: int) -> None:
        """Before a fit that keeps so many rows back: refuses rows that say too little, and a wish without rows."""
        if self.given is not None:
            check_given(self.given[0], "calibrate")
        n_held = self.held[0].shape[0] if self.held is not None else n_kept
        wish, fixed = self.clf.threshold, self.clf.thresholds_
        wanted = (
            "3,000 rows to keep some of, eval_set, or calibrate=(X, y): it is tuned on rows that are not trained on"
        )
        ok = wish is None or fixed is not None or self.given is not None or n_held >= LEAST_GIVEN
        require(ok, "threshold", wish, wanted)

    def learn(self, rows: sp.csr_array, Y: sp.csr_array) -> None:
        """Of rows that nobody gave for it; of few only what was asked for."""
        if rows.shape[0] >= FEWEST or (rows.shape[0] >= LEAST_GIVEN and self.clf.threshold is not None):
            learn_on(self.clf, rows, Y)

    def learn_of_given(self) -> None:
        """When all is trained."""
        if self.given is not None:
            learn_on(self.clf, *self.given)
        elif self.held is not None:
            self.learn(*self.held)


def learn_on(clf: Predictions, rows: sp.csr_array, Y: sp.csr_array, wish: Any = None, *, must: bool = False) -> None:
    """Gives a classifier its calibration and thresholds, as far as these rows, as its network sees them, say anything.

    wish : what thresholds are tuned for; None: what they were tuned for, or the option says
    must : whether rows that say nothing are an error
    """
    best = BestLabels.of(clf.network_, rows, Y)
    found = learn(best.scores, best.hits, clf.n_labels_, one_class=clf._one_class)
    if found is None and must:
        raise ValueError("calibrate: found no row with one of its labels among the best, wanted rows as they will come")
    clf.calibration_ = found
    if not clf._one_class:
        before = clf.thresholds_.wish if clf.thresholds_ else clf.threshold
        decide_on(clf, best, before if wish is None else wish)


def decide_on(clf: Predictions, best: BestLabels, wish: Any) -> None:
    """Gives a classifier its thresholds; wish None: DEFAULT."""
    wish = DEFAULT if wish is None else wish
    fixed = Thresholds.of(wish)
    if fixed is None:
        counts = np.bincount(best.Y.indices, minlength=clf.n_labels_)[: clf.n_labels_]
        takes_best = clf._labels.nonempty and wish in TAKES_BEST
        fixed = tune(wish, Judged(best.ids, clf._label_probabilities(best.scores), best.hits, counts, takes_best))
    clf.thresholds_ = fixed


def decide_by(clf: Predictions, wish: str) -> None:
    """Gives a trained classifier thresholds that need no rows."""
    require(not clf._one_class, "--threshold", wish, "model: a row has one class, and that is predicted")
    fixed = Thresholds.of(wish)
    wanted = "model, a probability, or a number of labels: others are tuned by slide train or slide calibrate"
    require(fixed is not None, "--threshold", wish, wanted)
    clf.thresholds_ = fixed


def fixed_thresholds(wish: Any, one_class: bool) -> Thresholds | None:
    """What a classifier's option says without rows, None for what is tuned; refuses what makes no sense."""
    if wish is None:
        return None
    require(not one_class, "threshold", wish, "None: a row has one class, and that is predicted")
    return Thresholds.of(wish)


def check_given(rows: sp.csr_array, argument: str) -> None:
    """Refuses rows that say too little."""
    wanted = f"{LEAST_GIVEN} or more that were not trained on"
    require(rows.shape[0] >= LEAST_GIVEN, argument, f"{rows.shape[0]:,} rows", wanted)
