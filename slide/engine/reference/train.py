"""One step of training, Algorithm 1 of the paper, and the loop over a thread's samples. Mirrors csrc/net/train.c."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from slide.engine.layout import KINDS
from slide.engine.reference import wide
from slide.engine.reference.active import choose
from slide.engine.reference.jit import kernel, loop
from slide.engine.reference.layer import (
    activation_backward,
    input_backward,
    input_forward,
    layer_backward,
    layer_forward,
    load_features,
)
from slide.engine.reference.loss import loss_gradient, weight_of
from slide.engine.reference.network import SAMPLED, output

BINARY = KINDS["binary"]


@kernel
def forward(net: Any, s: Any, labels: Any, n_features: Any, step: Any) -> Any:
    """Fills the outputs of every layer. Returns the number of distinct labels."""
    distinct = len(labels)
    input_forward(net.layers[0], s, n_features)
    for i in range(1, net.n_layers):
        last = i == net.n_layers - 1
        x = output(s, i - 1)
        if net.layers[i].kind == SAMPLED:
            found = choose(net.layers[i], i, s, x, labels if last else labels[:0], net.seed, step)
            distinct = found if last else distinct
        layer_forward(net.layers[i], x, output(s, i))
    return distinct


@kernel
def backward(net: Any, s: Any, n_features: Any, lr: Any) -> Any:
    """From the loss's gradient down; every layer's rows move on the way.

    Returns the layer whose update would have left float32; those below it are not updated either. -1 if none.
    """
    for i in range(net.n_layers - 1, 0, -1):
        if i < net.n_layers - 1:
            activation_backward(net.layers[i].activation, output(s, i))
        if not layer_backward(net.optimizer, net.layers[i], output(s, i - 1), output(s, i), lr):
            return i
    return -1 if input_backward(net.optimizer, net.layers[0], s, n_features, lr) else 0


@kernel
def first_bad_layer(n_layers: Any, s: Any) -> Any:
    """The lowest layer with an output that is not finite; the last if there is none."""
    for i in range(n_layers):
        if not np.isfinite(output(s, i).val).all():
            return i
    return n_layers - 1


@kernel
def train_deep(net: Any, s: Any, X: Any, Y: Any, row: Any, step: Any, lr: Any) -> Any:
    """The network's own step. Returns loss, number of losses, size of the active set and what `backward` returns.

    Changes nothing if the loss is not finite.
    """
    labels = Y.indices[Y.indptr[row] : Y.indptr[row + 1]]
    n_features = load_features(net.seed, s, X, row, step, net.layers[0].dropout)
    n_labels = forward(net, s, labels, n_features, step)
    out = output(s, net.n_layers - 1)
    weight, too_far = weight_of(X, row), -1
    loss = loss_gradient(net.loss, out, labels, n_labels, s.neg_log_q, weight)
    if math.isfinite(loss):
        too_far = backward(net, s, n_features, lr)
    return loss, int(n_labels > 0 or net.loss == BINARY), len(out.val), too_far


@loop
def train_samples(
    net: Any, s: Any, X: Any, Y: Any, order: Any, first_step: Any, lr: Any, thread: Any, n_threads: Any, stop: Any
) -> Any:
    """Visits this thread's samples; all threads end when one meets what TrainStats calls a bad step.

    Returns the fields of slide.engine.protocol.TrainStats.
    """
    loss, n_loss, n_active, wide_loss, n_wide_active = 0.0, 0, 0, 0.0, 0
    bad_step, bad_layer, bad_update = -1, -1, False
    for i in range(thread, len(order), n_threads):
        if stop[0]:
            break
        step = first_step + i
        if net.n_layers > 0:
            its_loss, losses, size, too_far = train_deep(net, s, X, Y, order[i], step, lr[i])
            if not math.isfinite(its_loss):
                bad_step, bad_layer = step, first_bad_layer(net.n_layers, s)
                break
            loss += its_loss
            n_loss += losses
            n_active += size
            if too_far >= 0:
                bad_step, bad_layer, bad_update = step, too_far, True
                break
        if net.has_wide:
            its_loss, size = wide.train(net.wide, s, X, Y, order[i], lr[i])
            wide_loss += its_loss
            if size < 0:
                bad_step, bad_layer, bad_update = step, net.n_layers, True
                break
            n_wide_active += size
    stop[0] = stop[0] or bad_step >= 0
    return loss, n_loss, n_active, bad_step, bad_layer, wide_loss, n_wide_active, bad_update
