"""The sparse linear part of a network: which (feature, label) pairs have a weight, and how fast they learn.

What it computes is in csrc/linear/wide.c.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.checks import number, require
from slide.engine.layout import IntArray
from slide.engine.state import WideState
from slide.model.sorted_lists import inserted, lower_bound, with_longer


@dataclass(frozen=True)
class Wide:
    """One weight for each (feature, label) pair that meets in a training row, added to the network's logits.

    A narrow hidden layer cannot remember single pairs; this part does ("wide and deep": Cheng et al., DLRS 2016). It
    learns by stochastic gradient descent on the squared hinge loss over every label on the wrong side of its margin, on
    rows of at most unit length (longer rows take shorter steps).

    Parameters
    ----------
    lr : float
        Step size; follows the same schedule as the optimizer's.
    bias_lr : float
        Step size of the labels' biases.
    deep_share : float
        Factor of the network's logit in a label's score: score = deep_share * logit + wide score.
    prune : float
        After the first of several epochs, pairs whose weight is under prune times the mean absolute value of X are
        dropped (DiSMEC does so after training: Babbar & Schoelkopf, WSDM 2017, section 2.3). On rows with many common
        features most pairs go and nothing is lost. 0 keeps all.
    row_pairs : int
        Pairs that a training row may meet, on average: what a step costs. Where it would be more, features that met
        many labels keep only those they met most strongly, by the sum of |x|. 0 sets no limit.
    """

    lr: float = 0.15
    bias_lr: float = 0.015
    deep_share: float = 0.1
    prune: float = 0.3
    row_pairs: int = 40_000

    def __post_init__(self) -> None:
        for name in ("lr", "bias_lr", "deep_share", "prune", "row_pairs"):
            value = getattr(self, name)
            require(0 <= number(value) < np.inf, f"Wide({name}=)", value, "a finite number, 0 or more")


SLACK = 4  # what blocks of rows may hold of pairs beyond the limit, before the last of them has come
#: Where biases start: on the margin of "not this label", so that a label costs nothing until it is met.
INITIAL_BIAS = -1.0


def make_state(
    wide: Wide, n_features: int, n_labels: int, optimizer_lr: float, stored: Mapping[str, npt.NDArray[Any]]
) -> WideState:
    """The pairs stored by the names of `WideState`, or none yet."""
    state = WideState(
        indptr=stored.get("indptr", np.zeros(n_features + 1, np.int64)),
        labels=stored.get("labels", np.empty(0, np.int32)),
        weights=stored.get("weights", np.empty(0, np.float32)),
        bias=stored.get("bias", np.full(n_labels, INITIAL_BIAS, np.float32)),
        lr_ratio=wide.lr / optimizer_lr,
        bias_ratio=wide.bias_lr / wide.lr if wide.lr else 0.0,
        deep_share=wide.deep_share,
    )
    _check_state(state, n_features, n_labels)
    return state


def _check_state(state: WideState, n_features: int, n_labels: int) -> None:
    """Pairs from a file must stay within the arrays: the C core trusts them."""
    sizes = (state.indptr.shape, state.bias.shape, state.labels.shape)
    require(
        sizes == ((n_features + 1,), (n_labels,), state.weights.shape),
        "sizes of the pairs",
        sizes,
        "those of the model",
    )
    check_pairs(state.indptr, state.labels, n_labels)


def check_pairs(p: npt.NDArray[np.int64], labels: npt.NDArray[Any], n_labels: int) -> None:
    """Lists that stay within their array, and labels that are known and ascend within a list."""
    ascending = p[0] == 0 and p[-1] == len(labels) and bool(np.all(np.diff(p) >= 0))
    require(ascending, "indptr of the pairs", "one out of order", "0 to the number of pairs, ascending")
    inside = not len(labels) or (labels.min() >= 0 and labels.max() < n_labels)
    require(bool(inside), "labels of the pairs", "an id out of range", f"0 to {n_labels - 1}")
    rising = labels[1:] > labels[:-1]  # csrc/linear/wide.c walks a feature's labels forwards, block by block
    starts = p[(p > 0) & (p < len(labels))]
    rising[starts - 1] = True
    require(bool(rising.all()), "labels of the pairs", "a feature with some out of order", "ascending ones")


class PairCounts:
    """The pairs that meet in rows, which may come in blocks; with a limit, about SLACK times what it leaves is held."""

    def __init__(self, n_features: int, n_labels: int, row_pairs: int = 0) -> None:
        """row_pairs : as in `Wide`."""
        self._row_pairs, self._n_rows = row_pairs, 0
        self._met = sp.csr_array((n_features, n_labels), dtype=np.float32)
        self._rows_with = np.zeros(n_features, np.int64)

    @classmethod
    def of(cls, X: sp.csr_array, Y: sp.csr_array, row_pairs: int = 0) -> PairCounts:
        """Those of all rows at once."""
        found = cls(X.shape[1], Y.shape[1], row_pairs)
        found.add(X, Y)
        return found

    def add(self, X: sp.csr_array, Y: sp.csr_array) -> None:
        """Counts in the pairs of some rows."""
        met = _met(X, Y)
        self._rows_with += np.bincount(X.indices, minlength=X.shape[1])
        self._n_rows += X.shape[0]
        if self._met.nnz:
            met = sp.csr_array(self._met + met)
            if self._row_pairs:
                met = _strongest(met, self._frequency, SLACK * self._row_pairs)
        self._met = met

    def merged_with(self, old: sp.csr_array) -> sp.csr_array:
        """The pairs to have, those that there are already among them: these have an entry in old, infinity."""
        met = sp.csr_array(self._met + old) if old.nnz else self._met
        return _strongest(met, self._frequency, self._row_pairs) if self._row_pairs else met

    @property
    def _frequency(self) -> npt.NDArray[np.float64]:
        """The share of rows that have each feature."""
        return self._rows_with / max(self._n_rows, 1)


def add_pairs(state: WideState, counts: PairCounts) -> bool:
    """Gives a zero weight to the pairs that meet and have none yet, within the limit of `Wide`.

    Returns whether there were any.
    """
    shape = len(state.indptr) - 1, len(state.bias)
    old = sp.csr_array((np.full(len(state.labels), np.inf, np.float32), state.labels, state.indptr), shape)
    met = counts.merged_with(old)
    if met.nnz == len(state.labels):
        return False
    met.sort_indices()
    weights = np.zeros(met.nnz, np.float32)
    if len(state.labels):
        weights[np.searchsorted(_keys(met.indptr, met.indices), _keys(state.indptr, state.labels))] = state.weights
    state.indptr = met.indptr.astype(np.int64)
    state.labels = met.indices.astype(np.int32)
    state.weights = weights
    return True


def add_few_pairs(state: WideState, X: sp.csr_array, Y: sp.csr_array, row_pairs: int) -> bool | None:
    """As add_pairs, of few rows: looks each of their pairs up instead of going through all that there are.

    None where the limit would be passed: then somebody has to choose.
    """
    features, labels = _pairs_of(X, Y)
    if not len(features):
        return False
    first, end = state.indptr[features], state.indptr[features + 1]
    at, known = lower_bound(state.labels, labels, first, end)
    if known.all():
        return False
    new = ~known
    met, times = np.unique(X.indices, return_counts=True)  # those of rows without labels among them
    lengths = state.indptr[met + 1] - state.indptr[met]
    lengths += np.bincount(np.searchsorted(met, features[new]), minlength=len(met))
    if row_pairs and times @ lengths > row_pairs * X.shape[0]:
        return None
    state.labels = inserted(state.labels, at[new], labels[new])
    state.weights = inserted(state.weights, at[new], np.zeros(np.count_nonzero(new), np.float32))
    state.indptr = with_longer(state.indptr, features[new])
    return True


def _pairs_of(X: sp.csr_array, Y: sp.csr_array) -> tuple[npt.NDArray[np.int64], IntArray]:
    """Features and labels that meet in a row, each pair once, by feature and label."""
    times = np.repeat(np.diff(Y.indptr), np.diff(X.indptr))  # of each entry of X: the labels of its row
    begin = np.repeat(Y.indptr[:-1], np.diff(X.indptr))
    within = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
    labels = Y.indices[np.repeat(begin, times) + within].astype(np.int64)
    keys = np.unique(np.repeat(X.indices.astype(np.int64), times) << 32 | labels)
    return keys >> 32, (keys & 0xFFFFFFFF).astype(np.int32)


def _strongest(met: sp.csr_array, frequency: npt.NDArray[np.float64], row_pairs: int) -> sp.csr_array:
    """Cuts every feature's list at one length, so that a row meets row_pairs pairs on average; infinite ones stay.

    frequency is the share of rows that have a feature.
    """
    lengths = np.diff(met.indptr)
    if lengths @ frequency <= row_pairs:
        return met
    below, above = 1, int(lengths.max())  # a length that is short enough (or the least there is), one that is not
    while above - below > 1:
        middle = (below + above) // 2
        fits = np.minimum(lengths, middle) @ frequency <= row_pairs
        below, above = (middle, above) if fits else (below, middle)
    keep = np.ones(met.nnz, bool)
    for feature in np.flatnonzero(lengths > below):
        strength = met.data[met.indptr[feature] : met.indptr[feature + 1]]
        listed = keep[met.indptr[feature] : met.indptr[feature + 1]]
        listed[np.argpartition(strength, -below)[:-below]] = False
        listed |= np.isinf(strength)
    indptr = np.concatenate([[0], np.cumsum(keep, dtype=np.int64)])[met.indptr]
    return sp.csr_array((met.data[keep], met.indices[keep], indptr), shape=met.shape)


def drop_pairs(state: WideState, threshold: float) -> None:
    """Forgets the pairs whose weight is under the threshold in absolute value."""
    keep = np.abs(state.weights) >= threshold
    kept = np.concatenate([[0], np.cumsum(keep, dtype=np.int64)])
    state.indptr = kept[state.indptr]
    state.labels = state.labels[keep]
    state.weights = state.weights[keep]


def _met(X: sp.csr_array, Y: sp.csr_array) -> sp.csr_array:
    """[n_features, n_labels]: the sum of |x| over the rows where feature and label meet; no entry where they do not."""
    strength = sp.csr_array((np.abs(X.data), X.indices, X.indptr), shape=X.shape)
    if not strength.data.all():
        strength = strength.copy()  # eliminate_zeros works in place, on X's own indices
        strength.eliminate_zeros()
    labels = sp.csr_array((np.ones(Y.nnz, np.float32), Y.indices, Y.indptr), shape=Y.shape)
    return sp.csr_array(strength.T.tocsr() @ labels)


def _keys(indptr: npt.NDArray[np.int64], labels: IntArray) -> npt.NDArray[np.int64]:
    """One ascending integer for each pair."""
    rows = np.repeat(np.arange(len(indptr) - 1, dtype=np.int64), np.diff(indptr))
    return (rows << 32) | labels
