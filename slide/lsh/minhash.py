"""Densified one-permutation MinHash, of sets. The hashing is in csrc/lsh/minhash.c."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from slide.checks import require, whole
from slide.lsh.family import HashFamily


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
        require(1 <= whole(self.size) <= 2**16, "MinHash(size=)", self.size, "1 to 65,536 coordinates")

    def random_choices(self, K: int, dim: int, rng: np.random.Generator) -> dict[str, Any]:
        size = min(self.size, dim)
        permutations = -(-K * self.L // size)
        ranks = rng.integers(0, 2**31, size=(2 * dim, permutations), dtype=np.int32)
        return {"positions": ranks, "permutations": permutations, "window": size}
