"""SimHash: signed random projections, with directions of five kinds; those that are trained are moved in trained.py.

The hashing itself is in csrc/lsh/simhash.c and, readable, in slide/engine/reference/hash.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from slide.checks import among, require
from slide.engine.layout import DIRECTION_BLOCK, HADAMARD_ROUNDS, FloatArray
from slide.engine.state import LayerState
from slide.lsh.family import HashFamily, LearnContext, gaussian_directions


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
        neurons they want (MONGOOSE, Chen et al., ICLR 2021; slide.lsh.trained). Only for transform="none".

    >>> SimHash(K=9, L=50).slots_shape(10_000)
    (50, 512, 272)
    """

    centred: bool = True
    directions: str = "signs"

    kind: ClassVar[str] = "simhash"
    has_margins: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(among(self.directions, _DIRECTIONS), "SimHash(directions=)", self.directions, f"one of {_DIRECTIONS}")
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

    def n_queries(self, n: int, final: bool = False) -> int:
        """Queries that `learn` should get for n neurons; 0: there is nothing to learn."""
        return (4096 if final else 1024) if self.is_trained else super().n_queries(n, final)

    def rebuild_every(self, n: int) -> tuple[int, float]:
        """Samples up to the first rebuild of tables of n neurons, and the growth of the distances after it."""
        return (max(8192, n // 4), 0.3) if self.is_trained else super().rebuild_every(n)

    def learn(self, state: LayerState, lesson: LearnContext) -> None:
        """Moves the frame, then the directions if they are trained."""
        super().learn(state, lesson)
        if self.is_trained and len(lesson.queries):
            from slide.lsh.trained import STEPS, STEPS_AT_THE_END, train_directions

            n, steps = self.resolved_K(state.n) * self.L, STEPS_AT_THE_END if lesson.final else STEPS
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
