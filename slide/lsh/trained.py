"""Trains SimHash's hyperplanes so that queries fall on the sides of the neurons they want (`directions="trained"`).

MONGOOSE (Chen et al., ICLR 2021, section 4.2) learns its hash functions from triplets of a query, a neuron that it
should find and one that it should not. Here every query of a step is held against all neurons of the step at once by a
softmax, whose gradient is largest just for those: wanted neurons that differ (misses) and unwanted ones that agree
(false hits). On two real data sets that was no worse than triplets made of the present misses and false hits, and
needs no look-up.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from slide.engine.layout import FloatArray, IntArray
from slide.engine.state import LayerState, LshState

Rows = npt.NDArray[np.int64]

STEPS, STEPS_AT_THE_END = 50, 200
WANTED = 10  # neurons a query should find
BATCH = 256  # queries of a step, and neurons that are drawn beside the wanted ones
NEURONS = 16_384  # at most so many take part in a rebuild
LEARNING_RATE, SHARPNESS, TEMPERATURE = 0.1, 2.0, 10.0  # of wordnet-hypernym; as good on the other set
BETA_1, BETA_2, EPS = 0.9, 0.99, 1e-12  # Adam
UNIT = 32  # steps of a direction's coordinates in one standard deviation
MAX_STEPS = 127


def train_directions(
    state: LayerState, n_directions: int, queries: FloatArray, rng: np.random.Generator, steps: int
) -> None:
    """Moves the first n_directions of a layer's SimHash, in place, towards the wanted neurons of queries [m, fan_in].

    A bit is relaxed to tanh(SHARPNESS * projection), vectors having length 1 and directions unit variance. Coordinates
    stay whole numbers of 1 / UNIT, so that codes are the same on every machine.
    """
    lsh = state.lsh
    assert lsh is not None
    some = np.sort(rng.permutation(state.n)[:NEURONS])
    wanted = _best(state, some, queries)
    xs, ws = _hashed_queries(lsh, queries), _hashed_neurons(state, some)
    directions = _unit_variance(_read(lsh, n_directions))
    mean, square = np.zeros_like(directions), np.zeros_like(directions)
    for step in range(1, steps + 1):
        q = rng.integers(0, len(xs), BATCH)
        found = wanted[q, rng.integers(0, wanted.shape[1], BATCH)]
        neurons = np.concatenate([found, rng.integers(0, len(ws), BATCH)])
        is_wanted = (wanted[q][:, None, :] == neurons[None, :, None]).any(axis=2)
        gradient = _gradient(directions, xs[q], ws[neurons], is_wanted)
        mean += (1 - BETA_1) * (gradient - mean)
        square += (1 - BETA_2) * (gradient**2 - square)
        size = LEARNING_RATE / (1 - BETA_1**step)
        directions -= (size * mean / (np.sqrt(square / (1 - BETA_2**step)) + EPS)).astype(np.float32)
    if np.isfinite(directions).all():
        _write(lsh, np.clip(np.rint(UNIT * _unit_variance(directions)), -MAX_STEPS, MAX_STEPS))


def _gradient(directions: FloatArray, xs: FloatArray, ws: FloatArray, wanted: np.ndarray) -> FloatArray:
    """Of the mean cross-entropy between each query's softmax over the neurons and its wanted ones, all alike."""
    bits_x, bits_w = np.tanh(SHARPNESS * (xs @ directions)), np.tanh(SHARPNESS * (ws @ directions))
    scale = np.float32(TEMPERATURE / directions.shape[1])
    agreement = scale * (bits_x @ bits_w.T)
    error = np.exp(agreement - agreement.max(axis=1, keepdims=True))
    error /= error.sum(axis=1, keepdims=True)
    error -= wanted / wanted.sum(axis=1, keepdims=True)
    error *= scale * np.float32(SHARPNESS / len(xs))
    from_x = xs.T @ ((error @ bits_w) * (1 - bits_x**2))
    gradient: FloatArray = from_x + ws.T @ ((error.T @ bits_x) * (1 - bits_w**2))
    return gradient.astype(np.float32)


def _best(state: LayerState, some: Rows, queries: FloatArray) -> IntArray:
    """Places [m, 10] in `some` of the neurons with the largest logits."""
    weights, biases = state.weights_of(some), state.biases[some]
    k = min(WANTED, len(some))
    rows = max(1, 2**24 // len(some))
    blocks = [queries[i : i + rows] @ weights.T + biases for i in range(0, len(queries), rows)]
    return np.concatenate([np.argpartition(-b, k - 1, axis=1)[:, :k] for b in blocks]).astype(np.int32)


def _hashed_queries(lsh: LshState, queries: FloatArray) -> FloatArray:
    """As csrc/lsh/transform.c makes them, but of length 1."""
    vectors = np.ones((len(queries), lsh.dim), np.float32)
    vectors[:, :-1] = queries
    if lsh.centre.size:
        vectors[:, :-1] -= lsh.centre[lsh.dim : -1]
        vectors[:, -1] = lsh.centre[-1]
    return _unit_length(vectors)


def _hashed_neurons(state: LayerState, some: Rows) -> FloatArray:
    lsh = state.lsh
    assert lsh is not None
    vectors = np.concatenate([state.weights_of(some), state.biases[some][:, None]], axis=1)
    if lsh.centre.size:
        vectors -= lsh.centre[: lsh.dim]
        vectors[:, -1] = (vectors[:, -1] + vectors[:, :-1] @ lsh.centre[lsh.dim : -1]) / lsh.centre[-1]
    return _unit_length(vectors)


def _unit_length(vectors: FloatArray) -> FloatArray:
    return _divided(vectors, np.sqrt(np.square(vectors).sum(axis=1, keepdims=True)))


def _unit_variance(directions: FloatArray) -> FloatArray:
    """Each column's coordinates; lengths have no influence on a sign."""
    return _divided(directions, np.sqrt(np.square(directions).mean(axis=0)))


def _divided(a: FloatArray, by: FloatArray) -> FloatArray:
    result: FloatArray = np.divide(a, by, out=a.copy(), where=by > 0)
    return result


def _read(lsh: LshState, n: int) -> FloatArray:
    """[dim, n], a copy; csrc/slide.h says how they lie."""
    return lsh.directions.transpose(1, 0, 2).reshape(lsh.dim, -1)[:, :n]


def _write(lsh: LshState, directions: FloatArray) -> None:
    all_of_them = lsh.directions.transpose(1, 0, 2).reshape(lsh.dim, -1)
    all_of_them[:, : directions.shape[1]] = directions
    lsh.directions[:] = all_of_them.reshape(lsh.dim, len(lsh.directions), -1).transpose(1, 0, 2)
