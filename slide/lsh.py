"""Hash families that see angles, ranks and sets: the random choices they stand on; and all families by name.

What families share is in slide/family.py, the family of distances in slide/euclidean.py, the default one in
slide/cells.py. The hashing itself is in csrc/lsh/hash.c and, readable, in slide/reference/hashing.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from slide._state import DIRECTION_BLOCK, HADAMARD_ROUNDS, MAX_PROBES, FloatArray, LayerState
from slide.euclidean import EuclideanHash
from slide.family import (
    APPENDED,
    MAX_CODE_BITS,
    MAX_TABLES,
    SELECTIONS,
    HashFamily,
    Lesson,
    gaussian_directions,
    require,
)

__all__ = [
    "APPENDED",
    "DWTA",
    "FAMILIES",
    "MAX_CODE_BITS",
    "MAX_TABLES",
    "SELECTIONS",
    "WTA",
    "EuclideanHash",
    "HashFamily",
    "Lesson",
    "MinHash",
    "SimHash",
    "auto",
    "require",
]


@dataclass(frozen=True)
class SimHash(HashFamily):
    """Signed random projections: a bit is the side of a random hyperplane (Charikar, STOC 2002).

    Two vectors at angle t agree in a bit with probability 1 - t / pi.

    Parameters
    ----------
    directions : {"signs", "gaussian", "sparse", "hadamard", "trained"}
        Normals of the hyperplanes: random signs (Achlioptas, JCSS 2003); Gaussian numbers, in steps of 1/32; signs in
        sqrt(dim) coordinates and zeros in the others (Li, Hastie & Church, KDD 2006); or the rows of rotations made of
        signs and Walsh-Hadamard transforms, at a cost of log(dim) additions each (Ailon & Chazelle, STOC 2006; Andoni
        et al., NIPS 2015). "trained": Gaussian at first, then trained at each rebuild on the layer's queries and on the
        neurons they want (MONGOOSE, Chen et al., ICLR 2021; slide.directions). Only for transform="none".

    >>> SimHash(K=9, L=50).slots_shape(10_000)
    (50, 512, 272)
    """

    centred: bool = True
    directions: str = "signs"

    kind: ClassVar[str] = "simhash"
    has_margins: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.directions in _DIRECTIONS, "SimHash(directions=)", self.directions, f"one of {_DIRECTIONS}")
        ok = self.transform == "none" or not self.is_trained
        require(ok, "SimHash(transform=)", self.transform, "'none' where directions are trained")

    @property
    def is_trained(self) -> bool:
        """Whether directions are learned from the layer."""
        return self.directions == "trained"

    @property
    def engine_kind(self) -> str:
        """The name of the family in the core."""
        kinds = {"signs": "simhash", "trained": "simhash_gaussian"}
        return kinds.get(self.directions, f"simhash_{self.directions}")

    def n_queries(self, n: int, at_the_end: bool = False) -> int:
        """Queries that `learn` should get for n neurons; 0: there is nothing to learn."""
        return (4096 if at_the_end else 1024) if self.is_trained else super().n_queries(n, at_the_end)

    def rebuild_every(self, n: int) -> tuple[int, float]:
        """Samples up to the first rebuild of tables of n neurons, and the growth of the distances after it."""
        return (max(8192, n // 4), 0.3) if self.is_trained else super().rebuild_every(n)

    def learn(self, state: LayerState, lesson: Lesson) -> None:
        """Moves the frame, then the directions if they are trained."""
        super().learn(state, lesson)
        if self.is_trained and len(lesson.queries):
            from slide.directions import STEPS, STEPS_AT_THE_END, train_directions

            n, steps = self.resolved_K(state.n) * self.L, STEPS_AT_THE_END if lesson.at_the_end else STEPS
            train_directions(state, n, lesson.queries, lesson.rng, steps)

    def retrieval_probability(self, angle: float, n: int) -> float:
        """The chance that a neuron at this angle (radians, 0 to pi, as hashed) is in enough buckets of a query.

        That is an estimate over draws of the hash functions of n neurons' tables, for one probe, buckets without
        bounds and no limit on the neurons taken: with p = 1 - angle / pi, 1 - (1 - p^K)^L for "count" and "vanilla",
        and the chance of min_count hits in L trials of p^K for "threshold" (Chen et al., MLSys 2020). Training does not
        need it: given the tables, the set is known (docs/families.md).
        """
        hit = (1 - angle / math.pi) ** self.resolved_K(n)
        least = self.min_count if self.selection == "threshold" else 1
        return 1 - sum(math.comb(self.L, i) * hit**i * (1 - hit) ** (self.L - i) for i in range(least))

    def random_choices(self, K: int, dim: int, rng: np.random.Generator) -> dict[str, Any]:
        if self.directions == "sparse":
            return _sparse_directions(K * self.L, dim, rng)
        if self.directions == "hadamard":
            size = 2 ** max(1, math.ceil(math.log2(dim)))
            return {"directions": _signs((-(-K * self.L // size), HADAMARD_ROUNDS, size), rng), "window": size}
        if self.directions == "signs":
            return {"directions": _signs((-(-K * self.L // DIRECTION_BLOCK), dim, DIRECTION_BLOCK), rng)}
        return {"directions": gaussian_directions(K * self.L, dim, rng)}


_DIRECTIONS = ("signs", "gaussian", "sparse", "hadamard", "trained")


def _signs(shape: tuple[int, ...], rng: np.random.Generator) -> FloatArray:
    return (2.0 * rng.integers(0, 2, size=shape, dtype=np.int8) - 1).astype(np.float32)


def _sparse_directions(n: int, dim: int, rng: np.random.Generator) -> dict[str, Any]:
    """n directions of exactly sqrt(dim) coordinates each, where Li, Hastie & Church have that many on average."""
    size = max(1, round(math.sqrt(dim)))
    chosen = np.argpartition(rng.random((n, dim), dtype=np.float32), size - 1, axis=1)[:, :size]
    chosen = np.sort(chosen, axis=1)
    return {"positions": np.where(rng.random(chosen.shape) < 0.5, chosen, ~chosen).astype(np.int32), "window": size}


@dataclass(frozen=True)
class WTA(HashFamily):
    """Winner-take-all: which of 8 random coordinates is the largest, 3 bits a hash (Yagnik et al., ICCV 2011).

    Vectors agree in a hash if one coordinate beats the seven others in both: with probability sum over i of
    C(r_i, 7) / C(dim, 8), r_i being the number of coordinates that are smaller than coordinate i in both.
    """

    kind: ClassVar[str] = "wta"
    bits_per_hash: ClassVar[int] = 3
    window: ClassVar[int] = 8

    def random_choices(self, K: int, dim: int, rng: np.random.Generator) -> dict[str, Any]:
        require(dim >= self.window, "WTA on vectors of dimension", dim, f"at least {self.window}, bias included")
        keys = rng.random((K * self.L, dim), dtype=np.float32)
        windows = np.argpartition(keys, self.window - 1, axis=1)[:, : self.window]
        return {"positions": np.ascontiguousarray(windows, np.int32)}


@dataclass(frozen=True)
class DWTA(WTA):
    """Densified winner-take-all: zeros do not compete, empty bins borrow (Chen & Shrivastava, UAI 2018).

    Meant for vectors with many exact zeros, such as activations of ReLU or of a sampled layer, whose non-zero
    coordinates alone are read.
    """

    kind: ClassVar[str] = "dwta"

    def random_choices(self, K: int, dim: int, rng: np.random.Generator) -> dict[str, Any]:
        require(dim >= self.window, "DWTA on vectors of dimension", dim, f"at least {self.window}, bias included")
        permutations = -(-K * self.L // (dim // self.window))
        places = np.stack([rng.permutation(dim) for _ in range(permutations)]).astype(np.int32)
        return {"positions": places, "permutations": permutations}


@dataclass(frozen=True)
class MinHash(HashFamily):
    """Densified one-permutation minwise hashing, 4 bits a hash (Shrivastava & Li, ICML 2014; Shrivastava, ICML 2017).

    The set of a vector holds its non-zero coordinates, each with its sign; of more than `size` of them, those of the
    largest magnitude (of equals, the lower coordinates). Vectors whose sets have the Jaccard similarity J agree in a
    hash with probability J + (1 - J) / 16.

    Parameters
    ----------
    size : int
        Largest set. Elements are ranked anew for every so many hashes: about one element a bin.
    """

    size: int = 32

    kind: ClassVar[str] = "minhash"
    bits_per_hash: ClassVar[int] = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.size <= 2**16, "MinHash(size=)", self.size, "1 to 65,536 coordinates")

    def random_choices(self, K: int, dim: int, rng: np.random.Generator) -> dict[str, Any]:
        size = min(self.size, dim)
        permutations = -(-K * self.L // size)
        ranks = rng.integers(0, 2**31, size=(2 * dim, permutations), dtype=np.int32)
        return {"positions": ranks, "permutations": permutations, "window": size}


def auto(n: int, n_active: int, n_random: int, *, query: str = "input", memory: int | None = None) -> HashFamily:
    """The tables for n neurons of which n_active take part in a sample, n_random of them drawn at random.

    QueryCells, which found more than all hashes of neurons wherever both were measured (docs/retrieval.md), with lists
    long enough for the set; they go on tuning themselves during training. SimHash where the query is a label, since
    QueryCells do not hash neurons.

    Parameters
    ----------
    query : {"input", "label"}
        As in slide.Sampled.
    memory : int or None
        Bytes of tables at most. None: what the family takes by itself.
    """
    require(memory is None or memory >= 2**16, "auto(memory=)", memory, "65,536 bytes or more")
    if query == "label":
        return _simhash_within(n, memory)
    from slide.cells import DEFAULT_MEMORY, QueryCells

    family = QueryCells(memory=memory or DEFAULT_MEMORY)
    wanted = min(n, n_active - n_random)
    return family if family.resolved_capacity(n) >= wanted else QueryCells(capacity=wanted, memory=family.memory)


def _simhash_within(n: int, memory: int | None) -> SimHash:
    """Fewer tables where the usual ones would not fit, and as many more buckets of each: docs/retrieval.md, Tuning."""
    tables, buckets, stride = SimHash().slots_shape(n)
    fewer = max(1, min(tables, (memory or 2**62) // (4 * buckets * stride)))
    return SimHash(L=fewer, probes=min(round(tables / fewer), MAX_PROBES))


#: Families by the name under which they are stored.
FAMILIES: dict[str, type[HashFamily]] = {c.kind: c for c in (SimHash, WTA, DWTA, MinHash, EuclideanHash)}
