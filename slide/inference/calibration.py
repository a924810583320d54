"""From scores to probabilities that are right as often as they say, learned on rows that nothing was trained on.

A score's log odds are a rising curve of it, so that labels keep their order within a row (Platt, 1999, with a curve in
place of his line). Several labels a row: each label by itself, and what the row's best score says of all of them. One
class a row: a softmax of the row's best classes, and one weight for all behind them. Then a curve for the best label.
How curves are learned: slide/inference/logistic.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from slide.checks import require
from slide.inference.logistic import (
    Curve,
    Floats,
    learn_classes,
    learn_labels,
    log_odds,
    log_odds_of,
    sigmoid,
    sigmoid_of,
)

N_BEST = 64  # labels of a row that are looked at; those behind share one weight where a row has one class
ROWS_A_KNOT, MOST_KNOTS = 40, 12
FEW = 64  # scores that are faster one by one: 5 take 5 us instead of 100
LOWEST = -1e30  # in place of no score
MOST_OF_LAST = 0.999  # of what the last of the best has: no class behind it comes up
STORED = ("curve", "row_curve", "best_curve")

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Calibration:
    """How scores become probabilities: print it.

    Attributes
    ----------
    one_class : bool
        Whether a row has one label; then its probabilities add up to 1.
    curve : Curve
        Log odds of a label by its score; one class: its log weight.
    row_curve : Curve or None
        Several labels: what a row's best score adds to the log odds of all its labels. One class: None.
    best_curve : Curve or None
        Log odds of a row's best label by those that the other curves give it: it is the one that people look at, and
        one curve for all places of a row is off there. None where all rows said the same.
    rest : float
        One class: log weight of all classes together that are not among the N_BEST; -infinity if all are.
    n_rows : int
        Rows that it was learned on.
    """

    one_class: bool
    curve: Curve
    row_curve: Curve | None
    best_curve: Curve | None
    rest: float
    n_rows: int

    def __str__(self) -> str:
        return f"probabilities: calibrated on {self.n_rows:,} rows that were not trained on"

    def of_best(self, scores: npt.NDArray[Any], n_labels: int) -> Floats:
        """Probabilities [n, k] of the best labels of rows, from their scores [n, k], best first, -infinity for none.

        One class: k must be N_BEST or more, or all there are. Classes behind the N_BEST share the rest equally.
        """
        if not self.one_class and scores.size <= FEW:
            return np.array([self._few(row) for row in scores.tolist()], np.float64).reshape(scores.shape)
        scores = scores.astype(np.float64)
        return self._classes(scores, n_labels) if self.one_class else self._labels(scores)

    def of_all(self, scores: Floats) -> Floats:
        """Probabilities [n, n_labels] from the scores of all labels, equal to those of `of_best`."""
        order = np.argsort(-scores, axis=1, kind="stable")
        found = np.empty_like(scores)
        np.put_along_axis(found, order, self.of_best(np.take_along_axis(scores, order, 1), scores.shape[1]), 1)
        return found

    def _labels(self, scores: Floats) -> Floats:
        assert self.row_curve is not None
        known = np.isfinite(scores)
        scores = np.where(known, scores, self.curve.knots[0])
        best = np.clip(scores[:, :1], self.row_curve.knots[0], self.row_curve.knots[-1])
        found = np.where(known, sigmoid(self.curve(scores) + self.row_curve(best)), 0)
        if self.best_curve is not None:
            found[:, :1] = np.where(known[:, :1], sigmoid(self.best_curve(log_odds(found[:, :1]))), 0)
            found = np.minimum(found, found[:, :1])
        return found

    def _few(self, scores: list[float]) -> list[float]:
        """`_labels` of one row without arrays."""
        if not scores:
            return []
        assert self.row_curve is not None
        best = scores[0] if isfinite(scores[0]) else self.curve.knots.item(0)
        more = self.row_curve.at(min(max(best, self.row_curve.knots.item(0)), self.row_curve.knots.item(-1)))
        found = [sigmoid_of(self.curve.at(score) + more) if isfinite(score) else 0.0 for score in scores]
        if self.best_curve is not None:
            most = sigmoid_of(self.best_curve.at(log_odds_of(found[0]))) if isfinite(scores[0]) else 0.0
            found = [most, *(min(p, most) for p in found[1:])]
        return found

    def _classes(self, scores: Floats, n_labels: int) -> Floats:
        found, each = self._softmax(scores[:, :N_BEST], n_labels)
        if self.best_curve is not None and found.shape[1] > 1:
            first = found[:, :1]
            others = np.maximum(1 - first, 1e-300)
            second = found[:, 1:2] / others  # of what is not the first's; which stays ahead of it
            best = np.maximum(sigmoid(self.best_curve(log_odds(first))), second / (1 + second))
            best = np.where(first < 1, best, 1.0)
            share = (1 - best) / others
            found, each = np.concatenate([best, found[:, 1:] * share], axis=1), each * share
        behind = scores.shape[1] - found.shape[1]
        return np.concatenate([found, np.repeat(each, behind, axis=1)], axis=1) if behind else found

    def _softmax(self, scores: Floats, n_labels: int) -> tuple[Floats, Floats]:
        """[n, k] of the best classes, and [n, 1] of each class behind them."""
        u = np.where(np.isfinite(scores), self.curve(np.maximum(scores, LOWEST)), -np.inf)
        weights, behind = np.exp(u - u[:, :1]), n_labels - scores.shape[1]
        each = np.zeros((len(u), 1))
        if behind:
            last = np.where(np.isfinite(u), weights, np.inf).min(axis=1, keepdims=True)
            each = np.minimum(np.exp(self.rest - u[:, :1]) / behind, MOST_OF_LAST * last)
        total = weights.sum(axis=1, keepdims=True) + behind * each
        return weights / total, each / total

    # -- files ------------------------------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """As JSON values."""
        curves = {name: getattr(self, name) and getattr(self, name).config() for name in STORED}
        rest = self.rest if np.isfinite(self.rest) else None
        return {"one_class": self.one_class, **curves, "rest": rest, "n_rows": self.n_rows}

    @classmethod
    def restored(cls, stored: Mapping[str, Any]) -> Self:
        """The inverse; ValueError for what is no calibration."""
        one_class, n_rows = bool(stored["one_class"]), stored["n_rows"]
        curves = {
            name: None if stored[name] is None else Curve.restored(stored[name], rising=name != "row_curve")
            for name in STORED
        }
        rest = -np.inf if stored["rest"] is None else float(stored["rest"])
        curve = curves.pop("curve")
        ok = curve is not None and (one_class or curves["row_curve"] is not None) and rest < np.inf
        require(ok and type(n_rows) is int and n_rows > 0, "calibration", stored, "curves, and rows")
        assert curve is not None
        return cls(one_class, curve, **curves, rest=rest, n_rows=n_rows)


# -- learning ----------------------------------------------------------------------------------------------------------


def learn(scores: npt.NDArray[Any], hits: Bools, n_labels: int, *, one_class: bool) -> Calibration | None:
    """The curves under which the labels of these rows are most probable; None where nothing can be learned.

    Parameters
    ----------
    scores : [n, k]
        Of the best labels of rows that were not trained on, best first, -infinity where there are fewer.
    hits : bool [n, k]
        Which of them are the row's.
    n_labels : int
        That there are.
    """
    scores, n_rows = scores.astype(np.float64), len(scores)
    has_rest = one_class and n_labels > scores.shape[1]
    if one_class and not has_rest:  # a class that nobody knows has no place among those that add up to 1
        known = hits.any(axis=1)
        scores, hits = scores[known], hits[known]
    used = np.isfinite(scores)
    if not hits.any() or np.ptp(scores[used]) <= 0:
        return None
    knots = _knots(scores, hits, used)
    if len(knots) < 2:  # but for a few, all are equal
        return None
    if one_class:
        curve, rest = learn_classes(scores, used, hits, knots, has_rest)
        first = Calibration(True, curve, None, None, rest, n_rows)
    else:
        best = np.broadcast_to(scores[:, :1], scores.shape)
        curve, row_curve = learn_labels(scores[used], hits[used], knots, best[used])
        first = Calibration(False, curve, row_curve, None, -np.inf, n_rows)
    odds = log_odds(first.of_best(scores, n_labels)[:, :1])
    if np.ptp(odds) <= 0:
        return first
    knots = _knots(odds, hits[:, :1], used[:, :1])
    if len(knots) < 2:
        return first
    return replace(first, best_curve=learn_labels(odds[:, 0], hits[:, 0], knots)[0])


def _knots(scores: Floats, hits: Bools, used: Bools) -> Floats:
    """Ascending scores: where best labels and true ones are, and two below them."""
    n = int(np.clip(len(scores) // ROWS_A_KNOT, 2, MOST_KNOTS))
    matter = np.concatenate([scores[:, 0][used[:, 0]], scores[hits & used]])
    low = np.quantile(scores[used], [0.01, 0.5])  # a label without a row may be far below all others
    knots = np.sort(np.concatenate([low, np.quantile(matter, np.linspace(0, 1, n))]))
    kept = [knots[0]]
    for knot in knots[1:]:
        if knot - kept[-1] > 1e-3 * (knots[-1] - knots[0]):
            kept.append(knot)
    return np.array(kept)
