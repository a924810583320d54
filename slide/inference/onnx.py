"""A model as an ONNX graph that scores every label exactly, for runtimes without Python. Alone imports onnx.

Rows come in as the entries of a sparse matrix, so that nothing of the size rows x features exists; scores of all labels
do, [rows, labels], so rows are to be handed over in blocks. Only operators of the standard set are used (opset 18). The
sparse linear part becomes a gather: a feature's (label, weight) pairs are looked up in CSR, repeated by a running sum,
and added where they belong.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from slide.checks import require
from slide.engine.state import LayerState
from slide.io.atomic import Place, replacing
from slide.io.file_objects import is_file_object, name_of
from slide.model.model import Model
from slide.model.shortlists import at_most_all

OPSET = 18
MAX_INSIDE = 1_900_000_000  # bytes of weights that one protobuf message may hold; more go into a file beside it

Array = npt.NDArray[Any]


def export(
    net: Model,
    path: Any,
    k: int,
    *,
    scaling: ColumnScaling | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes the graph: see Network.export_onnx.

    metadata : stored with it by name

    Raises
    ------
    ImportError
        Without onnx.
    ValueError
        For k out of range, or a network with a ranker, which this graph does not hold.
    OSError
        If the file cannot be written; none is left half-written.
    """
    onnx = _onnx()
    k = at_most_all(k, net.n_labels)
    require(
        net.ranker is None, "export_onnx", "sparse rows that rank", "a model fitted with wide=slide.Wide() or False"
    )
    graph = _Graph(onnx)
    _rows(graph, scaling)
    _network(graph, net, scaling)
    _wide(graph, net, scaling)
    graph.add("TopK", ["scores", graph.constant("k", np.array([k], np.int64))], ["topk_scores", "topk_labels"])
    model = graph.model(int(k))
    if metadata:
        onnx.helper.set_model_props(model, dict(metadata))
    _write(onnx, model, path, graph.n_bytes)


def _onnx() -> Any:
    try:
        import onnx
        import onnx.external_data_helper
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as e:
        raise ImportError("ONNX files need onnx: pip install 'slide-xmc[onnx]'") from e
    return onnx


class ColumnScaling(Protocol):
    """What is done to the columns of X first; slide.estimator.scaling.Scaling is one."""

    @property
    def kind(self) -> str: ...

    @property
    def factor(self) -> Array: ...

    @property
    def mean(self) -> Array: ...


class _Graph:
    """Nodes and constants in the order in which they are added."""

    def __init__(self, onnx: Any) -> None:
        self._onnx, self._nodes, self._constants = onnx, list[Any](), dict[str, Any]()
        self.n_bytes = 0

    def constant(self, name: str, values: Array) -> str:
        """The name, for use as an input."""
        if name not in self._constants:
            self._constants[name] = self._onnx.numpy_helper.from_array(np.ascontiguousarray(values), name)
            self.n_bytes += values.nbytes
        return name

    def add(self, kind: str, inputs: Sequence[str], outputs: Sequence[str] | str, **attributes: Any) -> str:
        """The name of the first output."""
        names = [outputs] if isinstance(outputs, str) else list(outputs)
        self._nodes.append(self._onnx.helper.make_node(kind, list(inputs), names, **attributes))
        return names[0]

    def int64(self, *values: int) -> str:
        """A constant of whole numbers."""
        return self.constant("int64_" + "_".join(map(str, values)), np.array(values, np.int64))

    def model(self, k: int) -> Any:
        """The checked model; its inputs and outputs are those of every export."""
        helper, types = self._onnx.helper, self._onnx.TensorProto
        inputs = [
            helper.make_tensor_value_info("row_ids", types.INT64, ["entries"]),
            helper.make_tensor_value_info("feature_ids", types.INT64, ["entries"]),
            helper.make_tensor_value_info("values", types.FLOAT, ["entries"]),
            helper.make_tensor_value_info("n_rows", types.INT64, [1]),
        ]
        outputs = [
            helper.make_tensor_value_info("topk_labels", types.INT64, ["rows", k]),
            helper.make_tensor_value_info("topk_scores", types.FLOAT, ["rows", k]),
        ]
        graph = helper.make_graph(self._nodes, "slide", inputs, outputs, list(self._constants.values()))
        imports = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=imports, ir_version=8, producer_name="slide")


def _zeros(graph: _Graph, name: str, sizes: Sequence[str]) -> str:
    """A float32 array of 0, of a shape that is known when it runs."""
    shape = graph.add("Concat", sizes, f"{name}_shape", axis=0) if len(sizes) > 1 else sizes[0]
    return graph.add("ConstantOfShape", [shape], name)


def _added(graph: _Graph, name: str, onto: str, at: str, values: str) -> str:
    """`onto` with values added at places `at` of its first axis; a place that is met often is added to often.

    ScatterElements, not ScatterND: onnxruntime 1.32 adds the latter's duplicates from several threads and loses some.
    """
    return graph.add("ScatterElements", [onto, at, values], name, axis=0, reduction="add")


def _column(graph: _Graph, ids: str) -> str:
    return graph.add("Unsqueeze", [ids, graph.int64(1)], f"{ids}_column")


# -- what is computed --------------------------------------------------------------------------------------------------


def _rows(graph: _Graph, scaling: ColumnScaling | None) -> None:
    """`x`: values as the network sees them; what the mean of columns takes away is left to the parts that follow."""
    kind = scaling.kind if scaling else "none"
    if kind == "standard":
        assert scaling is not None
        factors = graph.constant("column_factors", scaling.factor.astype(np.float32))
        graph.add("Mul", ["values", graph.add("Gather", [factors, "feature_ids"], "entry_factors")], "x")
    elif kind == "unit":
        squares = graph.add("Mul", ["values", "values"], "squares")
        sums = _zeros(graph, "no_squares", ["n_rows"])
        sums = _added(graph, "row_squares", sums, "row_ids", squares)
        lengths = graph.add("Sqrt", [graph.add("Gather", [sums, "row_ids"], "entry_squares")], "entry_lengths")
        tiny = graph.constant("tiny", np.array(1e-30, np.float32))
        graph.add("Div", ["values", graph.add("Max", [lengths, tiny], "entry_divisors")], "x")
    else:
        graph.add("Identity", ["values"], "x")


def _taken_away(scaling: ColumnScaling | None) -> Array | None:
    """What centring takes from every scaled row, [n_features]."""
    return scaling.mean * scaling.factor if scaling and scaling.kind == "standard" else None


def _input(graph: _Graph, first: LayerState, scaling: ColumnScaling | None) -> str:
    """What the first layer puts out, [rows, n]."""
    away = _taken_away(scaling)
    if first.kind == "dense_input":
        return _dense_rows(graph, first.n, away)
    table = graph.constant("layer0_weights", first.weights)
    rows = graph.add("Gather", [table, "feature_ids"], "entry_rows", axis=0)
    parts = graph.add("Mul", [rows, _column(graph, "x")], "entry_parts")
    sums = _zeros(graph, "no_sums", ["n_rows", graph.int64(first.n)])
    places = graph.add("Expand", [_column(graph, "row_ids"), graph.add("Shape", [parts], "parts_shape")], "part_places")
    out = _added(graph, "sums", sums, places, parts)
    bias = first.biases.astype(np.float64)
    if away is not None:
        bias = bias - away @ first.weights.astype(np.float64)
    out = graph.add("Add", [out, graph.constant("layer0_bias", bias.astype(np.float32))], "layer0_sums")
    return _activated(graph, first.activation, out)


def _dense_rows(graph: _Graph, n: int, away: Array | None) -> str:
    """The entries as a matrix [rows, n], less what centring takes away."""
    begins = graph.add("Mul", ["row_ids", graph.int64(n)], "row_begins")
    at = graph.add("Add", [begins, "feature_ids"], "entry_places")
    nothing = _zeros(graph, "no_values", [graph.add("Mul", ["n_rows", graph.int64(n)], "n_values")])
    flat = _added(graph, "flat_rows", nothing, at, "x")
    shape = graph.add("Concat", ["n_rows", graph.int64(n)], "rows_shape", axis=0)
    rows = graph.add("Reshape", [flat, shape], "rows")
    if away is None:
        return rows
    return graph.add("Add", [rows, graph.constant("taken_away", -away.astype(np.float32))], "centred_rows")


def _network(graph: _Graph, net: Model, scaling: ColumnScaling | None) -> None:
    """`deep`: the network's logits, times their share of the score."""
    out, last = _input(graph, net.states[0], scaling), net.states[-1]
    share = net.wide_state.deep_share if net.wide_state is not None else 1.0
    for i, state in enumerate(net.states[1:], 1):
        factor = np.float32(share if state is last else 1.0)
        weights = graph.constant(f"layer{i}_weights", (state.weights * factor).T)
        out = graph.add("MatMul", [out, weights], f"layer{i}_products")
        biases = graph.constant(f"layer{i}_bias", state.biases * factor)
        out = graph.add("Add", [out, biases], "deep" if state is last else f"layer{i}_sums")
        out = out if state is last else _activated(graph, state.activation, out)


def _activated(graph: _Graph, activation: str, name: str) -> str:
    kinds = {"relu": "Relu", "tanh": "Tanh"}
    return graph.add(kinds[activation], [name], f"{name}_out") if activation in kinds else name


def _wide(graph: _Graph, net: Model, scaling: ColumnScaling | None) -> None:
    """`scores`: with the sparse linear part, where there is one."""
    state = net.wide_state
    if state is None:
        graph.add("Identity", ["deep"], "scores")
        return
    bias, away = state.bias.astype(np.float64), _taken_away(scaling)
    if away is not None:
        bias = bias - away @ state.matrix().astype(np.float64)
    with_bias = graph.add("Add", ["deep", graph.constant("wide_bias", bias.astype(np.float32))], "deep_and_bias")
    if not len(state.weights):
        graph.add("Identity", [with_bias], "scores")
        return
    entry, place = _pairs_met(graph, state.indptr.astype(np.int64))
    labels = graph.add("Gather", [graph.constant("wide_labels", state.labels.astype(np.int64)), place], "pair_labels")
    weights = graph.add("Gather", [graph.constant("wide_weights", state.weights), place], "pair_weights")
    values = graph.add("Mul", [weights, graph.add("Gather", ["x", entry], "pair_values")], "pair_parts")
    rows = graph.add("Gather", ["row_ids", entry], "pair_rows")
    n_labels = graph.int64(net.n_labels)
    at = graph.add("Add", [graph.add("Mul", [rows, n_labels], "pair_row_begins"), labels], "pair_places")
    flat = graph.add("Reshape", [with_bias, graph.int64(-1)], "flat_deep")
    flat = _added(graph, "flat_scores", flat, at, values)
    graph.add("Reshape", [flat, graph.add("Shape", ["deep"], "scores_shape")], "scores")


def _pairs_met(graph: _Graph, indptr: Array) -> tuple[str, str]:
    """For every (feature, label) pair that the entries meet: which entry, and which pair.

    Entry j has pairs starts[j] to starts[j] + counts[j]. Ones are added where each entry's pairs end, and a running sum
    of them numbers the entries along all pairs.
    """
    starts = graph.add("Gather", [graph.constant("pair_starts", indptr[:-1]), "feature_ids"], "entry_starts")
    sizes = graph.constant("pair_counts", np.diff(indptr))
    counts = graph.add("Gather", [sizes, "feature_ids"], "entry_counts")
    ends = graph.add("CumSum", [counts, graph.constant("axis0", np.array(0, np.int64))], "entry_ends")
    total = graph.add("ReduceSum", [counts, graph.int64(0)], "n_pairs", keepdims=1)
    one = graph.constant("one", np.array([1], np.int64))
    room = graph.add(
        "ConstantOfShape",
        [graph.add("Add", [total, one], "n_pairs_1")],
        "no_ends",
        value=graph._onnx.numpy_helper.from_array(np.zeros(1, np.int64)),
    )
    ones = graph.add("Div", [graph.add("Add", [counts, one], "c1"), graph.add("Add", [counts, one], "c2")], "ones")
    marks = _added(graph, "end_marks", room, ends, ones)
    inside = graph.add("Slice", [marks, graph.int64(0), total], "inside_marks")
    entry = graph.add("CumSum", [inside, "axis0"], "pair_entries")
    first = graph.add("Sub", [starts, graph.add("Sub", [ends, counts], "entry_begins")], "entry_offsets")
    scalar = graph.add("Squeeze", [total], "n_pairs_scalar")
    zero, step = graph.constant("zero", np.array(0, np.int64)), graph.constant("step", np.array(1, np.int64))
    positions = graph.add("Range", [zero, scalar, step], "pair_positions")
    place = graph.add("Add", [positions, graph.add("Gather", [first, entry], "pair_offsets")], "pair_ids")
    return entry, place


def _write(onnx: Any, model: Any, path: Any, n_bytes: int) -> None:
    if n_bytes <= MAX_INSIDE:
        with replacing(path) as file:
            file.write(model.SerializeToString())
        return
    place = None if is_file_object(path) else Place.of(path)
    if place is None or place.is_stream:
        wanted = f"a file, since {n_bytes:,} bytes of weights go into another one beside it"
        raise ValueError(f"export_onnx: found {name_of(path)}, wanted {wanted}")
    folder, name = place.path.parent, place.path.name
    beside = f"{name}.data"
    onnx.external_data_helper.convert_model_to_external_data(model, location=beside, size_threshold=1024)
    with tempfile.TemporaryDirectory(".part", ".", folder) as made:
        onnx.save_model(model, os.path.join(made, name))
        for part in (beside, name):
            with open(os.path.join(made, part), "rb") as whole, replacing(folder / part) as file:
                shutil.copyfileobj(whole, file, 1 << 24)
