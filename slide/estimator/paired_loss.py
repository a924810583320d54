"""What a faster way of predicting loses, row by row, and whether it is shown to lose less than was allowed on average.

The test is a bet (Waudby-Smith & Ramdas, JRSS B 2024, section 4): a fortune of 1 is multiplied by 1 + b (m - d) for
each row's loss d <= 1. Where the mean loss is m or more it grows by no choice of stakes b that know only earlier rows,
so it ever reaches 1 / alpha with a chance of at most alpha (Ville's inequality). It is exact for any number of rows and
any distribution, and uses that most rows lose nothing, which Hoeffding's bound does not. Several plans are tested in an
order that was fixed on other rows, each at the full level, up to the first that fails (fixed-sequence testing, as in
Angelopoulos et al., "Learn then Test", 2021), so that the chance that any of those that passed loses more stays alpha.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.checks import require
from slide.engine.layout import IntArray
from slide.model.ranker import found_among

NAMES = ("p", "recall", "ndcg", "agreement")
MOST_STAKED = 0.75  # of the fortune, on one row
BISECTIONS = 20

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RowMetric:
    """A metric that has a value between 0 and 1 for each row: name and k.

    "agreement" is the share of the best k labels that were among the best k before; it needs no labels.
    """

    name: str
    k: int

    @classmethod
    def of(cls, metric: object, n_labels: int) -> RowMetric:
        """ "p@1", and so on; ValueError for what is no such metric, or a k over the number of labels."""
        found = re.fullmatch(rf"({'|'.join(NAMES)})@([1-9]\d*)", metric) if isinstance(metric, str) else None
        k = int(found[2]) if found else 0
        wanted = f"one of {', '.join(NAMES)} and @k, k from 1 to {n_labels:,}, like p@1"
        require(1 <= k <= n_labels, "metric", metric, wanted)
        assert found is not None
        return cls(found[1], k)

    @property
    def needs_labels(self) -> bool:
        """Whether rows are scored by what is true of them."""
        return self.name != "agreement"

    def losses(self, before: IntArray, after: IntArray, Y: sp.csr_array | None) -> Floats:
        """[n], in [-1, 1]: by how much each row's value fell.

        before, after : [n, k or more], labels, best first; -1 for none
        """
        before, after = before[:, : self.k], after[:, : self.k]
        if not self.needs_labels:
            shared = (before[:, :, None] == after[:, None, :]) & (before >= 0)[:, :, None]
            return np.asarray(1 - shared.any(axis=2).sum(axis=1) / np.maximum((before >= 0).sum(axis=1), 1))
        assert Y is not None
        return self._values(before, Y) - self._values(after, Y)

    def _values(self, ids: IntArray, Y: sp.csr_array) -> Floats:
        hits, counts = found_among(Y, ids), np.diff(Y.indptr)
        if self.name == "p":
            return np.asarray(hits.sum(axis=1) / self.k)
        if self.name == "recall":
            return np.asarray(hits.sum(axis=1) / np.maximum(counts, 1))
        discounts = 1 / np.log2(np.arange(2, self.k + 2))
        return np.asarray(hits @ discounts / np.cumsum(discounts)[np.clip(counts, 1, self.k) - 1])


def log_fortune(losses: Floats, earlier: Floats, most: float) -> float:
    """The log of the largest fortune on the way, betting that the mean loss is under `most`.

    Stakes suit the mean and variance of the rows so far, beginning with `earlier` ones, which are not tested.
    """
    n_earlier = len(earlier)
    n = np.arange(n_earlier, n_earlier + len(losses))
    sums = earlier.sum() + np.concatenate([[0.0], np.cumsum(losses[:-1])])
    squares = np.square(earlier).sum() + np.concatenate([[0.0], np.cumsum(np.square(losses[:-1]))])
    mean = sums / np.maximum(n, 1)
    edge = most - mean
    spread = np.maximum(squares / np.maximum(n, 1) - mean**2, 0) + edge**2
    stakes = np.clip(edge / np.maximum(spread, 1e-12), 0, largest_stake(most))
    return float(np.cumsum(np.log1p(stakes * (most - losses))).max(initial=0.0))


def largest_stake(most: float) -> float:
    """At which a row that loses all, 1, takes MOST_STAKED of the fortune."""
    return MOST_STAKED / (1 - most)


def fewest_rows(most: float, confidence: float) -> int:
    """Rows of which none loses anything that show a mean loss under `most`."""
    return int(np.ceil(-np.log(1 - confidence) / np.log1p(largest_stake(most) * most)))


def is_confirmed(losses: Floats, earlier: Floats, most: float, confidence: float) -> bool:
    """Whether the mean loss is shown to be under `most`."""
    return bool(log_fortune(losses, earlier, most) >= -np.log(1 - confidence))


def upper_bound(losses: Floats, earlier: Floats, confidence: float) -> float:
    """The mean loss is under it, with that confidence; 1 where nothing is shown."""
    low, high = -1.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_confirmed(losses, earlier, middle, confidence) else (middle, high)
    return high


def evidence(losses: Floats, most: float) -> float:
    """How fast a fortune would grow on such rows: the mean's distance under `most` in standard deviations."""
    edge = most - float(losses.mean())
    return edge / float(np.sqrt(losses.var() + edge**2)) if edge else 0.0


def in_order(losses: Sequence[Floats], times: Sequence[float], most: float) -> list[int]:
    """Plans to test, from the one that is surest to pass to the fastest, those left out that another one beats in both.

    losses : of the rows that plans are chosen on, by plan
    """
    sure = [evidence(of_plan, most) for of_plan in losses]
    order = sorted((i for i in range(len(losses)) if sure[i] > 0), key=lambda i: (-sure[i], times[i]))
    kept: list[int] = []
    for i in order:
        if not kept or times[i] < times[kept[-1]]:
            kept.append(i)
    return kept


def confirmed(
    order: Sequence[int], losses: Sequence[Floats], earlier: Sequence[Floats], most: float, confidence: float
) -> int:
    """How many plans pass, the first of `order`, by losses of rows that have no part in the order."""
    for place, i in enumerate(order):
        if not is_confirmed(losses[i], earlier[i], most, confidence):
            return place
    return len(order)
