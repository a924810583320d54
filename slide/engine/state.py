"""The arrays of a layer and of the sparse linear part, as both back ends read them.

The arrays belong to Python (NumPy arrays over the core's huge-page memory where it is built); layout.py has the numbers
that describe them, csrc/slide.h what they mean.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.engine.bfloat16 import to_float32
from slide.engine.hash_callback import CustomHash
from slide.engine.layout import BIAS, NORM_RANGES, OFFSET_STEPS, ROW_SCALARS, FloatArray, IntArray, pad
from slide.engine.memory import allocate_plain

LOGITS_AT_ONCE = 2**24


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
    buckets: npt.NDArray[np.int32]
    probes: int = 1
    selection: str = "count"
    min_count: int = 1
    custom: CustomHash | None = None
    width: float = 1.0  # Euclidean: of a cell
    #: Query cells: [n] the cell of the sample whose label a neuron last was, -1 for none. Else empty.
    label_cells: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    #: [n, L] codes of the rows as they were last hashed, and [n] digests of those rows, 0 for none. Or empty.
    codes: npt.NDArray[np.uint32] = field(default_factory=lambda: np.empty((0, 0), np.uint32))
    row_digests: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))

    @property
    def arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """All that an engine points into."""
        return self.directions, self.positions, self.frame, self.buckets, self.label_cells, self.codes, self.row_digests

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
    #: Where `rows` has each row, -1 for those that are in a file only (slide/model/store). Empty: row i is the i-th.
    slots: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    n_of_all: int = 0  # neurons of the layer of which a worker has these; 0: they are all

    @property
    def padded(self) -> int:
        return pad(self.width)

    @property
    def n_rows(self) -> int:
        """Rows, wherever they are."""
        return len(self.rows)

    @property
    def is_compressed(self) -> bool:
        """Whether weights are 8-bit codes that only predict (slide.model.quantize)."""
        return False

    @property
    def is_bf16(self) -> bool:
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

    @property
    def held(self) -> tuple[npt.NDArray[Any], ...]:
        """What an engine has pointers to, beside tables."""
        return (self.rows, self.slots, *self.arrays.values())

    def table_arrays(self, buckets: bool, label_cells: bool) -> dict[str, npt.NDArray[Any]]:
        """What a file holds of the tables and their hash functions, by name; nothing for a layer without them."""
        lsh = self.lsh
        if lsh is None:
            return {}
        signs = lsh.directions if lsh.is_learned else lsh.directions.astype(np.int8)
        arrays: dict[str, npt.NDArray[Any]] = {"positions": lsh.positions, "frame": lsh.frame, "signs": signs}
        if buckets:
            arrays["slots"] = lsh.buckets
        if label_cells and lsh.label_cells.size:
            arrays["homes"] = lsh.label_cells
        return arrays

    def dequantized(self) -> LayerState:
        """The layer with rows of floats, for an engine that knows no others."""
        if not self.is_bf16:
            return self
        rows = allocate_plain((len(self.rows), self.padded + ROW_SCALARS), np.float32)
        rows[:, : self.width], rows[:, self.padded :] = self.weights_of(slice(None)), self.row_scalars
        return replace(self, rows=rows)

    @property
    def row_scalars(self) -> FloatArray:
        """The 16 scalars behind each row, as a view."""
        scalars = ROW_SCALARS * np.dtype(np.float32).itemsize // self.rows.itemsize
        view: FloatArray = self.rows[:, self.rows.shape[1] - scalars :].view(np.float32)
        return view

    def weights_of(self, rows: Any) -> FloatArray:
        """[n, width] weights of some rows, given by a slice or their numbers; a view where it can be one."""
        some: FloatArray = self.rows[rows, : self.width]
        return to_float32(some) if self.is_bf16 else some

    def top(self, queries: FloatArray, k: int) -> IntArray:
        """int32 [m, k]: the neurons with the k largest logits for each of the queries [m, fan_in], in any order."""
        rows = max(1, LOGITS_AT_ONCE // self.n)
        found = np.empty((len(queries), min(k, self.n)), np.int32)
        weights, biases = self.weights, self.biases
        for i in range(0, len(queries), rows):
            logits = queries[i : i + rows] @ weights.T + biases
            found[i : i + rows] = np.argpartition(-logits, found.shape[1] - 1, axis=1)[:, : found.shape[1]]
        return found

    @property
    def weights(self) -> FloatArray:
        """[n_rows, width] of the weights, the bias row of a sparse input left out; a view if they are float32.

        A dense input has none: n_rows is 0.
        """
        return self.weights_of(slice(self.fan_in if self.kind == "sparse_input" else self.n))

    @property
    def biases(self) -> FloatArray:
        """[n] of the biases; a view unless they are a row of bfloat16."""
        if self.kind in ("sparse_input", "dense_input"):
            return self.weights_of(slice(self.fan_in, None))[0] if self.bias else np.zeros(self.n, np.float32)
        return self.row_scalars[:, BIAS]


@dataclass
class PairState:
    """The pairs as CSR by feature: indptr int64 [D + 1], labels, and what stands for weights; bias float32 [L]."""

    STORED: ClassVar[tuple[str, ...]]  # names of the arrays that a file holds

    indptr: npt.NDArray[np.int64]
    labels: npt.NDArray[Any]
    bias: FloatArray
    lr_ratio: float
    bias_ratio: float
    deep_share: float

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What a file holds, by name."""
        return {name: getattr(self, name) for name in self.STORED}


@dataclass
class WideState(PairState):
    """Pairs that learn: labels int32, weights float32."""

    STORED: ClassVar[tuple[str, ...]] = ("weights", "bias", "labels", "indptr")

    weights: FloatArray

    def dequantized(self) -> WideState:
        """The pairs with weights of floats."""
        return self

    def matrix(self) -> sp.csr_array:
        """The weights as a sparse [n_features, n_labels] matrix that shares their memory."""
        shape = (len(self.indptr) - 1, len(self.bias))
        return sp.csr_array((self.weights, self.labels, self.indptr), shape=shape)
