"""How far the rows of sampled layers have moved since their tables were filled, from a fixed sample of rows.

For Rebuild(drift=): see slide/training/loop.py, which takes the sample after every fill and asks between chunks.
"""

from __future__ import annotations

import numpy as np

from slide.engine.layout import FloatArray
from slide.model.model import Model

SAMPLED_ROWS = 256


class DriftMeter:
    """Remembers sampled rows of every layer with tables; the same rows for equal seeds."""

    def __init__(self, net: Model) -> None:
        self._net = net
        self._layers = [i for i, state in enumerate(net.states) if state.lsh is not None]
        self._ids = {i: self._draw(i) for i in self._layers}
        self._then: dict[int, FloatArray] = {}

    def mark(self) -> None:
        """Tables hold the rows as they are now."""
        self._then = {i: self._rows(i) for i in self._layers}

    def measure(self) -> float:
        """Largest over layers of the mean of ||w - w_at_mark|| / ||w||, biases included; infinite without a mark."""
        if not self._then:
            return float("inf") if self._layers else 0.0
        return max(_relative_change(self._rows(i), self._then[i]) for i in self._layers)

    def _draw(self, layer: int) -> np.ndarray:
        n = self._net.states[layer].n
        return np.sort(np.random.default_rng([self._net.seed, layer]).permutation(n)[:SAMPLED_ROWS])

    def _rows(self, layer: int) -> FloatArray:
        state, ids = self._net.states[layer], self._ids[layer]
        return np.concatenate([state.weights_of(ids), state.biases[ids, None]], axis=1)


def _relative_change(now: FloatArray, then: FloatArray) -> float:
    change = np.linalg.norm(now.astype(np.float64) - then, axis=1)
    return float(np.mean(change / np.maximum(np.linalg.norm(now.astype(np.float64), axis=1), 1e-30)))
