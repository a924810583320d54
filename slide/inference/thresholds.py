"""Which labels of a row are predicted: those over a probability, one for all labels or one of its own for each.

Tuned on rows that nothing was trained on. What a pair of a row and a label counts as there is half what was seen, and
half what its probability says: labels with few rows show little, and a threshold that fits those few fits no others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from slide.checks import require, whole
from slide.engine.layout import IntArray
from slide.inference.logistic import Floats, log_odds, sigmoid

WISHES = "'f1', 'macro-f1', 'precision=P' (0 to 1), a probability (a float under 1), or how many (an int)"
TAKES_BEST = ("f1", "macro-f1")
SEEN = 0.5  # the share of what was seen; the rest is what probabilities say
OWN = 4.0  # a label's own threshold counts as much as that of all with so many rows
PLACES = np.geomspace(0.01, 0.6, 40)  # that one threshold for all is sought among, where labels count alike
SMALLEST = 1e-4  # of a threshold, and how far it is from 1

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Thresholds:
    """How it is decided which labels are predicted: print it.

    Attributes
    ----------
    wish : str
        What was asked for.
    common : float
        The probability over which a label is predicted that has no threshold of its own.
    ids, own : int32 [m] ascending, float64 [m]
        Labels with their own thresholds.
    k : int or None
        That many labels are predicted for every row, whatever their probabilities.
    n_rows : int
        Rows that it was tuned on; 0 where nothing was to be tuned.
    precision, recall : float or None
        Of all predictions on these rows together.
    """

    wish: str
    common: float = 1.0
    ids: IntArray = field(default_factory=lambda: np.empty(0, np.int32))
    own: Floats = field(default_factory=lambda: np.empty(0))
    k: int | None = None
    n_rows: int = 0
    precision: float | None = None
    recall: float | None = None

    @classmethod
    def of(cls, wish: Any) -> Self | None:
        """What a wish says that needs no rows; None for one that is to be tuned.

        Raises
        ------
        ValueError
            For what is no wish.
        """
        wish = _number(wish)
        if isinstance(wish, str):
            precision = _precision(wish)
            require(wish in TAKES_BEST or 0 < precision < 1, "threshold", wish, WISHES)
            return None
        if whole(wish) >= 1:
            return cls(str(wish), k=int(wish))
        require(isinstance(wish, float | np.floating) and bool(0 < wish < 1), "threshold", wish, WISHES)
        return cls(str(float(wish)), float(wish))

    def __str__(self) -> str:
        if self.k is not None:
            return f"predicted: the best {self.k} labels"
        said = f"predicted: labels of a probability over {self.common:.3g}"
        if len(self.ids):
            said += f", {len(self.ids):,} labels with thresholds of their own"
        if not self.n_rows:
            return said
        tuned = f"tuned for {self.wish} on {self.n_rows:,} rows"
        return (
            f"{said}; {tuned}: precision {100 * (self.precision or 0):.1f} %, recall {100 * (self.recall or 0):.1f} %"
        )

    @property
    def takes_best(self) -> bool:
        """Whether the best label is predicted in any case, where every training row had one."""
        return self.wish in TAKES_BEST

    def may_come(self, last: Floats, k: int) -> Bools:
        """[n]: whether labels behind the best k of rows, whose last ones have these probabilities, may be predicted."""
        if self.k is not None:
            return np.full(len(last), k < self.k)
        return np.asarray(last > min(self.common, self.own.min(initial=1.0)))

    def over(self, ids: IntArray, probabilities: npt.NDArray[Any]) -> Bools:
        """Which of these labels [n, k], -1 for none, are predicted, but for the best one that may be in any case."""
        if self.k is not None:
            return (ids >= 0) & (np.arange(ids.shape[1]) < self.k)
        return np.asarray((ids >= 0) & (probabilities > self.values(ids)))

    def values(self, ids: IntArray) -> Floats:
        """The threshold of each label."""
        if not len(self.ids):
            return np.full(ids.shape, self.common)
        at = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.where(self.ids[at] == ids, self.own[at], self.common)

    def resized(self, keep: IntArray) -> Thresholds:
        """For the labels `keep`, which move up."""
        place = np.searchsorted(keep, self.ids)
        stays = keep[np.minimum(place, len(keep) - 1)] == self.ids
        return replace(self, ids=place[stays].astype(np.int32), own=self.own[stays])

    # -- files ------------------------------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """As JSON values."""
        return {**self.__dict__, "ids": self.ids.tolist(), "own": self.own.tolist()}

    @classmethod
    def restored(cls, stored: Mapping[str, Any], n_labels: int) -> Self:
        """The inverse; ValueError for what are no thresholds of so many labels."""
        ids, own = np.array(stored["ids"], np.int64), np.array(stored["own"], np.float64)
        found = cls(**{**stored, "ids": ids.astype(np.int32), "own": own})
        ok = ids.ndim == 1 and ids.shape == own.shape and bool((np.diff(ids) > 0).all())
        ok = ok and bool((ids >= 0).all() and (ids < n_labels).all() and np.isfinite(own).all())
        ok = ok and isinstance(found.wish, str) and bool(np.isfinite(found.common)) and whole(found.n_rows) >= 0
        require(ok and (found.k is None or whole(found.k) >= 1), "thresholds", stored, "thresholds of ascending labels")
        str(found)
        return found


def _number(wish: Any) -> Any:
    """Numbers as the command line has them, and k=3."""
    if not isinstance(wish, str):
        return wish
    text = wish.removeprefix("k=")
    if text.isdecimal():
        return int(text)
    try:
        return float(wish)
    except ValueError:
        return wish


def _precision(wish: str) -> float:
    try:
        return float(wish.removeprefix("precision=")) if wish.startswith("precision=") else 0.0
    except ValueError:
        return 0.0


# -- tuning ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """Rows' best labels, best first: ids int32 [n, k], -1 for none, their probabilities, and which are true.

    counts : int64 [n_labels], rows that have each label; takes_best : whether the first of a row is predicted anyway
    """

    ids: IntArray
    probabilities: Floats
    hits: Bools
    counts: npt.NDArray[np.int64]
    takes_best: bool

    def pairs(self) -> tuple[IntArray, Floats, Floats, Bools]:
        """Label, probability, what it counts as, whether it is predicted anyway: of all pairs, most probable first."""
        rows, places = np.nonzero(self.ids >= 0)
        p = self.probabilities[rows, places]
        worth = SEEN * self.hits[rows, places] + (1 - SEEN) * p
        order = np.argsort(-p, kind="stable")
        anyway = (places == 0) & self.takes_best
        return self.ids[rows, places][order], p[order], worth[order], anyway[order]


def tune(wish: str, judged: Judged) -> Thresholds:
    """Thresholds under which the wish comes true on these rows, or comes nearest."""
    label, p, worth, anyway = judged.pairs()
    if wish == "macro-f1":
        found = _per_label(judged, Thresholds(wish, _alike(label, p, worth, anyway, len(judged.counts))))
    else:
        order = np.argsort(~anyway, kind="stable")  # first those that are predicted anyway
        p, worth, n_anyway = p[order], worth[order], int(anyway.sum())
        true, n = np.concatenate([[0.0], np.cumsum(worth)]), np.arange(len(p) + 1)
        if wish == "f1":
            missed = max(int(judged.counts.sum()) - int(judged.hits.sum()), 0)
            score = 2 * true / np.maximum(n + worth.sum() + missed, 1e-9)
        else:
            score = np.where(true >= _precision(wish) * n, n, 0)
        found = Thresholds(wish, _between(p[n_anyway:], int(np.argmax(score[n_anyway:]))))
    return _measured(found, judged)


def _between(p: Floats, n: int) -> float:
    """A threshold that n of these pass, most probable first."""
    high, low = (p[n - 1] if n else 1.0), (p[n] if n < len(p) else 0.0)
    return float(np.clip((high + low) / 2, SMALLEST, 1 - SMALLEST))


def _alike(label: IntArray, p: Floats, worth: Floats, anyway: Bools, n_labels: int) -> float:
    """One threshold under which F1 is best on average over labels, each weighed by the chance to have a row."""
    mass = np.bincount(label, worth, n_labels)
    weight = -np.expm1(-mass)

    def score(t: float) -> float:
        kept = (p > t) | anyway
        true, n = np.bincount(label[kept], worth[kept], n_labels), np.bincount(label[kept], minlength=n_labels)
        return float(weight @ (2 * true / np.maximum(n + mass, 1e-9)))

    return float(PLACES[int(np.argmax([score(t) for t in PLACES]))])


def _per_label(judged: Judged, found: Thresholds) -> Thresholds:
    """With a threshold for each label that has a row: the best one for it, drawn towards that of all."""
    label, p, worth, anyway = judged.pairs()
    order = np.argsort(label, kind="stable")  # within a label, most probable first
    label, p, worth, anyway = label[order], p[order], worth[order], anyway[order]
    there = np.flatnonzero(judged.counts)
    first, behind = np.searchsorted(label, there), np.searchsorted(label, there, side="right")
    best = np.empty(len(there))
    missed = judged.counts - np.bincount(judged.ids[judged.hits], minlength=len(judged.counts))
    for i, (a, b) in enumerate(zip(first.tolist(), behind.tolist(), strict=True)):
        free = ~anyway[a:b]
        true = worth[a:b][~free].sum() + np.concatenate([[0.0], np.cumsum(worth[a:b][free])])
        n = (b - a) - int(free.sum()) + np.arange(len(true))
        score = 2 * true / (n + worth[a:b].sum() + missed[there[i]])
        best[i] = _between(p[a:b][free], int(np.argmax(score)))
    share = judged.counts[there] / (judged.counts[there] + OWN)
    common = log_odds(np.array([found.common]))
    own = sigmoid(share * log_odds(best) + (1 - share) * common)
    return replace(found, ids=there.astype(np.int32), own=own)


def _measured(found: Thresholds, judged: Judged) -> Thresholds:
    kept = found.over(judged.ids, judged.probabilities)
    if judged.takes_best:
        kept[:, :1] |= judged.ids[:, :1] >= 0
    true = int((kept & judged.hits).sum())
    precision, recall = true / max(int(kept.sum()), 1), true / max(int(judged.counts.sum()), 1)
    return replace(found, n_rows=len(judged.ids), precision=precision, recall=recall)
