"""E2LSH, the hash family of Euclidean distances, and with transform="l2-alsh" of inner products.

Its hashing is in csrc/lsh/euclidean.c and slide/engine/reference/hash.py, the transform in csrc/lsh/transform.c.
What all families share is in family.py beside this file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from slide.checks import require
from slide.engine.layout import OFFSET_STEPS
from slide.lsh.family import HashFamily, gaussian_directions

MIN_WIDTH, MAX_WIDTH = 1e-6, 1e6


@dataclass(frozen=True)
class EuclideanHash(HashFamily):
    """p-stable hashing of distances, E2LSH: floor((a . x + b) / r) modulo 4 (Datar et al., SoCG 2004).

    The direction a is Gaussian, in steps of 1/32; the offset b is uniform in [0, r). A hash is cut to 2 bits, so cells
    4 r apart share a value: `collision_probability` says what that costs. By default the vectors are those of L2-ALSH
    (Shrivastava & Li, NIPS 2014): a neuron w, scaled so that the longest has length 0.83, gets |w|^2, |w|^4 and |w|^8
    appended, a query of length 1 three times 1/2, and their squared distance is 1.75 - 2 q . w + |w|^16. With
    transform="none" the tables find the neurons {w, b} that are near a query {x, 1}, which are not those of the largest
    inner products.

    Parameters
    ----------
    width : float
        r, 1e-6 to 1e6, in units of the vectors that are hashed. 2.5 is for L2-ALSH, whose distances are 0.4 to 2; with
        transform="none", about the distance at which neurons should still be found.

    Raises
    ------
    ValueError
        For sizes that make no sense.

    >>> EuclideanHash(K=5, L=50).slots_shape(10_000)
    (50, 1024, 272)
    """

    centred: bool = True
    transform: str = "l2-alsh"
    width: float = 2.5

    kind: ClassVar[str] = "euclidean"
    bits_per_hash: ClassVar[int] = 2
    window: ClassVar[int] = 4
    sees_distances: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        ok = type(self.width) in (int, float) and MIN_WIDTH <= self.width <= MAX_WIDTH
        require(ok, f"{type(self).__name__}(width=)", self.width, f"a number, {MIN_WIDTH:g} to {MAX_WIDTH:g}")

    def random_choices(self, K: int, dim: int, rng: np.random.Generator) -> dict[str, Any]:
        offsets = rng.integers(0, OFFSET_STEPS, size=(K * self.L, 1), dtype=np.int32)
        return {"directions": gaussian_directions(K * self.L, dim, rng), "positions": offsets, "width": self.width}

    def collision_probability(self, distance: float) -> float:
        """The chance that two vectors this far apart (0 or more, as hashed) agree in one hash.

        Datar et al.'s p(c) = 1 - 2 Phi(-r / c) - 2 c / (sqrt(2 pi) r) (1 - exp(-r^2 / 2 c^2)) for cells that are one,
        and the same integral for cells that are 4, 8, ... apart. The latter add 0.0007 at c = r, 0.06 at c = 2 r, and
        0.25 in the limit, where the former fall to 0: a hash tells nothing of what is further than 2 r away.

        >>> family = EuclideanHash(width=2.0)
        >>> [round(family.collision_probability(c), 4) for c in (0, 1, 2, 4, 100)]
        [1.0, 0.6095, 0.3695, 0.2529, 0.25]
        """
        require(distance >= 0, "collision_probability(distance)", distance, "0 or more")
        spread = distance / self.width
        if spread > 2 * self.window:
            return 1 / self.window  # to within 1e-30
        folds = math.ceil(10 * spread / self.window) * self.window
        shifts = range(-folds, folds + 1, self.window)
        return sum(_excess(a - 1, spread) - 2 * _excess(a, spread) + _excess(a + 1, spread) for a in shifts)


def _excess(k: float, spread: float) -> float:
    """E max(z - k, 0) for normal z with mean 0 and this standard deviation: three of them make a cell's triangle."""
    if spread == 0:
        return max(-k, 0.0)
    u = k / spread
    return spread * math.exp(-u * u / 2) / math.sqrt(2 * math.pi) - k * math.erfc(u / math.sqrt(2)) / 2
