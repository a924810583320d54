"""The training step once more in plain NumPy and float64, without a line shared with the engines.

Losses are written down and differentiated numerically; optimizers are the formulas of their papers on whole matrices
with a mask for the rows that a sample touches.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

import slide

Array = npt.NDArray[np.float64]
#: A layer's active set: ids and -log q of each. None: all neurons, uncorrected.
ActiveSet = tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]] | None


def parameters(net: slide.Network) -> list[tuple[Array, Array]]:
    """Weights and biases of every layer, copied."""
    return [(s.weights.astype(np.float64), np.array(s.biases, np.float64)) for s in net.states]


def activate(name: str, z: Array) -> Array:
    return {"identity": lambda: z, "relu": lambda: np.maximum(z, 0), "tanh": lambda: np.tanh(z)}[name]()


def hidden(net: slide.Network, params: list[tuple[Array, Array]], x: Array, sets: list[ActiveSet], upto: int) -> Array:
    """The vector that enters layer `upto`; zero where a sampled layer's neuron did not take part."""
    W, b = params[0]
    h = activate(net.states[0].activation, x @ W + b) if net.states[0].kind == "sparse_input" else x
    for i in range(1, upto):
        W, b = params[i]
        value = activate(net.states[i].activation, W @ h + b)
        chosen = sets[i]
        h = value
        if chosen is not None:
            h = np.zeros_like(value)
            h[chosen[0]] = value[chosen[0]]
    return h


def loss(
    net: slide.Network, params: list[tuple[Array, Array]], x: Array, labels: npt.NDArray[Any], sets: list[ActiveSet]
) -> float:
    """Of one sample, over the last layer's active set, logits corrected by -log q."""
    last = len(params) - 1
    W, b = params[last]
    z = W @ hidden(net, params, x, sets, last) + b
    target = np.zeros(len(z))
    target[labels] = 1
    chosen = sets[last]
    if chosen is not None:
        z, target = z[chosen[0]] + chosen[1], target[chosen[0]]
    if net.loss == "binary":
        return float(np.sum(np.logaddexp(0, z)) - z @ target)
    log_p = z - np.logaddexp.reduce(z)
    return float(-(log_p @ target) / target.sum())


def active_sets(net: slide.Network, x: Array, labels: npt.NDArray[Any], step: int) -> list[ActiveSet]:
    """What the engine itself says it will choose in this step, layer by layer."""
    params = parameters(net)
    sets: list[ActiveSet] = [None]
    for i, state in enumerate(net.states[1:], 1):
        chosen: ActiveSet = None
        if state.kind == "sampled":
            query = hidden(net, params, x, sets, i).astype(np.float32)
            forced = labels if i == len(net.states) - 1 else labels[:0]
            chosen = net.engine.active_set(i, query, np.asarray(forced, np.int32), step)
        sets.append(chosen)
    return sets


def gradients(
    net: slide.Network, x: Array, labels: npt.NDArray[Any], sets: list[ActiveSet], h: float = 1e-3
) -> list[tuple[Array, Array]]:
    """Five-point derivatives of the loss by every weight and bias."""
    params = parameters(net)

    def derivative(array: Array, at: tuple[int, ...]) -> float:
        old, values = array[at], []
        for shift in (-2, -1, 1, 2):
            array[at] = old + shift * h
            values.append(loss(net, params, x, labels, sets))
        array[at] = old
        return ((values[0] - values[3]) + 8 * (values[2] - values[1])) / (12 * h)  # 0 if all are equal

    result = []
    for arrays in params:
        found = tuple(np.array([derivative(a, at) for at in np.ndindex(a.shape)]).reshape(a.shape) for a in arrays)
        result.append(found)
    return result


def row_view(net: slide.Network, arrays: list[tuple[Array, Array]]) -> list[Array]:
    """One matrix a layer whose rows are what an optimizer updates together, the bias last.

    A sparse input has a row for each feature and one of biases; other layers a row for each neuron, bias included.
    """
    rows = []
    for state, (W, b) in zip(net.states, arrays, strict=True):
        rows.append(np.vstack([W, b]) if state.kind == "sparse_input" else np.hstack([W, b[:, None]]))
    return rows


@dataclass
class Optimizer:
    """An optimizer's state for every entry of row_view's matrices."""

    options: slide.optim.Optimizer
    shapes: list[tuple[int, ...]]
    s1: list[Array] = field(init=False)
    s2: list[Array] = field(init=False)
    row: list[Array] = field(init=False)

    def __post_init__(self) -> None:
        self.s1, self.s2 = ([np.zeros(s) for s in self.shapes] for _ in range(2))
        self.row = [np.zeros(s[0]) for s in self.shapes]

    def update(
        self,
        layer: int,
        weights: Array,
        gradient: Array,
        decays: npt.NDArray[np.bool_],
        lr: float,
        columns: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """Moves the rows with a gradient; the others sleep.

        decays: which entries are weights, not biases. columns: those of the inputs that took part; the weights of the
        others sleep too.
        """
        o, row = self.options, self.row[layer]
        rows = np.flatnonzero(np.abs(gradient).max(axis=1) > 0)
        taking_part = np.arange(gradient.shape[1]) if columns is None else np.flatnonzero(columns)
        at = np.ix_(rows, taking_part)
        g = gradient[at]
        s1, s2 = self.s1[layer][at], self.s2[layer][at]
        if o.kind == "sgd":
            step = lr * g
        elif o.kind == "adagrad_row":
            row[rows] += np.mean(gradient[rows] ** 2, axis=1)
            step = lr * g / (np.sqrt(row[rows])[:, None] + o.eps)
        elif o.kind == "adagrad":
            s1 += g**2
            step = lr * g / (np.sqrt(s1) + o.eps)
        else:
            row[rows] += 1
            t = row[rows][:, None]
            s1 = o.beta1 * s1 + (1 - o.beta1) * g
            s2 = o.beta2 * s2 + (1 - o.beta2) * g**2
            m, v = s1 / (1 - o.beta1**t), s2 / (1 - o.beta2**t)
            step = lr * m / (np.sqrt(v) + o.eps)
        self.s1[layer][at], self.s2[layer][at] = s1, s2
        keep = np.where(decays[at], 1 - lr * o.weight_decay, 1)
        weights[at] = keep * weights[at] - step


def columns_taking_part(net: slide.Network, sets: list[ActiveSet]) -> list[npt.NDArray[np.bool_] | None]:
    """For each of row_view's matrices: which inputs, bias included, took part. None for all."""
    result: list[npt.NDArray[np.bool_] | None] = [None]
    for state, below in zip(net.states[1:], sets[:-1], strict=True):
        if below is None:
            result.append(None)
            continue
        mask = np.zeros(state.fan_in + 1, np.bool_)
        mask[below[0]] = mask[-1] = True
        result.append(mask)
    return result


def decaying(net: slide.Network, rows: list[Array]) -> list[npt.NDArray[np.bool_]]:
    """Which entries of row_view's matrices weight decay shrinks: all but biases."""
    result = []
    for state, matrix in zip(net.states, rows, strict=True):
        mask = np.ones(matrix.shape, np.bool_)
        if state.kind == "sparse_input":
            mask[-1] = False
        else:
            mask[:, -1] = False
        result.append(mask)
    return result
