"""One step for samples that share an active set of the last layer. Mirrors csrc/net/batch.c."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from slide.engine.layout import BIAS, KINDS, ROW_SCALARS
from slide.engine.reference import wide
from slide.engine.reference.active import MEMBER, all_active, join, take_from_lists, take_uniform
from slide.engine.reference.hash import hash_vector
from slide.engine.reference.jit import kernel, loop
from slide.engine.reference.layer import (
    activation_backward,
    dot,
    input_backward,
    input_forward,
    layer_backward,
    layer_forward,
    load_features,
)
from slide.engine.reference.loss import softplus, weight_of
from slide.engine.reference.network import output
from slide.engine.reference.optimizer import Factor, update_fits, update_row
from slide.engine.reference.rng import BATCH, LAYERS_APART, below, stream
from slide.engine.reference.rng import NEGATIVES as NEGATIVES_STREAM

SOFTMAX, BINARY = KINDS["softmax"], KINDS["binary"]
ZERO, ONE = np.float32(0), np.float32(1)


@kernel
def forward_below(net: Any, s: Any, X: Any, row: Any, step: Any) -> Any:
    """Everything below the last layer, into the outputs of the scratch. Returns the number of features."""
    n_features = load_features(net.seed, s, X, row, step, net.layers[0].dropout)
    input_forward(net.layers[0], s, n_features)
    for i in range(1, net.n_layers - 1):
        layer_forward(net.layers[i], output(s, i - 1), output(s, i))
    return n_features


@loop
def find_cells(net: Any, s: Any, X: Any, order: Any, first_step: Any, thread: Any, n_threads: Any, cells: Any) -> None:
    """cells[i] of this thread's samples order[i]."""
    layer = net.layers[net.n_layers - 1]
    query = np.ones(layer.fan_in + 1, np.float32)
    for i in range(thread, len(order), n_threads):
        forward_below(net, s, X, order[i], first_step + i)
        query[: layer.fan_in] = output(s, net.n_layers - 2).val
        hash_vector(layer.lsh, query, s)
        cells[i] = s.codes[0]


@loop
def batches_in_order(seed: Any, n: Any, first_step: Any) -> Any:
    """The numbers below n, shuffled (Durstenfeld, CACM 1964, inside out)."""
    order = np.empty(n, np.int64)
    rng = stream(seed, BATCH, first_step)
    for i in range(n):
        j = below(rng, i + 1)
        order[i] = order[j]
        order[j] = i
    return order


@kernel
def place_of_label(s: Any, label: Any, ids: Any, n: Any) -> Any:
    """Where a label is in ids[:n], or n: it is to be appended."""
    if s.collisions[label] == MEMBER:
        for place in range(n):
            if ids[place] == label:
                return place
    return n


@kernel
def choose_active(net: Any, s: Any, Y: Any, rows: Any, cells: Any, step: Any, ids: Any, targets: Any) -> Any:
    """Fills ids, s.neg_log_q and targets[q] (places of sample q's labels, -1 behind). Returns the set's size."""
    layer = net.layers[net.n_layers - 1]
    n = 0
    targets[:] = -1
    for q in range(len(rows)):
        n_places = 0
        for label in Y.indices[Y.indptr[rows[q]] : Y.indptr[rows[q] + 1]]:
            place = place_of_label(s, label, ids, n)
            n = join(s, label, ids, n)
            if not np.any(targets[q, :n_places] == place):
                targets[q, n_places] = place
                n_places += 1
    if all_active(layer):
        for neuron in range(layer.n):
            n = join(s, neuron, ids, n)
        s.neg_log_q[:n] = 0
    else:
        listed = layer.n_active - layer.n_random
        if layer.lsh.L > 0:
            n += take_from_lists(layer.lsh, s, np.unique(cells), max(listed - n, listed // 2), ids[n:])
        rng = stream(net.seed, NEGATIVES_STREAM + LAYERS_APART * np.uint64(net.n_layers - 1), step)
        n = take_uniform(layer, s, rng, ids, n)
    for neuron in ids[:n]:
        s.collisions[neuron] = 0
    return n


@kernel
def softmax_gradient(z: Any, target: Any) -> Any:
    """Logits of one sample become gradients. Returns the loss."""
    n_labels = np.sum(target >= 0)
    if n_labels == 0:
        z[:] = 0
        return ZERO
    share, shift, loss = ONE / np.float32(n_labels), z.max(), ZERO
    for place in target[:n_labels]:
        loss -= share * (z[place] - shift)
    total = ZERO
    for k in range(len(z)):
        z[k] = math.exp(z[k] - shift)
        total += z[k]
    z /= total
    for place in target[:n_labels]:
        z[place] -= share
    return loss + np.float32(math.log(total))


@kernel
def binary_gradient(z: Any, target: Any) -> Any:
    """The same for a binary cross-entropy a neuron."""
    n_labels, loss = np.sum(target >= 0), ZERO
    for place in target[:n_labels]:
        loss -= z[place]
    for k in range(len(z)):
        loss += softplus(z[k])
        z[k] = ONE / (ONE + np.float32(math.exp(-z[k])))
    for place in target[:n_labels]:
        z[place] -= ONE
    return loss


@kernel
def update_rows(net: Any, ids: Any, z: Any, queries: Any, lr: Any) -> None:
    """One step of every active row with its gradient summed over the batch."""
    layer = net.layers[net.n_layers - 1]
    gradient, nothing = np.empty(layer.fan_in, np.float32), np.empty(0, np.float32)
    for k in range(len(ids)):
        if not np.any(z[:, k] != 0):
            continue
        gradient[:] = 0
        bias = ZERO
        for q in range(len(z)):
            bias += z[q, k]
            for d in range(layer.fan_in):
                gradient[d] += z[q, k] * queries[q, d]
        factor = Factor(False, ids, gradient, dot(gradient, gradient, layer.fan_in), bias, False, nothing)
        update_row(net.optimizer, layer, layer.rows[ids[k]], factor, ONE, lr, lr * net.optimizer.weight_decay)


@kernel
def rows_fit(net: Any, z: Any, queries: Any, lr: Any) -> Any:
    """Whether the step of every active row stays within float32: no row's gradient is longer than this."""
    longest, largest = ZERO, np.zeros(1, np.float32)
    for q in range(len(z)):
        longest = max(longest, dot(queries[q], queries[q], queries.shape[1]))
    for k in range(z.shape[1]):
        total = ZERO
        for q in range(len(z)):
            total += abs(z[q, k])
        largest[0] = max(largest[0], total)
    return update_fits(net.optimizer, longest, largest, lr)


@kernel
def first_bad_layer(net: Any, outputs: Any) -> Any:
    """The lowest layer of a sample with an output that is not finite; the last if there is none."""
    for i in range(net.n_layers - 1):
        if not np.isfinite(outputs[i, : net.layers[i].n]).all():
            return i
    return net.n_layers - 1


@kernel
def train_batch(net: Any, s: Any, X: Any, Y: Any, rows: Any, steps: Any, cells: Any, step: Any, lr: Any) -> Any:
    """Returns loss, number of losses and size of the active set; then -1, -1 and False, or the sample and layer of what
    TrainStats calls a bad step, and whether it was an update. A loss that is not finite changes nothing.
    """
    layer, top, n = net.layers[net.n_layers - 1], net.n_layers - 2, len(rows)
    outputs = np.zeros((n, net.n_layers, s.val.shape[1]), np.float32)
    queries = np.empty((n, layer.fan_in), np.float32)
    most_labels = 1
    for q in range(n):
        forward_below(net, s, X, rows[q], steps[q])
        outputs[q] = s.val
        queries[q] = output(s, top).val
        most_labels = max(most_labels, Y.indptr[rows[q] + 1] - Y.indptr[rows[q]])
    targets = np.empty((n, most_labels), np.int64)
    ids = np.empty(layer.n_active + layer.n_random + n * most_labels, np.int32)
    ids = ids[: choose_active(net, s, Y, rows, cells, step, ids, targets)]
    z = np.empty((n, len(ids)), np.float32)
    loss, n_losses = ZERO, 0
    for q in range(n):
        for k in range(len(ids)):
            row = layer.rows[ids[k]]
            z[q, k] = dot(row, queries[q], layer.fan_in) + (
                s.neg_log_q[k] + row[layer.rows.shape[1] - ROW_SCALARS + BIAS]
            )
        its_loss = softmax_gradient(z[q], targets[q]) if net.loss == SOFTMAX else binary_gradient(z[q], targets[q])
        z[q] *= weight_of(X, rows[q])
        its_loss *= weight_of(X, rows[q])
        if not math.isfinite(its_loss):
            return loss, n_losses, 0, q, first_bad_layer(net, outputs[q]), False
        loss += its_loss
        n_losses += targets[q, 0] >= 0 or net.loss == BINARY
    if not rows_fit(net, z, queries, lr):
        return loss, n_losses, n * len(ids), 0, net.n_layers - 1, True
    d_queries = np.zeros_like(queries)
    for k in range(len(ids)):
        for q in range(n):
            for d in range(layer.fan_in):
                d_queries[q, d] += z[q, k] * layer.rows[ids[k], d]
    update_rows(net, ids, z, queries, lr)
    for q in range(n):
        s.val[:] = outputs[q]
        output(s, top).grad[:] = d_queries[q]
        for i in range(top, 0, -1):
            activation_backward(net.layers[i].activation, output(s, i))
            if not layer_backward(net.optimizer, net.layers[i], output(s, i - 1), output(s, i), lr):
                return loss, n_losses, n * len(ids), q, i, True
        n_features = load_features(net.seed, s, X, rows[q], steps[q], net.layers[0].dropout)
        if not input_backward(net.optimizer, net.layers[0], s, n_features, lr):
            return loss, n_losses, n * len(ids), q, 0, True
    return loss, n_losses, n * len(ids), -1, -1, False


@loop
def train_batches(
    net: Any, s: Any, X: Any, Y: Any, plan: Any, lr: Any, batch_size: Any, thread: Any, n_threads: Any, stop: Any
) -> Any:
    """This thread's batches; returns what loop.train_samples does."""
    loss, n_loss, n_active, wide_loss, n_wide_active = 0.0, 0, 0, 0.0, 0
    for i in range(thread, len(plan.batches), n_threads):
        if stop[0]:
            break
        at = plan.visit[plan.batches[i] * batch_size : (plan.batches[i] + 1) * batch_size]
        rows, steps = plan.order[at], plan.first_step + at
        its_loss, losses, size, place, bad_layer, bad_update = train_batch(
            net, s, X, Y, rows, steps, plan.cells[at], plan.first_step + plan.batches[i] * batch_size, lr[at[0]]
        )
        loss += its_loss
        n_loss += losses
        n_active += size
        if net.has_wide and place < 0:
            for q in range(len(rows)):
                its_loss, size = wide.train(net.wide, s, X, Y, rows[q], lr[at[q]])
                wide_loss += its_loss
                if size < 0:
                    place, bad_layer, bad_update = q, net.n_layers, True
                    break
                n_wide_active += size
        if place >= 0:
            stop[0] = True
            return loss, n_loss, n_active, steps[place], bad_layer, wide_loss, n_wide_active, bad_update
    return loss, n_loss, n_active, -1, -1, wide_loss, n_wide_active, False
