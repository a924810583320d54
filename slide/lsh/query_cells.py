"""Query cells: the data-dependent hash family. Learns centres; csrc/lsh/query_cells.c fills and reads its lists."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.checks import among, number, require, whole
from slide.engine.layout import DIRECTION_BLOCK, LANES, MAX_PROBES, FloatArray
from slide.engine.state import LayerState, LshState
from slide.lsh.family import HashFamily, LearnContext

MIN_BITS, MAX_BITS = 6, 14
_BITS = f"{MIN_BITS} to {MAX_BITS}"
QUERIES_A_CELL, QUERIES_AT_THE_END = 16, 32  # that centres are learned from
FIRST_STEPS, STEPS, STEPS_AT_THE_END = 2, 1, 2  # of k-means
DEFAULT_MEMORY = 2**28
REFRESH_FROM = 100_000  # neurons: fewer are scored against all centres in milliseconds


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
        Bits of a code: 2^K cells, 6 to 14. None chooses from the number of neurons: 512 for 10^4, 2,048 for 10^6.
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
    recall : float
        Of the ten best neurons, the share that new lists should find of training queries. Rebuilds 4, 8, 16 and so on
        measure it; where it is less, the next one splits every cell into two, up to 2^14 cells and `memory`. 0: sizes
        stay as they are.
    memory : int
        Bytes that the lists may take: there are fewer cells, then shorter lists, where they would take more.

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
    recall: float = 0.25
    memory: int = DEFAULT_MEMORY

    kind: ClassVar[str] = "query_cells"
    hashes_neurons: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require(whole(self.L) == 1, "QueryCells(L=)", self.L, "1: one partition")
        require(
            0 <= whole(self.capacity) < 2**20, "QueryCells(capacity=)", self.capacity, "0 to 1,048,575 neurons a list"
        )
        require(among(self.policy, ("best",)), "QueryCells(policy=)", self.policy, "'best'")
        require(self.centred is False, "QueryCells(centred=)", self.centred, "False: neurons are not hashed")
        require(
            among(self.transform, ("none",)),
            "QueryCells(transform=)",
            self.transform,
            "'none': norms count as they are",
        )
        require(among(self.selection, ("lists",)), "QueryCells(selection=)", self.selection, "'lists': in their order")
        require(1 <= whole(self.probes) <= MAX_PROBES, "QueryCells(probes=)", self.probes, f"1 to {MAX_PROBES} cells")
        require(0 <= number(self.recall) <= 1, "QueryCells(recall=)", self.recall, "a share, 0 to 1")
        require(whole(self.memory) >= 2**16, "QueryCells(memory=)", self.memory, "65,536 bytes or more")
        if self.K is not None:
            require(MIN_BITS <= whole(self.K) <= MAX_BITS, "QueryCells(K=)", self.K, f"{_BITS} bits of a cell's number")

    def resolved_K(self, n: int) -> int:
        """K itself, or the choice for n neurons."""
        if self.K is not None:
            return self.K
        wanted = min(max(round(math.log2(max(n, 2)) / 4 + 5.6), MIN_BITS), MAX_BITS)
        return max(MIN_BITS, min(wanted, (self.memory // _list_bytes(self._wanted_capacity(n))).bit_length() - 1))

    def resolved_capacity(self, n: int) -> int:
        """Neurons a list holds, never more than there are."""
        ids = self.memory // 4 // 2 ** self.resolved_K(n) // LANES * LANES
        return min(self._wanted_capacity(n), max(ids, LANES) - 1)

    def _wanted_capacity(self, n: int) -> int:
        return min(self.capacity or min(max(n // 50, 256), max(2048, n // 500)), n)

    def table_bits(self, n: int) -> int:
        """A bucket for every cell."""
        return self.resolved_K(n)

    def slots_shape(self, n: int) -> tuple[int, int, int]:
        """Shape of the lists for n neurons, padded to whole cache lines of 16 ids."""
        return 1, 2 ** self.resolved_K(n), _list_bytes(self.resolved_capacity(n)) // 4

    @property
    def wanted_recall(self) -> float:
        """As given: `recall`."""
        return self.recall

    def grown(self, n: int) -> QueryCells | None:
        """Twice the cells, if lists as long as now fit."""
        K = self.resolved_K(n) + 1
        fits = 2**K * _list_bytes(self.resolved_capacity(n)) <= self.memory
        return replace(self, K=K) if K <= MAX_BITS and fits else None

    def grow(self, old: LshState, new: LshState) -> None:
        """Each cell becomes two with its list: one around its centre, one that k-means will place anew."""
        _write_centres(new, np.repeat(centres(old), 2, axis=0))
        new.buckets[0] = np.repeat(old.buckets[0], 2, axis=0)
        new.label_cells[:] = np.where(old.label_cells >= 0, 2 * old.label_cells, -1)

    def rebuild_every(self, n: int) -> tuple[int, float]:
        """Samples up to the first rebuild of n neurons' lists, and the growth of the distances after it.

        Lists age slowly: on two real data sets 8 rebuilds gave the accuracy of 28. Refreshes cost less and come twice
        as often.
        """
        return max(8192, n // (8 if n >= REFRESH_FROM else 4)), 0.3

    def can_refresh(self, state: LayerState, step: int) -> bool:
        """Many neurons, of which it is known what they were labels of; or before the first of them was one."""
        assert state.lsh is not None
        return max(state.n, state.n_of_all) >= REFRESH_FROM and (step == 0 or bool((state.lsh.label_cells >= 0).any()))

    def n_queries(self, n: int, final: bool = False) -> int:
        """Some for every cell."""
        return (QUERIES_AT_THE_END if final else QUERIES_A_CELL) * 2 ** self.resolved_K(n)

    def n_directions(self, n: int) -> int:
        """One a cell."""
        return 2 ** self.resolved_K(n)

    def is_ready(self, lsh: LshState) -> bool:
        """Not before there are centres."""
        return bool(lsh.directions.any())

    def learn(self, state: LayerState, lesson: LearnContext) -> None:
        """Moves the centres by steps of k-means (Lloyd, 1982); a cell without queries starts anew at a random one."""
        lsh = state.lsh
        assert lsh is not None
        queries, rng = lesson.queries, lesson.rng
        if not len(queries):
            return
        vectors = np.ones((len(queries), lsh.dim), np.float32)
        vectors[:, :-1] = queries
        steps = STEPS_AT_THE_END if lesson.final else STEPS
        if not self.is_ready(lsh):
            _write_centres(lsh, queries[rng.integers(0, len(queries), 2**lsh.K)])
            steps = FIRST_STEPS
        for _ in range(steps):
            _write_centres(lsh, _means(lsh, queries, lesson.codes_of(vectors)[:, 0], rng))
        _reorder(lsh, _neighbours_together(centres(lsh)))

    def make(self, dim: int, n: int, rng: np.random.Generator, buckets: npt.NDArray[np.int32]) -> LshState:
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
            buckets=buckets,
            probes=self.probes,
            label_cells=np.full(n, -1, np.int32),
        )


def _list_bytes(capacity: int) -> int:
    """A list, its length in front, padded to whole cache lines."""
    return 4 * LANES * -(-(capacity + 1) // LANES)


def _means(state: LshState, queries: FloatArray, cell: npt.NDArray[np.uint32], rng: np.random.Generator) -> FloatArray:
    """Mean query of each cell [2^K, dim - 1]."""
    n = np.bincount(cell, minlength=2**state.K)
    means = queries[rng.integers(0, len(queries), 2**state.K)]
    full = np.flatnonzero(n)
    of_cell = np.argsort(cell, kind="stable")
    members = sp.csr_array((np.ones(len(cell), np.float32), of_cell, np.concatenate([[0], np.cumsum(n)])))
    means[full] = (members @ queries)[full] / n[full, None]
    return means


def centres(state: LshState) -> FloatArray:
    """Those of the cells, [2^K, dim - 1], a copy."""
    return np.ascontiguousarray(state.directions[:, :-1].transpose(0, 2, 1)).reshape(2**state.K, -1)


def _write_centres(state: LshState, centres: FloatArray) -> None:
    """Centres, and minus half their squared lengths, as directions of 12 significant bits (csrc/lsh/query_cells.h)."""
    rounded = round_to_12_bits(centres)
    halves = -0.5 * np.square(rounded, dtype=np.float64).sum(axis=1)
    columns = np.concatenate([rounded, round_to_12_bits(halves.astype(np.float32))[:, None]], axis=1)
    state.directions[:] = columns.reshape(-1, DIRECTION_BLOCK, state.dim).transpose(0, 2, 1)


def round_to_12_bits(x: FloatArray) -> FloatArray:
    """Floats with 12 significant bits, whose products are exact."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x800)) & np.uint32(0xFFFFF000)).view(np.float32)


def _reorder(state: LshState, order: npt.NDArray[np.int64]) -> None:
    """Numbers the cells anew: cell order[i] becomes cell i, with its list."""
    _write_centres(state, centres(state)[order])
    state.buckets[0] = state.buckets[0, order]
    number = np.empty(len(order) + 1, np.int32)
    number[order], number[-1] = np.arange(len(order)), -1
    state.label_cells[:] = number[state.label_cells]


def _neighbours_together(centres: FloatArray) -> npt.NDArray[np.int64]:
    """An order of the centres in which every block of 64 is a neighbourhood: halved along their main direction."""
    order = np.arange(len(centres))
    size = len(order)
    while size > DIRECTION_BLOCK:
        for first in range(0, len(order), size):
            part = order[first : first + size]
            order[first : first + size] = part[np.argsort(_along_main_direction(centres[part]), kind="stable")]
        size //= 2
    return order


def _along_main_direction(points: FloatArray) -> npt.NDArray[np.float64]:
    """Coordinates along about the first principal axis: eight power iterations."""
    shifted = points - points.mean(axis=0, dtype=np.float64)
    axis = shifted[np.argmax(np.square(shifted).sum(axis=1))]
    for _ in range(8):
        axis = np.einsum("nd,n->d", shifted, np.einsum("nd,d->n", shifted, axis))
        axis = axis / max(float(np.sqrt(np.square(axis).sum())), 1e-30)
    return np.einsum("nd,d->n", shifted, axis)
