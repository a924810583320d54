"""Counter-based random numbers (SplitMix64), the integers of csrc/core/rng.h.

A generator is an array of one uint64, advanced in place. Every constant is a uint64: Numba turns uint64 mixed with
int64 into floating point.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from slide.engine.reference.jit import kernel

DROPOUT, NEGATIVES, BUCKET, ORDER, BATCH, SOLVER = (np.uint64(i) for i in (1, 2, 3, 4, 5, 6))
LAYERS_APART = np.uint64(16)  # purposes of one layer and the next

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLY1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLY2 = np.uint64(0x94D049BB133111EB)
_27, _30, _31, _32, _40 = (np.uint64(i) for i in (27, 30, 31, 32, 40))


@kernel
def mix64(z: Any) -> Any:
    """A permutation of the 64-bit integers that leaves no pattern."""
    z = (z ^ (z >> _30)) * _MULTIPLY1
    z = (z ^ (z >> _27)) * _MULTIPLY2
    return z ^ (z >> _31)


@kernel
def stream(seed: Any, purpose: Any, counter: Any) -> Any:
    """The generator named by (seed, purpose, counter)."""
    rng = np.empty(1, np.uint64)
    rng[0] = mix64(seed + _STEP * purpose) ^ mix64(np.uint64(counter))
    return rng


@kernel
def draw(rng: Any) -> Any:
    """The next 64 bits."""
    rng[0] += _STEP
    return mix64(rng[0])


@kernel
def below(rng: Any, n: Any) -> Any:
    """Uniform integer in [0, n), n < 2^32."""
    return np.int64(((draw(rng) >> _32) * np.uint64(n)) >> _32)


@kernel
def uniform(rng: Any) -> Any:
    """Uniform float32 in [0, 1) with 24 bits."""
    return np.float32(draw(rng) >> _40) * np.float32(2.0**-24)
