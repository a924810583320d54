"""Query cells: the data-dependent hash family. Its centres are learned here; csrc/cells.c fills and reads its lists."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from slide._state import DIRECTION_BLOCK, FloatArray, LshState
from slide.lsh import FAMILIES, HashFamily, require

MAX_BITS = 14
MAX_PROBES = 8
QUERIES_A_CELL, QUERIES_AT_THE_END = 16, 48  # that centres are learned from
FIRST_STEPS, STEPS, STEPS_AT_THE_END = 8, 1, 4  # of k-means


@dataclass(frozen=True)
class QueryCells(HashFamily):
    """A partition of the space of queries learned from queries, each cell listing the neurons it wants most.

    One table: the hash of a query is its nearest centre (k-means over training queries), and a bucket holds the
    neurons with the largest inner product, bias included, with that centre, best first. Norms and biases count
    fully, retrieval is one look-up, and a query needs no ranking. Data-dependent hashing by clusters as in product
    quantisation (Jegou et al., PAMI 2011), with the clusters on the side of the queries, and solved for the maximum
    inner product when the lists are filled.

    Parameters
    ----------
    K : int or None
        Bits of a code: 2^K cells, 6 to 14. None chooses from the number of neurons: 512 for 10^4, 1,024 for 10^6.
    L : int
        1.
    capacity : int
        Neurons a list holds. 0: 2 % of the neurons, between 256 and the larger of 2,048 and 0.2 %.
    policy : {"best"}
    selection : {"lists"}
        The neurons of a list in its order.
    probes : int
        Cells a query takes candidates from in turn, 1 to 8. Where their lists are too short for what is asked, up to 8
        nearest cells are used.

    >>> QueryCells().slots_shape(10_000)
    (1, 512, 272)
    """

    L: int = 1
    capacity: int = 0
    policy: str = "best"
    centred: bool = False
    transform: str = "none"
    selection: str = "lists"
    probes: int = 2

    kind: ClassVar[str] = "query_cells"
    hashes_neurons: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require(self.L == 1, "QueryCells(L=)", self.L, "1: one partition")
        require(0 <= self.capacity < 2**20, "QueryCells(capacity=)", self.capacity, "0 to 1,048,575 neurons a list")
        require(self.policy == "best", "QueryCells(policy=)", self.policy, "'best'")
        require(not self.centred, "QueryCells(centred=)", self.centred, "False: neurons are not hashed")
        require(self.transform == "none", "QueryCells(transform=)", self.transform, "'none': norms count as they are")
        require(self.selection == "lists", "QueryCells(selection=)", self.selection, "'lists': in their order")
        require(1 <= self.probes <= MAX_PROBES, "QueryCells(probes=)", self.probes, f"1 to {MAX_PROBES} cells")
        if self.K is not None:
            require(6 <= self.K <= MAX_BITS, "QueryCells(K=)", self.K, f"6 to {MAX_BITS} bits of a cell's number")

    def resolved_K(self, n: int) -> int:
        """K itself, or the choice for n neurons."""
        return self.K if self.K is not None else min(max(round(math.log2(max(n, 2)) / 4 + 5.6), 6), MAX_BITS)

    def resolved_capacity(self, n: int) -> int:
        """Neurons a list holds, never more than there are."""
        most = max(2048, n // 500)
        return min(self.capacity or min(max(n // 50, 256), most), n)

    def table_bits(self, n: int) -> int:
        """A bucket for every cell."""
        return self.resolved_K(n)

    def slots_shape(self, n: int) -> tuple[int, int, int]:
        """Shape of the lists for n neurons, padded to whole cache lines of 16 ids."""
        return 1, 2 ** self.resolved_K(n), -(-(self.resolved_capacity(n) + 1) // 16) * 16

    def rebuild_every(self, n: int) -> tuple[int, float]:
        """Samples up to the first rebuild of n neurons' lists, and the growth of the distances after it.

        Lists age slowly: on two real data sets 8 rebuilds gave the accuracy of 28.
        """
        return max(8192, n // 4), 0.3

    def n_queries(self, n: int, at_the_end: bool) -> int:
        """Queries that `learn` should get for n neurons."""
        return (QUERIES_AT_THE_END if at_the_end else QUERIES_A_CELL) * 2 ** self.resolved_K(n)

    def make(self, dim: int, n: int, rng: np.random.Generator, slots: npt.NDArray[np.int32]) -> LshState:
        """The state for vectors of dim coordinates (bias included) and n neurons: all centres zero."""
        K = self.resolved_K(n)
        return LshState(
            kind=self.kind,
            K=K,
            L=1,
            window=1,
            dim=dim,
            permutations=0,
            code_bits=K,
            transform="none",
            directions=np.zeros((2**K // DIRECTION_BLOCK, dim, DIRECTION_BLOCK), np.float32),
            positions=np.empty((0, 0), np.int32),
            frame=np.empty(0, np.float32),
            table_bits=K,
            capacity=self.resolved_capacity(n),
            policy=self.policy,
            slots=slots,
            probes=self.probes,
        )


FAMILIES[QueryCells.kind] = QueryCells


def learn(
    state: LshState,
    queries: FloatArray,
    rng: np.random.Generator,
    codes_of: Callable[[FloatArray], npt.NDArray[Any]],
    at_the_end: bool = False,
) -> None:
    """Moves the centres, in place, by steps of k-means (Lloyd, 1982) over queries float32 [m, dim - 1].

    codes_of gives the codes [m, 1] of vectors [m, dim]. at_the_end: training is over, so that more care pays. A cell
    without queries starts anew at a random one.
    """
    if not len(queries):
        return
    vectors = np.ones((len(queries), state.dim), np.float32)
    vectors[:, :-1] = queries
    if not state.directions.any():
        _write_centres(state, queries[rng.integers(0, len(queries), 2**state.K)])
        steps = FIRST_STEPS
    else:
        steps = STEPS_AT_THE_END if at_the_end else STEPS
    for _ in range(steps):
        _write_centres(state, _means(state, queries, codes_of(vectors)[:, 0], rng))
    _write_centres(state, _neighbours_together(_centres(state)))


def _means(state: LshState, queries: FloatArray, cell: npt.NDArray[np.uint32], rng: np.random.Generator) -> FloatArray:
    """Mean query of each cell [2^K, dim - 1]."""
    n = np.bincount(cell, minlength=2**state.K)
    means = queries[rng.integers(0, len(queries), 2**state.K)]
    full = np.flatnonzero(n)
    starts = np.concatenate([[0], np.cumsum(n[full])[:-1]])
    sums = np.add.reduceat(queries[np.argsort(cell, kind="stable")], starts, axis=0, dtype=np.float64)
    means[full] = sums / n[full, None]
    return means


def _centres(state: LshState) -> FloatArray:
    """[2^K, dim - 1], a copy."""
    return np.ascontiguousarray(state.directions[:, :-1].transpose(0, 2, 1)).reshape(2**state.K, -1)


def _write_centres(state: LshState, centres: FloatArray) -> None:
    """Centres, and minus half their squared lengths, as directions of 12 significant bits (csrc/cells.h)."""
    rounded = round_to_12_bits(centres)
    halves = -0.5 * np.square(rounded, dtype=np.float64).sum(axis=1)
    columns = np.concatenate([rounded, round_to_12_bits(halves.astype(np.float32))[:, None]], axis=1)
    state.directions[:] = columns.reshape(-1, DIRECTION_BLOCK, state.dim).transpose(0, 2, 1)


def round_to_12_bits(x: FloatArray) -> FloatArray:
    """Floats with 12 significant bits, whose products are exact."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x800)) & np.uint32(0xFFFFF000)).view(np.float32)


def _neighbours_together(centres: FloatArray) -> FloatArray:
    """The centres in an order in which every block of 64 is a neighbourhood: halved along their main direction."""
    order = np.arange(len(centres))
    size = len(order)
    while size > DIRECTION_BLOCK:
        for first in range(0, len(order), size):
            part = order[first : first + size]
            order[first : first + size] = part[np.argsort(_along_main_direction(centres[part]), kind="stable")]
        size //= 2
    return centres[order]


def _along_main_direction(points: FloatArray) -> npt.NDArray[np.float64]:
    """Coordinates along about the first principal axis: eight power iterations."""
    shifted = points - points.mean(axis=0, dtype=np.float64)
    axis = shifted[np.argmax(np.square(shifted).sum(axis=1))]
    for _ in range(8):
        axis = np.einsum("nd,n->d", shifted, np.einsum("nd,d->n", shifted, axis))
        axis = axis / max(float(np.sqrt(np.square(axis).sum())), 1e-30)
    return np.einsum("nd,d->n", shifted, axis)
