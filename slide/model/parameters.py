"""Makes the arrays of layers, or takes them over from a file: the C core trusts what is checked here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from slide.checks import require
from slide.engine import memory
from slide.engine.bfloat16 import to_bfloat16
from slide.engine.layout import OPTIMIZER_STATES, ROW_SCALARS, pad
from slide.engine.quantized import CompressedPairs
from slide.engine.state import LayerState, WideState
from slide.layers import Dense, DenseInput, Layer, Sampled, SparseInput
from slide.lsh import HashFamily
from slide.model.pairs import Wide, make_state
from slide.model.quantize import make_layer, make_pairs
from slide.model.store.files import FileRows
from slide.model.store.layer import StoredLayer
from slide.model.store.rows import RowStore
from slide.model.store.size import check_plain, needs_of, sparse_bytes


def make_layer_state(
    layer: Layer,
    fan_in: int,
    optimizer_kind: str,
    storage: str,
    stored: Mapping[str, npt.NDArray[Any]],
    *,
    rows_later: bool = False,
) -> LayerState:
    """A layer's arrays: those stored, or new rows of zeros, of weights float32 or bfloat16.

    rows_later : only the shape of new rows is there, whose bytes nobody takes
    """
    n_states = OPTIMIZER_STATES[optimizer_kind]
    if isinstance(layer, SparseInput):
        width, n_rows, fan_in = layer.n, layer.n_features + layer.bias, layer.n_features
        options: dict[str, Any] = {"bias": layer.bias, "dropout": layer.dropout}
    elif isinstance(layer, DenseInput):
        width, n_rows, fan_in = layer.n, 0, layer.n_features
        options = {"bias": False, "dropout": layer.dropout}
    else:
        assert isinstance(layer, Dense | Sampled)
        width, n_rows, options = fan_in, layer.n, {"bias": True}
    if isinstance(layer, Sampled):
        n_active = min(layer.n_active, layer.n)
        options |= {"n_active": n_active, "n_random": min(layer.n_random, n_active)}
        options["asks_label"] = layer.query == "label"
    if "codes" in stored:
        nothing = np.empty((0, 0), np.float32)
        plain = LayerState(layer.kind, layer.activation, layer.n, fan_in, width, nothing, **options)
        return make_layer(plain, n_rows, stored)
    rows = stored.get("rows")
    is_bf16 = storage == "bfloat16"
    shape = (n_rows, 2 * (pad(pad(width) // 2) + ROW_SCALARS) if is_bf16 else pad(width) * (1 + n_states) + ROW_SCALARS)
    dtype: np.dtype[Any] = np.dtype(np.uint16 if is_bf16 else np.float32)
    if rows is None:
        what = f"the parameters of a {type(layer).__name__} layer of {n_rows:,} x {width:,}"
        rows = np.broadcast_to(np.zeros(1, dtype), shape) if rows_later else memory.allocate(shape, dtype, what)
    require(rows.shape == shape and rows.dtype == dtype, "rows", (rows.shape, rows.dtype), f"{shape} {dtype}")
    return LayerState(layer.kind, layer.activation, layer.n, fan_in, width, rows, **options)


def stored_layers(
    layers: Sequence[Layer],
    optimizer_kind: str,
    storage: str,
    seed: int,
    incremental: bool,
    arrays: Mapping[str, npt.NDArray[Any]] | None,
    budget: int | None = None,
) -> list[LayerState]:
    """The arrays of all layers: those stored under ``layer0.rows`` and so on, or random ones that follow from the seed.

    incremental: tables remember the codes of their neurons (`Rebuild`).
    budget: bytes for all of them; where they are more, the last layer's rows are in a file (slide/model/store).
    """
    rng = np.random.default_rng(seed)
    states: list[LayerState] = []
    fan_in = 0
    for i, layer in enumerate(layers):
        stored = {k.removeprefix(f"layer{i}."): a for k, a in (arrays or {}).items()}
        in_file = budget is not None and i == len(layers) - 1
        state = make_layer_state(layer, fan_in, optimizer_kind, storage, stored, rows_later=in_file)
        if arrays is None and not in_file:
            initialise(state, rng)
        if isinstance(layer, Sampled) and layer.lsh is not None:
            add_tables(state, layer.lsh, np.random.default_rng([seed, i]), stored)
            if incremental and layer.lsh.hashes_neurons:
                remember_codes(state)
        if in_file:
            assert budget is not None
            sparse = sparse_bytes({name: a.nbytes for name, a in (arrays or {}).items()})
            state = _within(budget, [*states, state], sparse, stored.get("rows"), rng)
        states.append(state)
        fan_in = state.n
    states[-1].activation = "identity"  # its outputs are logits
    return states


def _within(
    budget: int, states: list[LayerState], sparse: int, rows: npt.NDArray[Any] | None, rng: np.random.Generator
) -> LayerState:
    """The last of these states with rows: in memory if that is within the budget, else in a file.

    sparse : bytes of the sparse part; rows : what they are; None: random ones
    """
    state = states[-1]
    check_plain(state, budget)
    shape, dtype = (state.n, state.rows.shape[1]), state.rows.dtype
    n_slots, room = needs_of(states, shape[1] * dtype.itemsize, state.n, sparse).split(budget)
    if n_slots >= state.n:
        state.rows = memory.allocate(shape, dtype, f"the parameters of a layer of {state.n:,} neurons")
        if rows is None:
            initialise(state, rng)
        else:
            state.rows[...] = rows
        return state
    if isinstance(rows, FileRows) and rows.spare is not None:
        return StoredLayer.over(state, RowStore(shape, dtype, n_slots, rows.spare), room)
    store = RowStore(shape, dtype, n_slots)
    for first, some in _full_rows(state, rng) if rows is None else _pieces(rows):
        store.write(first, some)
    return StoredLayer.over(state, store, room)


def _pieces(rows: npt.NDArray[Any]) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    step = max(1, 2**23 // rows[:1].nbytes)
    return ((first, rows[first : first + step]) for first in range(0, len(rows), step))


def _full_rows(state: LayerState, rng: np.random.Generator) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """As `initialise` makes them."""
    for first, values in _initial(state, rng):
        some = np.zeros((len(values), state.rows.shape[1]), state.rows.dtype)
        some[:, : state.width] = values
        yield first, some


def initialise(state: LayerState, rng: np.random.Generator) -> None:
    """Normal weights of variance 1 / width, zero biases: inputs of length 1 give hidden vectors of about length 1."""
    for first, values in _initial(state, rng):
        state.rows[first : first + len(values), : state.width] = values


def _initial(state: LayerState, rng: np.random.Generator) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Weights of some rows after the other."""
    scale = np.float32(1 / np.sqrt(state.width))
    n_rows = {"sparse_input": state.fan_in, "dense_input": 0}.get(state.kind, state.n)
    block = max(1, 2**20 // state.width)
    for first in range(0, n_rows, block):
        shape = (min(block, n_rows - first), state.width)
        values = rng.standard_normal(shape, np.float32) * scale
        yield first, to_bfloat16(values) if state.is_bf16 else values


def add_tables(
    state: LayerState, lsh: HashFamily, rng: np.random.Generator, stored: Mapping[str, npt.NDArray[Any]]
) -> None:
    """Gives a sampled layer its hash functions and its tables, empty unless stored."""
    shape = lsh.slots_shape(state.n)
    buckets = stored.get("slots")
    if buckets is None:
        buckets = memory.allocate(shape, np.int32, f"the tables of {state.n:,} neurons under {lsh!r}")
    require(buckets.shape == shape, "slots", buckets.shape, str(shape))
    if "slots" in stored:
        _check_buckets(buckets, state.n, lsh.resolved_capacity(state.n))
    state.lsh = lsh.make(state.fan_in + 1, state.n, rng, buckets)
    if "signs" in stored:
        directions, positions = stored["signs"].astype(np.float32), stored["positions"]
        same = directions.shape == state.lsh.directions.shape and positions.shape == state.lsh.positions.shape
        require(same, "hash functions", (directions.shape, positions.shape), f"those of {lsh!r}")
        low, high = state.lsh.positions_range
        inside = not positions.size or (positions.min() >= low and positions.max() <= high)
        require(bool(inside), "positions", "an id out of range", f"{low} to {high}")
        frame = stored.get("frame", np.empty(0, np.float32))  # the first files have none
        require(frame.shape == state.lsh.frame.shape, "frame", frame.shape, f"that of {lsh!r}")
        state.lsh.set_directions(directions)
        state.lsh.positions, state.lsh.frame = positions, frame
    if "homes" in stored:
        homes = stored["homes"]
        ok = homes.shape == state.lsh.label_cells.shape and homes.dtype == np.int32
        require(ok, "homes", (homes.shape, homes.dtype), f"those of {lsh!r}")
        inside = not homes.size or (homes.min() >= -1 and homes.max() < shape[1])
        require(bool(inside), "homes", "an id out of range", "known cells")
        state.lsh.label_cells = homes


def remember_codes(state: LayerState) -> None:
    """Room for the codes of a layer's neurons, for Rebuild(incremental=True); none of them is known yet."""
    lsh = state.lsh
    assert lsh is not None
    lsh.codes = memory.allocate((state.n, lsh.L), np.uint32, f"the codes of {state.n:,} neurons in {lsh.L} tables")
    lsh.row_digests = np.zeros(state.n, np.uint64)


def _check_buckets(buckets: npt.NDArray[np.int32], n: int, capacity: int) -> None:
    """Buckets from a file must hold known neurons, each once: the C core counts on it (csrc/lsh/active.c)."""
    require(buckets.dtype == np.int32, "slots", buckets.dtype, "int32")
    for table in buckets:
        known = bool(table.min() >= 0 and table[:, 1:].max() < n)
        require(known, "slots", "an id out of range", "known neurons")
        used = np.arange(1, capacity + 1) <= table[:, :1]
        unused = -1 - np.arange(capacity, dtype=np.int32)  # all different
        ids = np.sort(np.where(used, table[:, 1 : capacity + 1], unused), axis=1)
        require(bool((np.diff(ids, axis=1) > 0).all()), "slots", "a neuron twice in a bucket", "each at most once")


def stored_pairs(
    wide: Wide, n_features: int, n_labels: int, optimizer_lr: float, arrays: Mapping[str, npt.NDArray[Any]]
) -> WideState | CompressedPairs:
    """The pairs stored under ``wide.weights`` and so on, or none yet."""
    stored = {k.removeprefix("wide."): a for k, a in arrays.items() if k.startswith("wide.")}
    if "codes" in stored:
        return make_pairs(make_state(wide, n_features, n_labels, optimizer_lr, {}), stored)
    return make_state(wide, n_features, n_labels, optimizer_lr, stored)
