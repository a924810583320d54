"""Forward and backward passes of one sample through one layer. Mirrors csrc/net/layer.c."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from slide.engine.layout import BIAS, KINDS, ROW_SCALARS
from slide.engine.reference.jit import kernel, sum_kernel
from slide.engine.reference.network import DENSE_INPUT, output
from slide.engine.reference.optimizer import Factor, update_fits, update_row
from slide.engine.reference.rng import DROPOUT, stream, uniform

RELU, TANH = KINDS["relu"], KINDS["tanh"]
ZERO, ONE = np.float32(0), np.float32(1)
ONES = np.ones(1, np.float32)


@sum_kernel
def dot(x: Any, y: Any, n: Any) -> Any:
    """Sum over the first n coordinates."""
    z = ZERO
    for i in range(n):
        z += x[i] * y[i]
    return z


@kernel
def dot_sparse(row: Any, x: Any) -> Any:
    """Sum over the coordinates that x names."""
    z = ZERO
    for i in range(len(x.val)):
        z += row[x.ids[i]] * x.val[i]
    return z


@kernel
def activate(activation: Any, z: Any) -> None:
    """z = f(z)"""
    for i in range(len(z)):
        if activation == RELU:
            z[i] = z[i] if z[i] > 0 else ZERO
        elif activation == TANH:
            z[i] = math.tanh(z[i])


@kernel
def activation_backward(activation: Any, out: Any) -> None:
    """The gradient of f's output becomes that of its input; f' is a function of the output."""
    for i in range(len(out.val)):
        if activation == RELU and not out.val[i] > 0:
            out.grad[i] = 0
        elif activation == TANH:
            out.grad[i] *= ONE - out.val[i] * out.val[i]


@kernel
def load_features(seed: Any, s: Any, X: Any, row: Any, step: Any, dropout: Any) -> Any:
    """Copies the sample's features, each left out with chance `dropout`, the rest scaled up. Returns how many."""
    scale = ONE / (ONE - dropout)
    rng = stream(seed, DROPOUT, step)
    n = 0
    for i in range(X.indptr[row], X.indptr[row + 1]):
        if dropout > 0 and uniform(rng) < dropout:
            continue
        s.features[n] = X.indices[i]
        s.feature_values[n] = X.data[i] * scale
        n += 1
    return n


@kernel
def input_forward(layer: Any, s: Any, n_features: Any) -> None:
    """Layer 0: f of the sum of the sample's feature rows, or the sample itself."""
    out = s.val[0][: layer.n]
    if layer.kind == DENSE_INPUT:
        out[:] = ZERO
        for i in range(n_features):
            out[s.features[i]] = s.feature_values[i]
        return
    for j in range(layer.n):
        out[j] = layer.rows[layer.fan_in, j] if layer.has_bias else ZERO
    for i in range(n_features):
        row, value = layer.rows[s.features[i]], s.feature_values[i]
        for j in range(layer.n):
            out[j] += value * row[j]
    activate(layer.activation, out)


@kernel
def input_backward(optimizer: Any, layer: Any, s: Any, n_features: Any, lr: Any) -> Any:
    """Updates the sample's feature rows: a row's gradient is the feature's value times that of the sum.

    Changes nothing and returns False where the updates would leave float32, as layer_backward does.
    """
    if layer.kind == DENSE_INPUT:
        return True
    out = output(s, 0)
    activation_backward(layer.activation, out)
    sqnorm = dot(out.grad, out.grad, layer.n)
    if sqnorm == 0:
        return True
    if not update_fits(optimizer, sqnorm, s.feature_values[:n_features], lr):
        return False
    if layer.has_bias and not update_fits(optimizer, sqnorm, ONES, lr):
        return False
    decay = lr * optimizer.weight_decay
    factor = Factor(False, out.ids, out.grad, sqnorm, ONE, False, out.val)
    for i in range(n_features):
        update_row(optimizer, layer, layer.rows[s.features[i]], factor, s.feature_values[i], lr, decay)
    if layer.has_bias:
        update_row(optimizer, layer, layer.rows[layer.fan_in], factor, ONE, lr, ZERO)
    return True


@kernel
def logit(layer: Any, neuron: Any, x: Any) -> Any:
    """row . x + bias"""
    row = layer.rows[neuron]
    z = dot_sparse(row, x) if x.sparse else dot(row, x.val, layer.width)
    return z + row[layer.rows.shape[1] - ROW_SCALARS + BIAS]


@kernel
def layer_forward(layer: Any, x: Any, out: Any) -> None:
    """out.val = f(logit) of the neurons in out.ids, or of all."""
    for k in range(len(out.val)):
        out.val[k] = logit(layer, out.ids[k] if out.sparse else k, x)
    activate(layer.activation, out.val)


@kernel
def layer_backward(optimizer: Any, layer: Any, x: Any, out: Any, lr: Any) -> Any:
    """From out.grad (of the logits): sets x.grad and updates the rows."""
    sqnorm = dot(x.val, x.val, len(x.val))
    if not update_fits(optimizer, sqnorm, out.grad, lr):
        return False
    x.grad[:] = 0
    decay = lr * optimizer.weight_decay
    factor = Factor(x.sparse, x.ids, x.val, sqnorm, ONE, True, x.grad)
    for k in range(len(out.val)):
        if out.grad[k] != 0:
            neuron = out.ids[k] if out.sparse else k
            update_row(optimizer, layer, layer.rows[neuron], factor, out.grad[k], lr, decay)
    return True
