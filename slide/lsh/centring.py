"""The frame of a hash family: the means that neurons and queries are hashed relative to, and the norms of a transform.

What is done with it when vectors are hashed is in csrc/lsh/transform.c.
"""

from __future__ import annotations

import numpy as np

from slide.engine.layout import FloatArray
from slide.engine.state import LayerState, LshState

SIGN_ALSH_LENGTH = 0.75  # U, as its authors recommend
L2_ALSH_LENGTH = 0.83  # the same of the older paper
FRAME_SAMPLE, FRAME_QUERIES = 16_384, 512  # neurons and queries whose means make a frame
BIAS_SCALE = 1.6  # times the scale that makes the norms' product least; measured on two real sets, 1.4 to 2 are alike


def update_frame(state: LayerState, queries: FloatArray) -> None:
    """Moves the frame of a layer's hash family to its neurons and some queries [m, fan_in], in place: see csrc/slide.h.

    The centres are their means. The scale f of the bias coordinate starts from the one that minimises the product of
    the norms of {w, b / f} and {x, f}: f^2 = |x| |b| / |w|, with root mean squares for the norms.
    """
    assert state.lsh is not None
    if not state.lsh.frame.size or not len(queries):
        return
    every = -(-state.n // FRAME_SAMPLE)
    weights, biases = state.weights_of(slice(None, None, every)), state.biases[::every]
    if state.lsh.centre.size:
        weights, biases = _update_centre(state.lsh.centre, weights, biases, queries)
    if state.lsh.n_norms:
        _update_norms(state.lsh, np.sqrt(np.einsum("nd,nd->n", weights, weights) + biases**2))


def _update_centre(
    frame: FloatArray, weights: FloatArray, biases: FloatArray, queries: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Fills the frame; returns weights and biases as they are relative to it."""
    dim = len(frame) // 2
    frame[: dim - 1] = weights.mean(axis=0, dtype=np.float64)
    frame[dim - 1] = biases.mean(dtype=np.float64)
    frame[dim:-1] = queries.mean(axis=0, dtype=np.float64)
    centred = weights - frame[: dim - 1]
    # einsum, not @: BLAS threads would go on spinning while ours train
    shifted = biases - frame[dim - 1] + np.einsum("nd,d->n", centred, frame[dim:-1])
    sizes = [np.sqrt(np.mean(np.square(a).sum(axis=1))) for a in (queries - frame[dim:-1], shifted[:, None], centred)]
    x, b, w = (float(s) for s in sizes)
    frame[-1] = BIAS_SCALE * np.sqrt(x * b / w) if x * b * w > 0 else 1
    return centred, shifted / frame[-1]


def _update_norms(state: LshState, lengths: FloatArray) -> None:
    """The largest norm of each group of neurons; neurons that outgrow the last before the next update count as it."""
    n = state.n_norms
    largest = np.quantile(lengths, np.arange(1, n + 1) / n)
    largest /= {"sign-alsh": SIGN_ALSH_LENGTH, "l2-alsh": L2_ALSH_LENGTH}.get(state.transform, 1)
    state.norms[:] = np.where(largest > 0, largest, 1)
