"""What both back ends share: the arrays of a layer, the numbers that name kinds in C, and the protocol of an engine.

The arrays belong to Python (NumPy arrays over the core's huge-page memory where it is built). Their layout is that of
csrc/slide.h: a row is its weights padded to 16 floats, then each optimizer state padded alike, then 16 scalars. Weights
may be bfloat16, in half the room: rows are then uint16, and the scalars floats all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.bfloat16 import to_float32

if TYPE_CHECKING:
    from slide.custom import CustomHash
    from slide.leaves import Leaves

LANES = 16
TAIL = 16
BIAS, BIAS_S1, BIAS_S2, ROW_ACC, ROW_COUNT = range(5)
DIRECTION_BLOCK = 64
MAX_PROBES = 8  # buckets of a table, or cells, that one query looks into
MAX_BATCH = 32  # samples that can share an active set
HADAMARD_ROUNDS = 3
ROWS_AT_ONCE = 4096  # that are copied
NORM_RANGES = 32
OFFSET_STEPS = 2**24  # of a cell, for the offsets of Euclidean hashes

#: The C core's enumerations by name.
KINDS: dict[str, int] = {
    **{"sparse_input": 0, "dense": 1, "sampled": 2},
    **{"identity": 0, "relu": 1, "tanh": 2},
    **{"softmax": 0, "binary": 1},
    **{"sgd": 0, "adagrad_row": 1, "adagrad": 2, "adam": 3},
    **{"simhash": 0, "wta": 1, "dwta": 2, "minhash": 3},
    **{"simhash_gaussian": 4, "simhash_sparse": 5, "simhash_hadamard": 6},
    **{"custom": 7, "query_cells": 8, "euclidean": 9},
    **{"none": 0, "norm-augmented": 1, "norm-ranging": 1, "sign-alsh": 2, "l2-alsh": 3},
    **{"fifo": 0, "reservoir": 1, "best": 2},
    **{"count": 0, "vanilla": 1, "threshold": 2},
}

#: Weight-sized states a row carries for each optimizer.
OPTIMIZER_STATES = {"sgd": 0, "adagrad_row": 0, "adagrad": 1, "adam": 2}

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]


def pad(n: int) -> int:
    """The next multiple of 16."""
    return -(-n // LANES) * LANES


class Examples(NamedTuple):
    """CSR arrays as the engines read them: indptr int64, indices int32, data float32."""

    indptr: npt.NDArray[np.int64]
    indices: IntArray
    data: FloatArray

    @classmethod
    def of(cls, X: sp.csr_matrix | sp.csr_array) -> Examples:
        return cls(
            np.ascontiguousarray(X.indptr, np.int64),
            np.ascontiguousarray(X.indices, np.int32),
            np.ascontiguousarray(X.data, np.float32),
        )

    def take(self, rows: npt.NDArray[np.int64]) -> Examples:
        """Copies some rows."""
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


#: What threads spend their time on while they train, in the order of csrc/slide.h.
PHASES = ("input", "hash", "retrieve", "forward", "loss", "backward", "update", "layers below", "sparse part")


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


@dataclass
class LshState:
    """A hash family's random choices and its tables; shapes as in csrc/slide.h (slide_lsh)."""

    kind: str
    K: int
    L: int
    window: int
    dim: int
    permutations: int
    code_bits: int
    directions: FloatArray
    positions: IntArray
    transform: str
    frame: FloatArray
    table_bits: int
    capacity: int
    policy: str
    slots: npt.NDArray[np.int32]
    probes: int = 1
    selection: str = "count"
    min_count: int = 1
    custom: CustomHash | None = None
    width: float = 1.0  # Euclidean: of a cell
    #: Query cells: [n] the cell of the sample whose label a neuron last was, -1 for none. Else empty.
    homes: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    #: [n, L] codes of the rows as they were last hashed, and [n] marks of those rows, 0 for none. Or empty.
    codes: npt.NDArray[np.uint32] = field(default_factory=lambda: np.empty((0, 0), np.uint32))
    marks: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))

    @property
    def arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """All that an engine points into."""
        return self.directions, self.positions, self.frame, self.slots, self.homes, self.codes, self.marks

    @property
    def centre(self) -> FloatArray:
        """The frame without the norms, a view: empty or [2 (fan_in + 1)]."""
        return self.frame[: len(self.frame) - self.n_norms]

    @property
    def norms(self) -> FloatArray:
        """Lengths that a transform gives to neurons, ascending; a view of the frame's end."""
        return self.frame[len(self.frame) - self.n_norms :]

    @property
    def n_norms(self) -> int:
        """One for each group of neurons of about the same length."""
        return {"none": 0, "norm-ranging": NORM_RANGES}.get(self.transform, 1)

    @property
    def is_learned(self) -> bool:
        """Whether directions are learned numbers; else they are small whole ones that follow from the seed."""
        return self.kind == "query_cells"

    @property
    def positions_range(self) -> tuple[int, int]:
        """Smallest and largest value that positions may have."""
        if self.kind == "minhash":
            return 0, 2**31 - 1
        if self.kind == "euclidean":
            return 0, OFFSET_STEPS - 1
        return (-self.dim if self.kind == "simhash_sparse" else 0), self.dim - 1

    def set_directions(self, directions: FloatArray) -> None:
        """Copies directions to 64-byte aligned memory: kernels load whole vectors of them."""
        self.directions = allocate_plain(directions.shape, np.float32)
        self.directions[:] = directions

    def __post_init__(self) -> None:
        self.set_directions(self.directions)


@dataclass
class LayerState:
    """One layer's numbers and arrays; rows float32 [n_rows, stride], or uint16 [n_rows, 2 stride]."""

    kind: str
    activation: str
    n: int
    fan_in: int
    width: int
    rows: npt.NDArray[Any]
    bias: bool
    dropout: float = 0.0
    n_active: int = 0
    n_random: int = 0
    asks_label: bool = False
    lsh: LshState | None = None

    @property
    def padded(self) -> int:
        return pad(self.width)

    @property
    def is_compressed(self) -> bool:
        """Whether weights are 8-bit codes that only predict (slide.compressed)."""
        return False

    @property
    def is_half(self) -> bool:
        """Whether weights are bfloat16."""
        return self.rows.dtype == np.uint16

    @property
    def n_bytes(self) -> int:
        """Bytes of parameters and optimizer state."""
        return self.rows.nbytes

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What a file holds of the parameters, by name."""
        return {"rows": self.rows}

    def plain(self) -> LayerState:
        """The layer with rows of floats, for an engine that knows no others."""
        if not self.is_half:
            return self
        rows = allocate_plain((len(self.rows), self.padded + TAIL), np.float32)
        rows[:, : self.width], rows[:, self.padded :] = self.weights_of(slice(None)), self.tail
        return replace(self, rows=rows)

    @property
    def tail(self) -> FloatArray:
        """The 16 scalars behind each row, as a view."""
        scalars = TAIL * np.dtype(np.float32).itemsize // self.rows.itemsize
        view: FloatArray = self.rows[:, self.rows.shape[1] - scalars :].view(np.float32)
        return view

    def weights_of(self, rows: Any) -> FloatArray:
        """[n, width] weights of some rows, given by a slice or their numbers; a view where it can be one."""
        some: FloatArray = self.rows[rows, : self.width]
        return to_float32(some) if self.is_half else some

    @property
    def weights(self) -> FloatArray:
        """[n_rows, width] of the weights, the bias row of a sparse input left out; a view if they are float32."""
        return self.weights_of(slice(self.fan_in if self.kind == "sparse_input" else self.n))

    @property
    def biases(self) -> FloatArray:
        """[n] of the biases; a view unless they are a row of bfloat16."""
        if self.kind == "sparse_input":
            return self.weights_of(slice(self.fan_in, None))[0] if self.bias else np.zeros(self.n, np.float32)
        return self.tail[:, BIAS]


class Engine(Protocol):
    """What a back end does; ``slide._engine.Engine`` in C, ``slide.reference.engine.Engine`` in Numba."""

    @property
    def isa(self) -> str: ...

    @property
    def trains_batches(self) -> bool: ...

    def time(self, on: bool) -> None: ...

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

    def predict(self, X: Examples, k: int, n_candidates: int) -> tuple[IntArray, FloatArray]: ...

    def hidden(self, X: Examples, layer: int) -> FloatArray: ...

    def hash_codes(self, layer: int, vectors: FloatArray) -> npt.NDArray[np.uint32]: ...

    def retrieve(self, layer: int, queries: FloatArray, n_candidates: int) -> IntArray: ...

    def leaf_codes(self, leaves: Leaves, vectors: FloatArray, cells: IntArray) -> IntArray: ...

    def fill_leaves(self, leaves: Leaves, indptr: npt.NDArray[np.int64], ids: IntArray) -> None: ...

    def shortlist(self, leaves: Leaves, X: Examples, n: int, n_candidates: int) -> tuple[IntArray, FloatArray]: ...

    def active_set(self, layer: int, query: FloatArray, labels: IntArray, step: int) -> tuple[IntArray, FloatArray]: ...


def allocate_plain(shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any]:
    """Zeroed 64-byte aligned array from NumPy's own memory, for when the C core is not built."""
    dtype = np.dtype(dtype)
    n_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.zeros(n_bytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + n_bytes].view(dtype).reshape(shape)
