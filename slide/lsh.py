"""Hash families: how many bits, how many tables, how large the buckets; and the random choices they stand on.

The hashing itself is in csrc/hash.c and, readable, in slide/reference/hashing.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from slide._state import DIRECTION_BLOCK, FloatArray, LayerState, LshState

MAX_TABLES = 1022
MAX_CODE_BITS = 30


def require(ok: bool, argument: str, found: object, wanted: str) -> None:
    """Raises ValueError naming the argument, the value found and the value wanted."""
    if not ok:
        raise ValueError(f"{argument}: found {found!r}, wanted {wanted}")


@dataclass(frozen=True)
class HashFamily:
    """L tables, each addressed by K hashes of a neuron's weights and bias.

    Parameters
    ----------
    K : int or None
        Hashes concatenated into one table's code. None chooses it from the number of neurons, so that an
        average bucket holds about 40 % of its capacity.
    L : int
        Tables, 1 to 1022.
    capacity : int
        Neurons a bucket holds.
    policy : {"reservoir", "fifo"}
        What a full bucket keeps: a uniform sample of all it was offered, or the latest.

    Raises
    ------
    ValueError
        For sizes that make no sense.
    """

    K: int | None = None
    L: int = 50
    capacity: int = 256
    policy: str = "reservoir"

    kind: ClassVar[str] = ""
    bits_per_hash: ClassVar[int] = 1
    window: ClassVar[int] = 1

    def __post_init__(self) -> None:
        name = type(self).__name__
        require(1 <= self.L <= MAX_TABLES, f"{name}(L=)", self.L, f"1 to {MAX_TABLES} tables")
        require(1 <= self.capacity < 2**20, f"{name}(capacity=)", self.capacity, "1 to 1,048,575 neurons a bucket")
        require(self.policy in ("fifo", "reservoir"), f"{name}(policy=)", self.policy, "'fifo' or 'reservoir'")
        if self.K is not None:
            limit = MAX_CODE_BITS // self.bits_per_hash
            require(1 <= self.K <= limit, f"{name}(K=)", self.K, f"1 to {limit} hashes a table")

    def resolved_K(self, n: int) -> int:
        """K itself, or the choice for n neurons."""
        if self.K is not None:
            return self.K
        bits = max(2, round(math.log2(max(2.5 * n / self.capacity, 2))))
        return max(1, min(round(bits / self.bits_per_hash), MAX_CODE_BITS // self.bits_per_hash))

    def table_bits(self, n: int) -> int:
        """Log2 of the buckets of a table: all codes where that stays near the number of neurons, else folded."""
        return min(self.resolved_K(n) * self.bits_per_hash, max(1, math.ceil(math.log2(max(n, 2)))) + 1)

    def slots_shape(self, n: int) -> tuple[int, int, int]:
        """Shape of the tables for n neurons; a bucket is padded to whole cache lines of 16 ids."""
        stride = -(-(self.capacity + 1) // 16) * 16
        return self.L, 2 ** self.table_bits(n), stride

    def random_choices(self, K: int, dim: int, rng: np.random.Generator) -> dict[str, Any]:
        """directions, positions and permutations of the LshState."""
        raise TypeError(f"{type(self).__name__} is abstract: use SimHash, WTA or DWTA")

    def initial_frame(self, dim: int) -> FloatArray:
        """Where hashed vectors are measured from (csrc/slide.h); empty for families that hash them as they are."""
        return np.empty(0, np.float32)

    def make(self, dim: int, n: int, rng: np.random.Generator, slots: np.ndarray) -> LshState:
        """The state for vectors of dim coordinates (bias included) and n neurons, over empty slots."""
        K = self.resolved_K(n)
        return LshState(
            kind=self.kind,
            K=K,
            L=self.L,
            window=self.window,
            dim=dim,
            table_bits=self.table_bits(n),
            capacity=self.capacity,
            policy=self.policy,
            slots=slots,
            frame=self.initial_frame(dim),
            **self.random_choices(K, dim, rng),
        )


@dataclass(frozen=True)
class SimHash(HashFamily):
    """Signed random projections: a bit is the side of a random hyperplane (Charikar, STOC 2002).

    Two vectors at angle t agree in a bit with probability 1 - t / pi. Directions are random signs
    (Achlioptas, JCSS 2003).

    Parameters
    ----------
    centred : bool
        Hash neurons and queries relative to their means, with the bias scaled to the norms. This changes every inner
        product with a query by the same constant, so no ranking changes, while the angles spread out.

    >>> SimHash(K=9, L=50).slots_shape(10_000)
    (50, 512, 272)
    """

    centred: bool = True

    kind: ClassVar[str] = "simhash"

    def initial_frame(self, dim: int) -> FloatArray:
        frame = np.zeros(2 * dim if self.centred else 0, np.float32)
        frame[-1:] = 1
        return frame

    def random_choices(self, K: int, dim: int, rng: np.random.Generator) -> dict[str, Any]:
        blocks = -(-K * self.L // DIRECTION_BLOCK)
        signs = rng.integers(0, 2, size=(blocks, dim, DIRECTION_BLOCK), dtype=np.int8)
        return {
            "directions": (2.0 * signs - 1).astype(np.float32),
            "positions": np.empty((0, 0), np.int32),
            "permutations": 0,
        }


@dataclass(frozen=True)
class WTA(HashFamily):
    """Winner-take-all: which of 8 random coordinates is the largest, 3 bits a hash (Yagnik et al., ICCV 2011)."""

    kind: ClassVar[str] = "wta"
    bits_per_hash: ClassVar[int] = 3
    window: ClassVar[int] = 8

    def random_choices(self, K: int, dim: int, rng: np.random.Generator) -> dict[str, Any]:
        require(dim >= self.window, "WTA on vectors of dimension", dim, f"at least {self.window}, bias included")
        keys = rng.random((K * self.L, dim), dtype=np.float32)
        windows = np.argpartition(keys, self.window - 1, axis=1)[:, : self.window]
        return {
            "directions": np.empty((0, 0, DIRECTION_BLOCK), np.float32),
            "positions": np.ascontiguousarray(windows, np.int32),
            "permutations": 0,
        }


@dataclass(frozen=True)
class DWTA(WTA):
    """Densified winner-take-all: zeros do not compete, empty bins borrow (Chen & Shrivastava, UAI 2018).

    Meant for vectors with many exact zeros, such as activations of ReLU or of a sampled layer.
    """

    kind: ClassVar[str] = "dwta"

    def random_choices(self, K: int, dim: int, rng: np.random.Generator) -> dict[str, Any]:
        require(dim >= self.window, "DWTA on vectors of dimension", dim, f"at least {self.window}, bias included")
        permutations = -(-K * self.L // (dim // self.window))
        places = np.stack([rng.permutation(dim) for _ in range(permutations)]).astype(np.int32)
        return {
            "directions": np.empty((0, 0, DIRECTION_BLOCK), np.float32),
            "positions": places,
            "permutations": permutations,
        }


FRAME_SAMPLE = 16_384  # neurons
BIAS_SCALE = 1.6  # times the scale that makes the norms' product least; measured on two real sets, 1.4 to 2 are alike


def update_frame(state: LayerState, queries: FloatArray) -> None:
    """Moves the frame of a layer's hash family to the means of its neurons and of some queries [m, fan_in], in place.

    The scale f of the bias coordinate starts from the one that minimises the product of the norms of
    {w, b / f} and {x, f}: f^2 = |x| |b| / |w|, with root mean squares for the norms.
    """
    assert state.lsh is not None
    frame, dim = state.lsh.frame, state.lsh.dim
    if not frame.size or not len(queries):
        return
    every = -(-state.n // FRAME_SAMPLE)
    weights, biases = state.weights[::every], state.biases[::every]
    frame[: dim - 1] = weights.mean(axis=0, dtype=np.float64)
    frame[dim - 1] = biases.mean(dtype=np.float64)
    frame[dim:-1] = queries.mean(axis=0, dtype=np.float64)
    centred = weights - frame[: dim - 1]
    # einsum, not @: BLAS threads would go on spinning while ours train
    shifted = biases - frame[dim - 1] + np.einsum("nd,d->n", centred, frame[dim:-1])
    sizes = [np.sqrt(np.mean(np.square(a).sum(axis=1))) for a in (queries - frame[dim:-1], shifted[:, None], centred)]
    x, b, w = (float(s) for s in sizes)
    frame[-1] = BIAS_SCALE * np.sqrt(x * b / w) if x * b * w > 0 else 1


#: Families by the name under which they are stored.
FAMILIES: dict[str, type[HashFamily]] = {c.kind: c for c in (SimHash, WTA, DWTA)}
