"""What a back end is: the calls both engines answer, the rows they are given and what they report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.engine.layout import FloatArray, IntArray
from slide.engine.leaves import Leaves

ROWS_AT_ONCE = 4096  # that are copied


NO_WEIGHTS = np.empty(0, np.float32)


class Examples(NamedTuple):
    """CSR arrays as the engines read them: indptr int64, indices int32, data float32.

    weights : float32 [n], how many times the loss of each row counts in training; empty: once each
    """

    indptr: npt.NDArray[np.int64]
    indices: IntArray
    data: FloatArray
    weights: FloatArray = NO_WEIGHTS

    @classmethod
    def of(cls, X: sp.csr_matrix | sp.csr_array, weights: FloatArray | None = None) -> Examples:
        return cls(
            np.ascontiguousarray(X.indptr, np.int64),
            np.ascontiguousarray(X.indices, np.int32),
            np.ascontiguousarray(X.data, np.float32),
            NO_WEIGHTS if weights is None else np.ascontiguousarray(weights, np.float32),
        )

    @property
    def n_rows(self) -> int:
        """Rows."""
        return len(self.indptr) - 1

    def part(self, first: int, last: int) -> Examples:
        """The rows from first to before last, to ask with; nothing is copied but where they begin."""
        begin, end = self.indptr[first], self.indptr[last]
        return Examples(self.indptr[first : last + 1] - begin, self.indices[begin:end], self.data[begin:end])

    def take(self, rows: npt.NDArray[np.int64]) -> Examples:
        """Copies some rows, to ask with: their weights stay behind."""
        lengths = np.diff(self.indptr)[rows]
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        indices, data = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.float32)
        for i in range(0, len(rows), ROWS_AT_ONCE):  # what says where they are is larger than they
            starts, ends = indptr[i : i + ROWS_AT_ONCE + 1][:-1], indptr[i : i + ROWS_AT_ONCE + 1]
            some = slice(starts[0], ends[-1])
            shift = self.indptr[rows[i : i + ROWS_AT_ONCE]] - starts
            where = np.arange(some.start, some.stop) + np.repeat(shift, lengths[i : i + ROWS_AT_ONCE])
            indices[some], data[some] = self.indices[where], self.data[where]
        return Examples(indptr, indices, data)


class TrainStats(NamedTuple):
    """What one call of ``Engine.train`` did; bad_step is -1 unless a loss was not finite or, with bad_update, the
    update of bad_layer would have left float32. bad_layer is the number of layers for the sparse linear part.
    phase_seconds are those of PHASES, summed over threads; empty unless ``Engine.time`` was called.
    """

    loss: float
    n_loss: int
    n_active: int
    bad_step: int
    bad_layer: int
    wide_loss: float = 0.0
    n_wide_active: int = 0
    bad_update: bool = False
    phase_seconds: tuple[float, ...] = ()


class StepRule(Protocol):
    """An optimizer as the engines read it; slide/optim.py has them."""

    @property
    def kind(self) -> str: ...

    @property
    def lr(self) -> float: ...

    @property
    def weight_decay(self) -> float: ...

    @property
    def beta1(self) -> float: ...

    @property
    def beta2(self) -> float: ...

    @property
    def eps(self) -> float: ...


class Engine(Protocol):
    """What a back end does; ``slide.engine._c.Engine`` in C, ``slide.engine.reference.engine.Engine`` in Numba."""

    @property
    def isa(self) -> str: ...

    def handed_out(self) -> None: ...

    @property
    def trains_batches(self) -> bool: ...

    def time(self, on: bool) -> None: ...

    def rank_by(self, ranker: Any) -> None: ...

    def train(
        self,
        X: Examples,
        Y: Examples,
        order: npt.NDArray[np.int64],
        first_step: int,
        lr: FloatArray,
        batch_size: int,
    ) -> TrainStats: ...

    def rebuild(self, layer: int, generation: int, refresh: bool = False) -> None: ...

    def change_tables(self, change: Callable[[], None]) -> None: ...

    def predict(self, X: Examples, k: int, n_candidates: int, ranked: bool = True) -> tuple[IntArray, FloatArray]: ...

    def hidden(self, X: Examples, layer: int) -> FloatArray: ...

    def hash_codes(self, layer: int, vectors: FloatArray) -> npt.NDArray[np.uint32]: ...

    def retrieve(self, layer: int, queries: FloatArray, n_candidates: int) -> IntArray: ...

    def leaf_codes(self, leaves: Leaves, vectors: FloatArray, cells: IntArray) -> IntArray: ...

    def fill_leaves(self, leaves: Leaves, indptr: npt.NDArray[np.int64], ids: IntArray) -> IntArray: ...

    def shortlist(
        self, leaves: Leaves, X: Examples, k: int, n_candidates: int, ranked: bool = False
    ) -> tuple[IntArray, FloatArray]: ...

    def active_set(self, layer: int, query: FloatArray, labels: IntArray, step: int) -> tuple[IntArray, FloatArray]: ...
