"""One step of training, Algorithm 1 of the paper, and the loop over a thread's samples. Mirrors csrc/train.c."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from slide._state import KINDS
from slide.reference import wide
from slide.reference.active import choose
from slide.reference.jit import kernel, loop
from slide.reference.losses import loss_gradient
from slide.reference.network import SAMPLED, output
from slide.reference.passes import (
    activation_backward,
    input_backward,
    input_forward,
    layer_backward,
    layer_forward,
    load_features,
)

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
def backward(net: Any, s: Any, n_features: Any, lr: Any) -> None:
    """From the loss's gradient down; every layer's rows move on the way."""
    for i in range(net.n_layers - 1, 0, -1):
        if i < net.n_layers - 1:
            activation_backward(net.layers[i].activation, output(s, i))
        layer_backward(net.optimizer, net.layers[i], output(s, i - 1), output(s, i), lr)
    input_backward(net.optimizer, net.layers[0], s, n_features, lr)


@kernel
def first_bad_layer(n_layers: Any, s: Any) -> Any:
    """The lowest layer with an output that is not finite; the last if there is none."""
    for i in range(n_layers):
        if not np.isfinite(output(s, i).val).all():
            return i
    return n_layers - 1


@kernel
def train_deep(net: Any, s: Any, X: Any, Y: Any, row: Any, step: Any, lr: Any) -> Any:
    """The network's own step. Returns loss, number of losses and size of the active set; changes nothing if the loss is
    not finite.
    """
    labels = Y.indices[Y.indptr[row] : Y.indptr[row + 1]]
    n_features = load_features(net.seed, s, X, row, step, net.layers[0].dropout)
    n_labels = forward(net, s, labels, n_features, step)
    out = output(s, net.n_layers - 1)
    loss = loss_gradient(net.loss, out, labels, n_labels, s.corrections)
    if math.isfinite(loss):
        backward(net, s, n_features, lr)
    return loss, int(n_labels > 0 or net.loss == BINARY), len(out.val)


@loop
def train_samples(
    net: Any, s: Any, X: Any, Y: Any, order: Any, first_step: Any, lr: Any, thread: Any, n_threads: Any, stop: Any
) -> Any:
    """Visits this thread's samples; all threads end when one meets a loss that is not finite.

    Returns loss, n_loss, n_active, bad_step, bad_layer, wide_loss, n_wide_active, as slide._state.TrainStats.
    """
    loss, n_loss, n_active, wide_loss, n_wide_active = 0.0, 0, 0, 0.0, 0
    for i in range(thread, len(order), n_threads):
        if stop[0]:
            break
        if net.n_layers > 0:
            step = first_step + i
            its_loss, losses, size = train_deep(net, s, X, Y, order[i], step, lr[i])
            if not math.isfinite(its_loss):
                stop[0] = True
                return loss, n_loss, n_active, step, first_bad_layer(net.n_layers, s), wide_loss, n_wide_active
            loss += its_loss
            n_loss += losses
            n_active += size
        if net.has_wide:
            its_loss, size = wide.train(net.wide, s, X, Y, order[i], lr[i])
            wide_loss += its_loss
            n_wide_active += size
    return loss, n_loss, n_active, -1, -1, wide_loss, n_wide_active
