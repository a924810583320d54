"""Winner-take-all hashes, of ranks: WTA, and DWTA for vectors with many zeros. The hashing is in csrc/lsh/wta.c."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from slide.checks import require
from slide.lsh.family import HashFamily


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
