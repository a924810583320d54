"""Softmax and binary cross-entropy over an active set, corrected for how each neuron came in. As csrc/net/loss.c."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from slide.engine.layout import KINDS
from slide.engine.reference.jit import kernel

SOFTMAX = KINDS["softmax"]
ZERO, ONE = np.float32(0), np.float32(1)


@kernel
def _place(out: Any, labels: Any, i: Any) -> Any:
    """Where the i-th label's neuron is: labels lead an active set; in a dense layer they are their own places."""
    return i if out.sparse else np.int64(labels[i])


@kernel
def softmax_gradient(out: Any, labels: Any, n_labels: Any) -> Any:
    """Cross-entropy against the uniform distribution over the labels. out.grad holds logits, then gradients."""
    z = out.grad
    if n_labels == 0:  # no target distribution: the sample says nothing
        z[:] = 0
        return ZERO
    target = ONE / np.float32(n_labels)
    loss, shift, total = ZERO, z.max(), ZERO
    for i in range(n_labels):
        loss -= target * (z[_place(out, labels, i)] - shift)
    for i in range(len(z)):
        z[i] = math.exp(z[i] - shift)
        total += z[i]
    for i in range(len(z)):
        z[i] /= total
    for i in range(n_labels):
        z[_place(out, labels, i)] -= target
    return loss + np.float32(math.log(total))


@kernel
def softplus(z: Any) -> Any:
    """log(1 + e^z) without overflow."""
    return max(z, ZERO) + np.float32(math.log1p(math.exp(-abs(z))))


@kernel
def binary_gradient(out: Any, labels: Any, n_labels: Any) -> Any:
    """Sum of a binary cross-entropy a neuron."""
    z, loss = out.grad, ZERO
    for i in range(n_labels):
        loss -= z[_place(out, labels, i)]
    for i in range(len(z)):
        loss += softplus(z[i])
        z[i] = ONE / (ONE + np.float32(math.exp(-z[i])))
    for i in range(n_labels):
        z[_place(out, labels, i)] -= ONE
    return loss


@kernel
def weight_of(X: Any, row: Any) -> Any:
    """How many times the row's loss counts."""
    return X.weights[row] if len(X.weights) > 0 else ONE


@kernel
def loss_gradient(kind: Any, out: Any, labels: Any, n_labels: Any, neg_log_q: Any, weight: Any) -> Any:
    """Fills out.grad from the logits out.val, shifted by -log q where neurons were sampled. Returns the loss.

    Both are multiplied by the sample's weight.
    """
    for i in range(len(out.val)):
        out.grad[i] = out.val[i] + (neg_log_q[i] if out.sparse else ZERO)
    loss = softmax_gradient(out, labels, n_labels) if kind == SOFTMAX else binary_gradient(out, labels, n_labels)
    if weight != ONE:
        out.grad[:] *= weight
        loss *= weight
    return loss
