"""Sparse rows, one a label, that rank what a network's tables return: their arrays, and the solver that learns them.

What the solver computes is in csrc/linear/, its twin in slide/engine/reference/linear.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.checks import require
from slide.engine.binding import c_core
from slide.engine.layout import FloatArray, IntArray
from slide.engine.protocol import Examples
from slide.engine.select import resolve_backend
from slide.model.sorted_lists import inserted, lower_bound, with_longer

NARROW = 2**16  # features that fit 16 bits
PAIRS_AT_ONCE = 2**25  # negative rows that are listed by label at a time: 128 MiB
ENTRIES_AT_ONCE = 2**26  # features of these rows: a second or two of work
LABELS_A_THREAD = 8  # of a block, at least, so that no thread is idle for long


@dataclass(frozen=True)
class SolverOptions:
    """How rows are learned: min (|w|^2 + (b + 1)^2) / 2 + sum of C_i max(0, 1 - y_i (w . x_i + b))^2 for each label.

    Parameters
    ----------
    C : float
        Weight of a row's loss against that of the norm; times positive_weight or negative_weight.
    eps : float
        A label is solved when its projected gradients lie within this of each other.
    max_passes : int
        Over a label's rows, at most, where these are more than 128; fewer are solved.
    prune : float
        Weights under this in absolute value are dropped.
    shrinks : bool
        Whether rows that seem solved are left out of passes until the others are.
    """

    n_features: int
    C: float = 1.0
    positive_weight: float = 1.0
    negative_weight: float = 1.0
    eps: float = 0.1
    prune: float = 0.05
    max_passes: int = 20
    shrinks: bool = True
    seed: int = 0
    n_threads: int = 1


@dataclass
class SparseRows:
    """CSR by label: indptr int64 [L + 1], features int32, ascending in a row, weights float32 or qweights int8; bias.

    Of rows that rank, features are uint16 where there are no more than 65,536 (`narrowed`).
    """

    indptr: npt.NDArray[np.int64]
    features: npt.NDArray[Any]
    weights: FloatArray | None
    bias: FloatArray
    n_features: int
    qweights: npt.NDArray[np.int8] | None = None
    scales: FloatArray | None = None

    def scores(self, X: sp.csr_array, ids: IntArray, n_threads: int = 1, backend: str | None = None) -> FloatArray:
        """float32 [n, m]: w . x + bias of the labels ids int32 [n, m] of each row, -infinity where an id is -1."""
        found: FloatArray = _core(backend).linear_scores(
            self, Examples.of(X), np.ascontiguousarray(ids, np.int32), n_threads
        )
        return found

    def narrowed(self) -> SparseRows:
        """With features in 16 bits where these hold them: less to store, and to fetch for a prediction."""
        if self.n_features > NARROW or self.features.dtype == np.uint16:
            return self
        return replace(self, features=self.features.astype(np.uint16))

    @property
    def floats(self) -> FloatArray:
        """The weights; of qweights float32 made at each call."""
        if self.weights is not None:
            return self.weights
        assert self.qweights is not None
        assert self.scales is not None
        return np.asarray(self.qweights * np.repeat(self.scales, np.diff(self.indptr)), np.float32)

    def moved(self, steps: sp.csr_array, biases: FloatArray) -> SparseRows:
        """With steps, CSR [n_labels, n_features], added to the weights, and biases [n_labels] to the biases."""
        assert self.weights is not None
        labels = np.repeat(np.arange(steps.shape[0]), np.diff(steps.indptr))
        first, end = self.indptr[labels], self.indptr[labels + 1]
        at, known = lower_bound(self.features, steps.indices, first, end)
        weights, new = self.weights.copy(), ~known
        weights[at[known]] += steps.data[known]
        features, bias = self.features, np.asarray(self.bias + biases, np.float32)
        if not new.any():
            return replace(self, weights=weights, bias=bias)
        return replace(
            self,
            indptr=with_longer(self.indptr, labels[new]),
            features=inserted(features, at[new], steps.indices[new]),
            weights=inserted(weights, at[new], steps.data[new]),
            bias=bias,
        )

    def matrix(self) -> sp.csr_array:
        """The weights [n_labels, n_features], without biases."""
        return sp.csr_array((self.floats, self.features, self.indptr), shape=(len(self.bias), self.n_features))


def check_rows(rows: SparseRows, n_labels: int) -> None:
    """Rows from a file must stay within their arrays: the C core trusts them."""
    p, n = rows.indptr, len(rows.features)
    whole = (
        p.shape == (n_labels + 1,)
        and p.dtype == np.int64
        and p[0] == 0
        and p[-1] == n
        and bool((np.diff(p) >= 0).all())
    )
    require(whole, "indptr of the rows", "one out of order", f"0 to {n:,}, ascending, of {n_labels:,} labels")
    inside = not n or (rows.features.min() >= 0 and rows.features.max() < rows.n_features)
    require(bool(inside), "features of the rows", "an id out of range", f"0 to {rows.n_features - 1}")
    values = rows.qweights if rows.weights is None else rows.weights
    sizes = None if values is None else values.shape, rows.bias.shape
    require(sizes == ((n,), (n_labels,)), "sizes of the rows", sizes, f"{n:,} weights, {n_labels:,} biases")
    dtype = rows.features.dtype
    require(dtype in (np.int32, np.uint16), "features of the rows", dtype, "int32 or uint16")
    scaled = rows.weights is not None or (rows.scales is not None and rows.scales.shape == (n_labels,))
    require(scaled, "scales of the rows", "none or too few", f"{n_labels:,}")


def _core(backend: str | None) -> Any:
    """What computes: the C core's functions, or their twins of the same names and arguments."""
    if resolve_backend(backend) == "numba":
        from slide.engine.reference import linear_calls

        return linear_calls
    return c_core()


def by_label(Y: sp.csr_array) -> tuple[npt.NDArray[np.int64], IntArray]:
    """The rows of each label, ascending: indptr int64 [n_labels + 1], rows int32."""
    turned = Y.T.tocsr()
    turned.sort_indices()
    return turned.indptr.astype(np.int64), turned.indices.astype(np.int32)


def solve(
    X: sp.csr_array,
    Y: sp.csr_array,
    shortlists: IntArray,
    options: SolverOptions,
    *,
    row_weights: FloatArray | None = None,
    warm: SparseRows | None = None,
    backend: str | None = None,
    some_labels: tuple[int, int] | None = None,
    between: Callable[[], None] | None = None,
) -> SparseRows:
    """Rows of all labels, learned on their positives and on the rows whose shortlist int32 [n, m] has them wrongly.

    some_labels : first and last + 1 of those whose rows are learned, the same as ever; others are empty. None: all
    between : called every second or two; what it raises ends the work
    """
    core = _core(backend)
    rows, labels = Examples.of(X), Examples.of(Y)
    indptr, positives = by_label(Y)
    parts = []
    begin, end = some_labels or (0, Y.shape[1])
    parts.append(_empty_rows(begin))
    n_pairs = shortlists.size * (end - begin) // max(Y.shape[1], 1)
    n_blocks = max(-(-n_pairs // PAIRS_AT_ONCE), n_pairs * X.nnz // max(X.shape[0], 1) // ENTRIES_AT_ONCE)
    for first, last in _blocks(begin, end, n_blocks, LABELS_A_THREAD * options.n_threads):
        if between is not None:
            between()
        own = indptr[first : last + 1] - indptr[first], positives[indptr[first] : indptr[last]]
        wrong = core.linear_negatives(shortlists, labels, first, last - first, options.n_threads)
        start = None if warm is None else _some(warm, first, last)
        parts.append(core.linear_train(rows, own, wrong, options, first, row_weights, start)[:4])
    parts.append(_empty_rows(Y.shape[1] - end))
    return _joined(parts, X.shape[1])


def _empty_rows(n: int) -> tuple[Any, ...]:
    nothing = np.empty(0, np.float32)
    return np.zeros(n + 1, np.int64), np.empty(0, np.int32), nothing, np.zeros(n, np.float32)


def _blocks(begin: int, end: int, n: int, least: int) -> Iterator[tuple[int, int]]:
    """About n ranges of labels, of at least so many each."""
    size = max(1, min(least, end - begin), -(-(end - begin) // max(n, 1)))
    for first in range(begin, end, size):
        yield first, min(first + size, end)


def _some(rows: SparseRows, first: int, last: int) -> SparseRows:
    p = rows.indptr[first : last + 1]
    assert rows.weights is not None
    cut = slice(p[0], p[-1])
    features = rows.features[cut].astype(np.int32, copy=False)
    return replace(rows, indptr=p - p[0], features=features, weights=rows.weights[cut], bias=rows.bias[first:last])


def _joined(parts: list[tuple[Any, ...]], n_features: int) -> SparseRows:
    starts = np.cumsum([0] + [int(part[0][-1]) for part in parts])
    indptr = [part[0][:-1] + start for part, start in zip(parts, starts, strict=False)] + [starts[-1:]]
    features, weights, bias = (np.concatenate([part[i] for part in parts]) for i in (1, 2, 3))
    return SparseRows(np.concatenate(indptr).astype(np.int64), features, weights, bias, n_features)
