"""What kernels are handed: tuples of numbers and arrays. A Net is shared by all threads, a Scratch is one thread's own.

The arrays are those of slide.engine.state, not copies; their layout is that of csrc/slide.h.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from slide.engine.layout import DIRECTION_BLOCK, KINDS, ROW_SCALARS
from slide.engine.protocol import Examples, StepRule
from slide.engine.reference.jit import kernel
from slide.engine.state import LayerState, LshState, WideState

SPARSE_INPUT, DENSE_INPUT, SAMPLED = (KINDS[k] for k in ("sparse_input", "dense_input", "sampled"))
WIDE_BLOCK = 64  # labels that share a "touched" mark
MANY_LABELS, LIST_UNDER = 1 << 17, 16  # from so many on, a sample that meets fewer than one in 16 lists them
LAYERS_AT_ONCE = 4  # a compiled loop takes this many layers, or a multiple: fewer are filled up with empty ones


class Lsh(NamedTuple):
    """A hash family and its tables (slide_lsh)."""

    kind: int
    K: int
    L: int
    window: int
    bits_per_hash: int
    dim: int
    directions: npt.NDArray[np.float32]
    positions: npt.NDArray[np.int32]
    centre: npt.NDArray[np.float32]  # the frame: empty, or what hashed vectors are measured from
    transform: int
    norms: npt.NDArray[np.float32]
    address: int  # of a hash function of the user's own, and its context
    context: int
    code_bits: int
    table_bits: int
    capacity: int
    policy: int
    buckets: npt.NDArray[np.int32]
    label_cells: npt.NDArray[np.int32]
    codes: npt.NDArray[np.uint32]  # [n, L] as rows were last hashed, and [n] digests of those rows; or empty
    row_digests: npt.NDArray[np.uint64]
    probes: int
    selection: int
    min_count: int
    width: float


class Layer(NamedTuple):
    """One layer (slide_layer)."""

    kind: int
    activation: int
    n: int
    fan_in: int
    width: int
    padded: int
    rows: npt.NDArray[np.float32]
    has_bias: bool
    dropout: np.float32
    n_active: int
    n_random: int
    asks_label: bool
    lsh: Lsh


class Optimizer(NamedTuple):
    """slide_optimizer."""

    kind: int
    beta1: np.float32
    beta2: np.float32
    eps: np.float32
    weight_decay: np.float32


class Wide(NamedTuple):
    """The sparse linear part (slide_wide)."""

    indptr: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    lr_ratio: np.float32
    bias_ratio: np.float32
    deep_share: np.float32


class Net(NamedTuple):
    """What threads share; they write rows of layers and weights of the sparse part, nothing else."""

    layers: tuple[Layer, ...]
    n_layers: int
    wide: Wide
    has_wide: bool
    n_labels: int
    optimizer: Optimizer
    loss: int
    seed: np.uint64


class Plan(NamedTuple):
    """Samples order[visit[i]], where neighbours share an active set; sample order[i] is step first_step + i."""

    order: npt.NDArray[np.int64]
    first_step: int
    visit: npt.NDArray[np.int64]
    cells: npt.NDArray[np.uint32]  # by position in order
    batches: npt.NDArray[np.int64]  # which batch is trained when


class Scratch(NamedTuple):
    """What one thread owns. The arrays val, grad and ids have one row for each layer, of which `size` are in use."""

    collisions: npt.NDArray[np.int32]  # [N] of each neuron, MEMBER if it is in; zero between samples
    candidates: npt.NDArray[np.int32]  # neurons in order of first sight
    histogram: npt.NDArray[np.int32]  # neurons by collisions
    codes: npt.NDArray[np.uint32]  # [L * probes]
    projection: npt.NDArray[np.float32]
    winners: npt.NDArray[np.int32]
    query: npt.NDArray[np.float32]
    shortened: npt.NDArray[np.float32]  # the query with fewer digits
    neg_log_q: npt.NDArray[np.float32]  # -log q of the output layer's active neurons
    ids: npt.NDArray[np.int32]
    val: npt.NDArray[np.float32]
    grad: npt.NDArray[np.float32]
    size: npt.NDArray[np.int64]
    sparse: npt.NDArray[np.bool_]  # whether ids names the neurons, else they are all in order
    features: npt.NDArray[np.int32]  # the sample after dropout
    feature_values: npt.NDArray[np.float32]
    wide_score: npt.NDArray[np.float32]  # a score, then a gradient, for every label; zero between samples
    wide_touched: npt.NDArray[np.bool_]  # blocks of labels with a score
    wide_met: npt.NDArray[np.int32]  # labels with a score, where there are so many that blocks are no help; else empty
    wide_ids: npt.NDArray[np.int32]
    wide_gradient: npt.NDArray[np.float32]


class Vector(NamedTuple):
    """A layer's output: the value and gradient of neuron ids[i], or of neuron i itself unless sparse."""

    sparse: bool
    ids: npt.NDArray[np.int32]
    val: npt.NDArray[np.float32]
    grad: npt.NDArray[np.float32]


@kernel
def output(s: Any, i: Any) -> Any:
    """Layer i's output."""
    n = s.size[i]
    return Vector(s.sparse[i], s.ids[i][:n], s.val[i][:n], s.grad[i][:n])


def describe_layer(state: LayerState) -> Layer:
    """The layer as kernels take it."""
    return Layer(
        kind=KINDS[state.kind],
        activation=KINDS[state.activation],
        n=state.n,
        fan_in=state.fan_in,
        width=state.width,
        padded=state.padded,
        rows=state.rows,
        has_bias=bool(state.bias),
        dropout=np.float32(state.dropout),
        n_active=state.n_active,
        n_random=state.n_random,
        asks_label=state.asks_label,
        lsh=_describe_lsh(state.lsh),
    )


def _describe_lsh(state: LshState | None) -> Lsh:
    if state is None:
        directions, positions = np.empty((0, 0, 0), np.float32), np.empty((0, 0), np.int32)
        nothing, buckets = np.empty(0, np.float32), np.empty((0, 0, 0), np.int32)
        no_homes, no_codes, no_marks = np.empty(0, np.int32), np.empty((0, 0), np.uint32), np.empty(0, np.uint64)
        kept = no_homes, no_codes, no_marks
        numbers, tables = (0, 0, 0, 1, 0, 0), (0, 0, 0, 0, 0, 0)
        return Lsh(*numbers, directions, positions, nothing, 0, nothing, *tables, buckets, *kept, 1, 0, 1, 1.0)
    return Lsh(
        kind=KINDS[state.kind],
        K=state.K,
        L=state.L,
        window=state.window,
        bits_per_hash=state.code_bits // state.K,
        dim=state.dim,
        directions=np.require(state.directions, np.float32, ["C", "W"]),
        positions=np.require(state.positions, np.int32, ["C", "W"]),
        centre=state.centre,
        transform=KINDS[state.transform],
        norms=state.norms,
        address=state.custom.address if state.custom else 0,
        context=state.custom.context if state.custom else 0,
        code_bits=state.code_bits,
        table_bits=state.table_bits,
        capacity=state.capacity,
        policy=KINDS[state.policy],
        buckets=state.buckets,
        label_cells=state.label_cells,
        codes=state.codes,
        row_digests=state.row_digests,
        probes=state.probes,
        selection=KINDS[state.selection],
        min_count=state.min_count,
        width=float(state.width),
    )


def _describe_wide(state: WideState | None) -> Wide:
    if state is None:
        nothing = np.empty(0, np.float32)
        zero = np.float32(0)
        return Wide(np.zeros(1, np.int64), np.empty(0, np.int32), nothing, nothing, zero, zero, np.float32(1))
    return Wide(
        np.require(state.indptr, np.int64, ["C", "W"]),
        np.require(state.labels, np.int32, ["C", "W"]),
        state.weights,
        state.bias,
        np.float32(state.lr_ratio),
        np.float32(state.bias_ratio),
        np.float32(state.deep_share),
    )


def describe(layers: list[LayerState], wide: WideState | None, optimizer: StepRule, loss: str, seed: int) -> Net:
    """The network as kernels take it."""
    described = [describe_layer(state) for state in layers]
    nothing = LayerState("dense", "identity", 0, 0, 0, np.empty((0, ROW_SCALARS), np.float32), False)
    while len(described) % LAYERS_AT_ONCE or not described:
        described.append(describe_layer(nothing))
    return Net(
        layers=tuple(described),
        n_layers=len(layers),
        wide=_describe_wide(wide),
        has_wide=wide is not None,
        n_labels=layers[-1].n if layers else len(wide.bias) if wide else 0,
        optimizer=Optimizer(
            KINDS[optimizer.kind],
            np.float32(optimizer.beta1),
            np.float32(optimizer.beta2),
            np.float32(optimizer.eps),
            np.float32(optimizer.weight_decay),
        ),
        loss=KINDS[loss],
        seed=np.uint64(seed),
    )


def longest(examples: Examples, rows: npt.NDArray[np.int64] | None = None) -> int:
    """Entries of the longest row."""
    sizes = np.diff(examples.indptr)
    return int((sizes if rows is None else sizes[rows]).max(initial=0))


def make_scratch(net: Net, max_features: int, max_labels: int, *, dense: bool) -> Scratch:
    """Scratch for samples of that size. dense: every neuron below the last layer takes part, as in prediction."""
    layers = net.layers[: net.n_layers]
    sampled = [layer for layer in layers if layer.kind == SAMPLED]
    active = [
        layer.n if dense or layer.kind != SAMPLED else layer.n_active + layer.n_random + max_labels for layer in layers
    ]
    if dense:
        active[-1:] = [0]
    capacity = max(active, default=0)
    shape = (max(net.n_layers, 1), capacity)

    def largest(values: list[int]) -> int:
        return max(values, default=0)

    n_hashes = largest([layer.lsh.K * layer.lsh.L for layer in sampled]) + DIRECTION_BLOCK
    n_hashes += largest([layer.lsh.buckets.shape[1] for layer in sampled if layer.lsh.kind == KINDS["query_cells"]])
    n_wide = net.n_labels if net.has_wide else 0
    return Scratch(
        collisions=np.zeros(largest([layer.n for layer in sampled]), np.int32),
        candidates=np.empty(largest([layer.n for layer in sampled]), np.int32),
        histogram=np.empty(largest([layer.lsh.L for layer in sampled]) + 1, np.int32),
        codes=np.empty(largest([layer.lsh.L * layer.lsh.probes for layer in sampled]), np.uint32),
        projection=np.empty(n_hashes, np.float32),
        winners=np.empty(n_hashes, np.int32),
        query=np.empty(largest([layer.lsh.dim for layer in sampled]), np.float32),
        shortened=np.empty(largest([layer.lsh.dim for layer in sampled]), np.float32),
        neg_log_q=np.zeros(capacity, np.float32),
        ids=np.empty(shape, np.int32),
        val=np.zeros(shape, np.float32),
        grad=np.zeros(shape, np.float32),
        size=np.array([layer.n for layer in layers], np.int64),
        sparse=np.array([layer.kind == SAMPLED and not dense for layer in layers], np.bool_),
        features=np.empty(max_features, np.int32),
        feature_values=np.empty(max_features, np.float32),
        wide_score=np.zeros(n_wide, np.float32),
        wide_touched=np.zeros(-(-n_wide // WIDE_BLOCK), np.bool_),
        wide_met=np.empty(n_wide // LIST_UNDER if n_wide >= MANY_LABELS else 0, np.int32),
        wide_ids=np.empty(n_wide + max_labels, np.int32),
        wide_gradient=np.empty(n_wide + max_labels, np.float32),
    )
