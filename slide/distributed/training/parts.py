"""Which features and labels each worker has.

Both are numbered anew in a random order that follows from the seed, and each worker has a range of the new numbers:
rows and the work they make are spread evenly whatever order the data came in, and what moves when workers come or go is
a slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.checks import require
from slide.engine.layout import IntArray

FEATURES, LABELS = 30, 31  # of random numbers


@dataclass(frozen=True)
class Numbering:
    """Old numbers to new ones: `place`, and back: `inverse`; int32 [n]."""

    place: IntArray
    inverse: IntArray

    @classmethod
    def of(cls, n: int, seed: int, stream: int) -> Numbering:
        """Of n things, at random."""
        inverse = np.random.default_rng([seed, stream]).permutation(n).astype(np.int32)
        place = np.empty(n, np.int32)
        place[inverse] = np.arange(n, dtype=np.int32)
        return cls(place, inverse)

    def columns(self, matrix: sp.csr_array, first: int, end: int) -> sp.csr_array:
        """The columns that have new numbers first to end - 1, numbered from 0; those of a row ascending."""
        new = self.place[matrix.indices]
        inside = (new >= first) & (new < end)
        indptr = np.concatenate([[0], np.cumsum(inside, dtype=np.int64)])[matrix.indptr]
        shape = (matrix.shape[0], end - first)
        found = sp.csr_array((matrix.data[inside], new[inside] - np.int32(first), indptr), shape=shape)
        found.sort_indices()
        return found


def check_workers(workers: int, n_features: int, n_labels: int) -> None:
    """Raises ValueError where there is not one feature and one label for each."""
    wanted = f"no more than there are features, {n_features:,}, or labels, {n_labels:,}"
    require(workers <= min(n_features, n_labels), "workers", workers, wanted)


def cuts(n: int, speeds: Sequence[float]) -> npt.NDArray[np.int64]:
    """int64 [workers + 1]: where the ranges of n things begin, their lengths as the workers' speeds; none is empty.

    There must be as many things as workers.
    """
    share = np.cumsum(np.asarray(speeds, np.float64))
    found = np.concatenate([[0], np.rint(n * share / share[-1])]).astype(np.int64)
    workers = np.arange(len(found))
    return np.asarray(np.maximum.accumulate(np.clip(found - workers, 0, n - len(speeds))) + workers, np.int64)
