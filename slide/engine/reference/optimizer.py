"""One row's update: SGD, Adagrad (one accumulator a row or a weight), lazy Adam. Mirrors csrc/net/optimizer.c.

A row's gradient is a scalar g times a vector (the Factor), and g times the factor's bias for its bias. Here and in
wide.py threads write the same memory without locks, and nowhere else (HOGWILD: Niu et al., NIPS 2011).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from slide.engine.layout import BIAS, BIAS_S1, BIAS_S2, KINDS, ROW_ACC, ROW_COUNT, ROW_SCALARS
from slide.engine.reference.jit import kernel
from slide.engine.reference.network import SPARSE_INPUT

SGD, ADAGRAD_ROW, ADAGRAD = (KINDS[k] for k in ("sgd", "adagrad_row", "adagrad"))
ONE = np.float32(1)
LONGEST_STEP = np.float32(1e15)
LARGEST_SQUARE = LONGEST_STEP * LONGEST_STEP


class Factor(NamedTuple):
    """The vector that rows meet in a sample, coordinates `ids` if sparse; d_x collects its gradient where wanted."""

    sparse: bool
    ids: npt.NDArray[np.int32]
    x: npt.NDArray[np.float32]
    sqnorm: np.float32
    bias: np.float32  # what stands for it in the bias's gradient
    wants_gradient: bool
    d_x: npt.NDArray[np.float32]


class RowStep(NamedTuple):
    """Numbers of one row's step: a weight w with gradient g x becomes keep w - step(g x)."""

    lr: np.float32
    scale: np.float32  # -lr g, or Adagrad's with one accumulator a row
    adam_lr: np.float32  # lr / (1 - beta1^t)
    adam_root: np.float32  # 1 / (1 - beta2^t)


@kernel
def update_fits(o: Any, sqnorm: Any, g: Any, lr: Any) -> Any:
    """Whether updates with gradients g keep every weight and state within float32, whatever they are now."""
    largest = magnitude(g)
    square = largest * largest * (sqnorm + ONE)
    if o.kind == SGD:
        square *= lr * lr
    return lr <= LONGEST_STEP and lr * o.weight_decay <= 2 and square <= LARGEST_SQUARE  # NaN is not


@kernel
def magnitude(x: Any) -> Any:
    """Largest |x|; NaN counts as larger than infinity."""
    most = np.float32(0)
    for value in x:
        if math.isnan(value):
            return value
        most = max(most, abs(value))
    return most


@kernel
def row_step(o: Any, layer: Any, tail: Any, factor: Any, bias: Any, g: Any, lr: Any) -> Any:
    """Moves the row's own scalars and returns the step they give."""
    scale, adam_lr, adam_root = -lr * g, lr, ONE
    if o.kind == ADAGRAD_ROW:
        tail[ROW_ACC] += (
            g * g * (factor.sqnorm + np.float32(bias) * factor.bias * factor.bias) / np.float32(layer.width + bias)
        )
        scale = -lr * g / (np.float32(math.sqrt(tail[ROW_ACC])) + o.eps)
    elif o.kind != SGD and o.kind != ADAGRAD:
        tail[ROW_COUNT] += ONE  # the row's own count: one that wakes late takes a first step like any other
        adam_lr = lr / (ONE - o.beta1 ** tail[ROW_COUNT])
        adam_root = ONE / (ONE - o.beta2 ** tail[ROW_COUNT])
    return RowStep(lr, scale, adam_lr, adam_root)


@kernel
def move(o: Any, row: Any, w: Any, s1: Any, s2: Any, x: Any, g: Any, r: Any, keep: Any) -> None:
    """One coordinate: the weight at row[w] with states at row[s1] and row[s2], whose gradient is g x."""
    d = g * x
    if o.kind == SGD or o.kind == ADAGRAD_ROW:
        row[w] = keep * row[w] + r.scale * x
    elif o.kind == ADAGRAD:
        row[s1] += d * d
        row[w] = keep * row[w] - r.lr * d / (np.float32(math.sqrt(row[s1])) + o.eps)
    else:
        row[s1] = o.beta1 * row[s1] + (ONE - o.beta1) * d
        row[s2] = o.beta2 * row[s2] + (ONE - o.beta2) * d * d
        row[w] = keep * row[w] - r.adam_lr * row[s1] / (np.float32(math.sqrt(row[s2] * r.adam_root)) + o.eps)


@kernel
def update_row(o: Any, layer: Any, row: Any, factor: Any, g: Any, lr: Any, decay: Any) -> None:
    """factor.d_x += g row, from before the update; then the row takes its step, less `decay` times its weights."""
    tail = layer.rows.shape[1] - ROW_SCALARS
    bias = layer.kind != SPARSE_INPUT and layer.has_bias
    r = row_step(o, layer, row[tail:], factor, bias, g, lr)
    p = layer.padded
    if factor.wants_gradient:
        for i in range(len(factor.x)):
            factor.d_x[i] += g * row[factor.ids[i] if factor.sparse else i]
    if factor.sparse:
        for i in range(len(factor.x)):
            j = factor.ids[i]
            move(o, row, j, p + j, 2 * p + j, factor.x[i], g, r, ONE - decay)
    else:
        for j in range(len(factor.x)):
            move(o, row, j, p + j, 2 * p + j, factor.x[j], g, r, ONE - decay)
    if bias:
        move(o, row, tail + BIAS, tail + BIAS_S1, tail + BIAS_S2, factor.bias, g, r, ONE)
