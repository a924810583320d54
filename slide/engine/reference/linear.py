"""Sparse rows by label: hard negatives, dual coordinate descent, scores. Mirrors csrc/linear/, bit for bit.

Sums are taken in the order of the C core, which contracts no products into sums on x86-64; elsewhere results agree to
the rounding of float32.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from slide.engine.reference.jit import kernel, loop
from slide.engine.reference.linear_gram import GRAM_ROWS, descend_gram
from slide.engine.reference.linear_weights import ONE, START_BIAS, ZERO, add_row, add_rows, clear, margin
from slide.engine.reference.rng import SOLVER, below, stream

HALF = np.float32(0.5)
LAST_STEP = np.float32(1e-12)


class Problem(NamedTuple):
    """A label's: rows with sign, 1 / (2 C_i), |x|^2 + 1 + 1 / (2 C_i) and multiplier, and which are active."""

    rows: Any
    sign: Any
    slack: Any
    curvature: Any
    alpha: Any
    active: Any


class Options(NamedTuple):
    """Those of slide.rank.SolverOptions as the solver takes them."""

    n_features: int
    C: np.float32
    positive_weight: np.float32
    negative_weight: np.float32
    eps: np.float32
    prune: np.float32
    max_passes: int
    shrinks: bool
    seed: np.uint64


class Rows(NamedTuple):
    """Those of slide.rank.SparseRows with weights of floats."""

    indptr: Any
    features: Any
    weights: Any
    bias: Any
    n_features: int


@kernel
def has_label(y_indptr: Any, y_indices: Any, row: Any, label: Any) -> Any:
    """Whether the label, of ascending ones, is the row's."""
    low, high = y_indptr[row], y_indptr[row + 1]
    while low < high:
        middle = (low + high) // 2
        if y_indices[middle] < label:
            low = middle + 1
        else:
            high = middle
    return low < y_indptr[row + 1] and y_indices[low] == label


@loop
def negatives(shortlists: Any, y_indptr: Any, y_indices: Any, first_label: Any, n_labels: Any) -> Any:
    """By label: rows whose shortlist has it though it is none of theirs; indptr int64, rows int32."""
    indptr = np.zeros(n_labels + 1, np.int64)
    for row in range(shortlists.shape[0]):
        for label in shortlists[row]:
            inside = label >= 0 and first_label <= label < first_label + n_labels
            if inside and not has_label(y_indptr, y_indices, row, label):
                indptr[label - first_label + 1] += 1
    for i in range(n_labels):
        indptr[i + 1] += indptr[i]
    rows, cursor = np.empty(indptr[n_labels], np.int32), indptr.copy()
    for row in range(shortlists.shape[0]):
        for label in shortlists[row]:
            inside = label >= 0 and first_label <= label < first_label + n_labels
            if inside and not has_label(y_indptr, y_indices, row, label):
                rows[cursor[label - first_label]] = row
                cursor[label - first_label] += 1
    return indptr, rows


@kernel
def shuffle(a: Any, n: Any, rng: Any) -> None:
    """Puts the first n in random order."""
    for i in range(n - 1, 0, -1):
        j = below(rng, i + 1)
        a[i], a[j] = a[j], a[i]


@kernel
def start(w: Any, X: Any, rows: Any, sign: Any, slack: Any, warm: Any, label: Any) -> Any:
    """Multipliers, and in w the weights that they stand for: near those of warm, if it has any labels."""
    alpha = np.zeros(len(rows), np.float32)
    if len(warm.bias) == 0:
        return alpha
    for p in range(warm.indptr[label], warm.indptr[label + 1]):
        w[warm.features[p]] = warm.weights[p]
    w[-1] = warm.bias[label]
    for i in range(len(rows)):
        miss = ONE - sign[i] * margin(w, X, rows[i])
        alpha[i] = miss / slack[i] if miss > 0 else ZERO
    for p in range(warm.indptr[label], warm.indptr[label + 1]):
        w[warm.features[p]] = 0
    add_rows(w, X, rows, sign, alpha)
    return alpha


@kernel
def one_pass(w: Any, X: Any, p: Any, n_active: Any, limit: Any) -> Any:
    """One pass over the active rows. Returns how many stay, and the largest and least projected gradient."""
    most, least = np.float32(-math.inf), np.float32(math.inf)
    k = 0
    while k < n_active:
        i = p.active[k]
        gradient = p.sign[i] * margin(w, X, p.rows[i]) - ONE + p.alpha[i] * p.slack[i]
        projected = gradient
        if p.alpha[i] == 0:
            if gradient > limit:
                n_active -= 1
                p.active[k] = p.active[n_active]
                p.active[n_active] = i
                continue
            if gradient > 0:
                projected = ZERO
        k += 1
        most, least = max(most, projected), min(least, projected)
        if abs(projected) <= LAST_STEP:
            continue
        old = p.alpha[i]
        p.alpha[i] = max(old - gradient / p.curvature[i], ZERO)
        add_row(w, X, p.rows[i], (p.alpha[i] - old) * p.sign[i])
    return n_active, most, least


@kernel
def descend(w: Any, X: Any, p: Any, o: Any, rng: Any) -> None:
    """Passes until the projected gradients of all rows lie within eps of each other."""
    n = len(p.rows)
    n_active, limit = n, np.float32(math.inf)
    for _ in range(o.max_passes):
        shuffle(p.active, n_active, rng)
        n_active, most, least = one_pass(w, X, p, n_active, limit)
        if n_active > 0 and most - least > o.eps:
            limit = most if o.shrinks and most > 0 else np.float32(math.inf)
            continue
        if n_active == n:
            return
        n_active, limit = n, np.float32(math.inf)


@kernel
def problem(X: Any, positives: Any, negatives: Any, row_weights: Any, o: Any) -> Any:
    """A label's rows whose weight is not 0, positives first, with what stays as it is while they are learned from."""
    most = len(positives) + len(negatives)
    rows, sign = np.empty(most, np.int32), np.empty(most, np.float32)
    slack, curvature = np.empty(most, np.float32), np.empty(most, np.float32)
    n = 0
    for y, some, C in ((ONE, positives, o.C * o.positive_weight), (-ONE, negatives, o.C * o.negative_weight)):
        for row in some:
            weight = C * row_weights[row] if len(row_weights) > 0 else C
            if weight > 0:
                square = ONE
                for j in range(X.indptr[row], X.indptr[row + 1]):
                    square += X.data[j] * X.data[j]
                rows[n], sign[n], slack[n] = row, y, HALF / weight
                curvature[n] = square + slack[n]
                n += 1
    return rows[:n], sign[:n], slack[:n], curvature[:n]


@kernel
def kept(w: Any, X: Any, rows: Any, prune: Any) -> Any:
    """The features, ascending, whose weights stay."""
    n = 0
    for row in rows:
        n += X.indptr[row + 1] - X.indptr[row]
    met, n = np.empty(n, np.int32), 0
    for row in rows:
        for j in range(X.indptr[row], X.indptr[row + 1]):
            met[n] = X.indices[j]
            n += 1
    met = np.unique(met)
    stays = np.zeros(len(met), np.bool_)
    for i in range(len(met)):
        stays[i] = w[met[i]] != 0 and abs(w[met[i]]) >= prune
    return met[stays]


@loop
def solve(X: Any, positives: Any, negatives: Any, o: Any, first_label: Any, row_weights: Any, warm: Any) -> Any:
    """Rows of some labels: indptr int64, features int32, weights float32, bias float32.

    positives, negatives: pairs (indptr, rows) by label; warm: rows of these labels to start from, or of none.
    """
    n_labels = len(positives[0]) - 1
    indptr, bias = np.zeros(n_labels + 1, np.int64), np.zeros(n_labels, np.float32)
    features, weights = np.empty(1024, np.int32), np.empty(1024, np.float32)
    w = np.zeros(o.n_features + 1, np.float32)
    w[-1] = START_BIAS
    for label in range(n_labels):
        own = positives[1][positives[0][label] : positives[0][label + 1]]
        wrong = negatives[1][negatives[0][label] : negatives[0][label + 1]]
        rows, sign, slack, curvature = problem(X, own, wrong, row_weights, o)
        alpha = start(w, X, rows, sign, slack, warm, label)
        p = Problem(rows, sign, slack, curvature, alpha, np.arange(len(rows)).astype(np.int32))
        if len(rows) <= GRAM_ROWS:
            descend_gram(w, X, p, o.eps)
        else:
            descend(w, X, p, o, stream(o.seed, SOLVER, first_label + label))
        stay = kept(w, X, rows, o.prune)
        begin = indptr[label]
        end = begin + len(stay)
        if end > len(features):
            features, weights = grown(features, end), grown(weights, end)
        for i in range(len(stay)):
            features[begin + i], weights[begin + i] = stay[i], w[stay[i]]
        indptr[label + 1], bias[label] = end, w[-1]
        clear(w, X, rows)
    return indptr, features[: indptr[-1]].copy(), weights[: indptr[-1]].copy(), bias


@kernel
def grown(a: Any, n: Any) -> Any:
    """A copy with room for n entries and half as many more."""
    larger = np.empty(n + n // 2, a.dtype)
    larger[: len(a)] = a
    return larger


@loop
def scores(rows: Any, X: Any, ids: Any) -> Any:
    """float32 [n, m]: w . x + bias of the labels ids [n, m] of each row, -infinity where an id is -1."""
    z = np.full(ids.shape, np.float32(-math.inf), np.float32)
    dense = np.zeros(rows.n_features, np.float32)
    for row in range(len(ids)):
        for j in range(X.indptr[row], X.indptr[row + 1]):
            dense[X.indices[j]] = X.data[j]
        for j in range(ids.shape[1]):
            if ids[row, j] >= 0:
                z[row, j] = score(rows, ids[row, j], dense)
        for j in range(X.indptr[row], X.indptr[row + 1]):
            dense[X.indices[j]] = 0
    return z


@kernel
def score(rows: Any, label: Any, dense: Any) -> Any:
    """One label's, against a row that is spread out."""
    first, last = rows.indptr[label], rows.indptr[label + 1]
    whole = last - (last - first) % 4
    a, b, c, d = ZERO, ZERO, ZERO, ZERO
    for p in range(first, whole, 4):
        a += dense[rows.features[p]] * rows.weights[p]
        b += dense[rows.features[p + 1]] * rows.weights[p + 1]
        c += dense[rows.features[p + 2]] * rows.weights[p + 2]
        d += dense[rows.features[p + 3]] * rows.weights[p + 3]
    for p in range(whole, last):
        a += dense[rows.features[p]] * rows.weights[p]
    return ((a + b) + (c + d)) + rows.bias[label]


@kernel
def curve_at(curve: Any, first: Any, step: Any, z: Any) -> Any:
    """Straight between knots step apart, and beyond them."""
    place = (z - first) / step
    i: Any = min(max(int(place), 0), len(curve) - 2)
    return curve[i] + (place - np.float32(i)) * (curve[i + 1] - curve[i])


@loop
def log_odds(ids: Any, logits: Any, z: Any, curve: Any, first: Any, step: Any, logit_share: Any, sum_share: Any) -> Any:
    """Of the labels ids [n, m], -1 where there is none: curve(z) + logit_share logit + sum_share log sum e^logit."""
    out = np.full(ids.shape, np.float32(-math.inf), np.float32)
    for row in range(len(ids)):
        most, total = np.float32(-math.inf), 0.0
        for j in range(ids.shape[1]):
            if ids[row, j] >= 0 and logits[row, j] > most:
                most = logits[row, j]
        for j in range(ids.shape[1]):
            if ids[row, j] >= 0:
                total += math.exp(np.float64(logits[row, j]) - np.float64(most))
        shift = sum_share * (most + np.float32(math.log(total))) if total > 0 else ZERO
        for j in range(ids.shape[1]):
            if ids[row, j] >= 0:
                out[row, j] = curve_at(curve, first, step, z[row, j]) + logit_share * logits[row, j] + shift
    return out
