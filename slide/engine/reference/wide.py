"""The sparse linear part: squared hinge over every label on the wrong side of its margin. As csrc/linear/wide.c."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from slide.engine.reference.jit import kernel
from slide.engine.reference.loss import weight_of
from slide.engine.reference.network import LIST_UNDER, WIDE_BLOCK
from slide.engine.reference.optimizer import LARGEST_SQUARE, magnitude

ONE, TWO = np.float32(1), np.float32(2)
KEEP_OUT = np.float32(-math.inf)


@kernel
def count_pairs(wide: Any, features: Any) -> Any:
    """Pairs that the walk will meet."""
    pairs = 0
    for feature in features:
        pairs += wide.indptr[feature + 1] - wide.indptr[feature]
    return pairs


@kernel
def accumulate(wide: Any, features: Any, values: Any, s: Any) -> Any:
    """s.wide_score[l] += x . weights[:, l] for labels that share a feature. Returns the squared norm of x."""
    sqnorm, pairs = np.float32(0), count_pairs(wide, features)
    if pairs >= len(wide.bias) // 8:  # so many that sweeping every block is cheaper than marking some
        s.wide_touched[:] = True
    for i in range(len(features)):
        x = values[i]
        sqnorm += x * x
        for p in range(wide.indptr[features[i]], wide.indptr[features[i] + 1]):
            label = wide.labels[p]
            s.wide_score[label] += x * wide.weights[p]
            s.wide_touched[label // WIDE_BLOCK] = True
    return sqnorm


@kernel
def take_violator(wide: Any, s: Any, label: Any, n: Any) -> Any:
    """Appends the label to s.wide_ids[:n] if it scores z over -1, with gradient 2 (1 + z); zeroes it. The new n."""
    z = s.wide_score[label] + wide.bias[label]
    s.wide_score[label] = 0
    if z > -ONE:
        s.wide_ids[n] = label
        s.wide_gradient[n] = TWO * (ONE + z)
        n += 1
    return n


@kernel
def sweep(wide: Any, s: Any, n: Any) -> Any:
    """Appends to s.wide_ids[:n] the labels of touched blocks that score z over -1, with gradient 2 (1 + z), and zeroes
    all scores. Returns the new n.
    """
    for block in range(len(s.wide_touched)):
        if not s.wide_touched[block]:
            continue
        s.wide_touched[block] = False
        for label in range(block * WIDE_BLOCK, min((block + 1) * WIDE_BLOCK, len(wide.bias))):
            n = take_violator(wide, s, label, n)
    return n


@kernel
def accumulate_listed(wide: Any, features: Any, values: Any, s: Any) -> Any:
    """The same without marks. Returns the squared norm of x, and how many labels s.wide_met lists."""
    sqnorm, n_met = np.float32(0), 0
    for i in range(len(features)):
        x = values[i]
        sqnorm += x * x
        for p in range(wide.indptr[features[i]], wide.indptr[features[i] + 1]):
            label = wide.labels[p]
            if s.wide_score[label] == 0:
                s.wide_met[n_met] = label
                n_met += 1
            s.wide_score[label] += x * wide.weights[p]
    return sqnorm, n_met


@kernel
def listed_sweep(wide: Any, s: Any, n: Any, n_met: Any) -> Any:
    """As `sweep`, of the labels that s.wide_met lists."""
    for label in s.wide_met[:n_met]:
        n = take_violator(wide, s, label, n)
    return n


@kernel
def keep_out(s: Any, label: Any) -> None:
    """The next sweep leaves the label out."""
    s.wide_score[label] = KEEP_OUT
    s.wide_touched[label // WIDE_BLOCK] = True


@kernel
def take_labels(wide: Any, s: Any, labels: Any) -> Any:
    """The sample's labels that score under 1 lead the active set. Returns how many, and their loss."""
    n, loss = 0, 0.0
    for label in labels:
        miss = ONE - (s.wide_score[label] + wide.bias[label])
        if 0 < miss < math.inf:
            s.wide_ids[n] = label
            s.wide_gradient[n] = -TWO * miss
            n += 1
            loss += miss * miss
        keep_out(s, label)
    return n, loss


@kernel
def weighted_step(step: Any, sqnorm: Any, bias_ratio: Any, weight: Any) -> Any:
    """The step that does what `weight` steps one after the other would."""
    a = TWO * step * (sqnorm + bias_ratio)
    if weight == ONE or not a > 0:
        return step
    if a >= 1:
        return step * weight if weight < 1 else step
    return step * np.float32(-math.expm1(weight * np.float32(math.log1p(-a)))) / a


@kernel
def train(wide: Any, s: Any, X: Any, Y: Any, row: Any, lr: Any) -> Any:
    """One sample's step. Returns the loss of its labels and the size of its active set, -1 where the updates would
    leave float32 and are not made.
    """
    features = X.indices[X.indptr[row] : X.indptr[row + 1]]
    values = X.data[X.indptr[row] : X.indptr[row + 1]]
    own = Y.indices[Y.indptr[row] : Y.indptr[row + 1]]
    lists, n_met = len(s.wide_met) > 0 and count_pairs(wide, features) < len(wide.bias) // LIST_UNDER, 0
    if lists:
        sqnorm, n_met = accumulate_listed(wide, features, values, s)
    else:
        sqnorm = accumulate(wide, features, values, s)
    n, loss = take_labels(wide, s, own)
    if lists:
        n = listed_sweep(wide, s, n, n_met)
        for label in own:  # those that share no feature are not listed
            s.wide_score[label] = 0
            s.wide_touched[label // WIDE_BLOCK] = False
    else:
        n = sweep(wide, s, n)
    step = lr * wide.lr_ratio / max(sqnorm, ONE)  # a long row must not overshoot
    weight = weight_of(X, row)
    step = weighted_step(step, sqnorm, wide.bias_ratio, weight)
    loss *= weight
    longest = step * magnitude(s.wide_gradient[:n])
    if not longest * longest * (sqnorm + ONE) <= LARGEST_SQUARE:
        return loss, -1
    for k in range(n):
        label = s.wide_ids[k]
        s.wide_score[label] = s.wide_gradient[k]
        wide.bias[label] -= step * wide.bias_ratio * s.wide_gradient[k]
    for i in range(len(features)):
        for p in range(wide.indptr[features[i]], wide.indptr[features[i] + 1]):
            wide.weights[p] -= step * values[i] * s.wide_score[wide.labels[p]]
    for label in s.wide_ids[:n]:
        s.wide_score[label] = 0
    return loss, n
