"""What one worker has of a network: the input rows of some features, and the output rows and tables of some labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from slide.checks import require
from slide.engine import select
from slide.engine.bfloat16 import to_bfloat16
from slide.engine.layout import FloatArray, pad
from slide.engine.protocol import Examples
from slide.engine.state import LayerState
from slide.layers import DenseInput, Layer, Sampled, SparseInput
from slide.lsh import QueryCells
from slide.lsh.auto import LEAST_LIST
from slide.model.model import Model
from slide.model.pairs import Wide
from slide.model.parameters import make_layer_state
from slide.optim import Optimizer, Rebuild

Range = tuple[int, int]
ROWS_AT_ONCE = 4096  # that have random numbers of their own, whoever holds them
INPUT, OUTPUT = 32, 33  # of random numbers


@dataclass(frozen=True)
class Spec:
    """A whole network of two layers, of which every worker has a part: what slide.Network takes."""

    layers: tuple[Layer, ...]
    wide: Wide | None
    optimizer: Optimizer
    loss: str
    rebuild: Rebuild
    batch_size: int | None
    storage: str
    seed: int

    @property
    def input(self) -> SparseInput:
        """The layer whose rows are shared out by feature."""
        layer = self.layers[0]
        assert isinstance(layer, SparseInput)
        return layer

    @property
    def output(self) -> Sampled:
        """The layer whose rows are shared out by label."""
        layer = self.layers[-1]
        assert isinstance(layer, Sampled)
        return layer

    def with_cells(self, K: int | None) -> Spec:
        """With tables of 2^K cells; None: as it is."""
        layer = self.output
        if K is None or layer.lsh is None:
            return self
        return replace(self, layers=(self.input, replace(layer, lsh=replace(layer.lsh, K=K))))


def check_shareable(layers: Sequence[Layer]) -> None:
    """Raises ValueError for a network that cannot be trained by several workers."""
    ok = len(layers) == 2 and isinstance(layers[0], SparseInput) and isinstance(layers[1], Sampled)
    kinds = ", ".join(type(layer).__name__ for layer in layers)
    require(ok, "cluster", f"a network of {kinds}", "one hidden layer: SparseInput and Sampled")
    last = layers[1]
    assert isinstance(last, Sampled)
    fits = last.lsh is None or isinstance(last.lsh, QueryCells)
    require(fits, "cluster", f"tables of {last.lsh!r}", "slide.lsh.QueryCells, or none")
    first = layers[0]
    assert isinstance(first, SparseInput)
    require(not first.bias, "cluster", "SparseInput(bias=True)", "False: it would be in no worker's part")


class Shard:
    """Features and labels of one worker, by their new numbers (parts.py)."""

    def __init__(self, spec: Spec, features: Range, labels: Range, n_threads: int) -> None:
        """All rows are zeros: `begin` makes those random that nobody has yet."""
        self.spec, self.features, self.labels = spec, features, labels
        first, end = features
        layer = replace(spec.input, n_features=end - first, activation="identity")
        self.input = make_layer_state(layer, 0, spec.optimizer.kind, spec.storage, {})
        own = _own_part(spec.output, labels[1] - labels[0])
        rows = make_layer_state(own, spec.input.n, spec.optimizer.kind, spec.storage, {}).rows
        self.head = Model(
            [DenseInput(spec.input.n), own],
            optimizer=spec.optimizer,
            loss=spec.loss,
            rebuild=spec.rebuild,
            batch_size=spec.batch_size,
            storage=spec.storage,
            n_threads=n_threads,
            seed=spec.seed,
            backend="c",
            arrays={"layer1.rows": rows},
        )
        self.output.n_of_all = spec.output.n  # lists are refreshed where those of the whole would be
        self.below = select.make_engine(
            "c", [self.input, self.output], None, spec.optimizer, spec.loss, spec.seed + first, n_threads
        )

    def begin(self, features: Range, labels: Range) -> None:
        """Random first weights of some of the rows that are here."""
        spec, width = self.spec, self.spec.input.n
        scale = np.float32(1 / np.sqrt(width))
        for layer, stream, here, (first, end) in (
            (self.input, INPUT, self.features, features),
            (self.output, OUTPUT, self.labels, labels),
        ):
            if end > first:
                new = scale * normal(spec.seed, stream, first, end, width)
                layer.rows[first - here[0] : end - here[0], :width] = to_bfloat16(new) if layer.is_bf16 else new

    @property
    def output(self) -> LayerState:
        """The output layer's rows that are here, and their tables."""
        return self.head.states[-1]

    @property
    def K(self) -> int | None:
        """Bits of a cell's number, the same at all workers; None without tables."""
        return None if self.output.lsh is None else self.output.lsh.K

    @property
    def n_bytes(self) -> int:
        """Of parameters and optimizer state."""
        return self.input.n_bytes + self.output.n_bytes


def _own_part(layer: Sampled, n: int) -> Sampled:
    """Of a layer's labels n: as large a share of what is active and, but for short lists, listed; as many cells."""
    share, lsh = n / layer.n, layer.lsh
    n_active = min(max(round(share * layer.n_active), 1), n)
    if isinstance(lsh, QueryCells):
        whole = lsh.resolved_capacity(layer.n)
        capacity = min(max(round(share * whole), LEAST_LIST), whole, n)
        lsh = replace(lsh, K=lsh.resolved_K(layer.n), capacity=capacity)
    return replace(layer, n=n, lsh=lsh, n_active=n_active, n_random=min(round(share * layer.n_random), n_active))


def normal(seed: int, stream: int, first: int, end: int, width: int) -> FloatArray:
    """[end - first, width] random weights of rows first to end - 1: the same whoever makes them."""
    rows = np.empty((end - first, width), np.float32)
    for block in range(first // ROWS_AT_ONCE, -(-end // ROWS_AT_ONCE)):
        begin = block * ROWS_AT_ONCE
        values = np.random.default_rng([seed, stream, block]).standard_normal((ROWS_AT_ONCE, width), np.float32)
        some = slice(max(begin, first), min(begin + ROWS_AT_ONCE, end))
        rows[some.start - first : some.stop - first] = values[some.start - begin : some.stop - begin]
    return rows


def dense_rows(vectors: npt.NDArray[np.float32]) -> Examples:
    """Vectors [n, width] as rows of a dense table."""
    n, width = vectors.shape
    indices = np.tile(np.arange(width, dtype=np.int32), n)
    return Examples(np.arange(n + 1, dtype=np.int64) * width, indices, np.ascontiguousarray(vectors).reshape(-1))


def padded(vectors: FloatArray) -> FloatArray:
    """[n, width padded to 16]."""
    out = np.zeros((len(vectors), pad(vectors.shape[1])), np.float32)
    out[:, : vectors.shape[1]] = vectors
    return out
