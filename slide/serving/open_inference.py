"""The Open Inference Protocol, version 2 (KServe, Triton and others speak it): health, metadata and inference.

A model of texts has one input, `text` (BYTES [n] or [n, 1]). A model of rows has the dense input `x` (FP32 [n, d]), or
CSR in three: `indptr` (INT64 [n + 1]), `indices` (INT64 [m]) and `values` (FP32 [m]). Outputs are `labels` (BYTES
[n, k]), `ids` (INT32 [n, k], -1 for none) and `scores` (FP32 [n, k]). Two more come only where they are asked for:
`probabilities` (FP32 [n, k]) of a calibrated model, and `predicted` (BOOL [n, k]), which of the labels the model
predicts. The parameter `k` says how many labels a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import slide._version
from slide.serving.hosted import Best, Hosted
from slide.serving.http import Reply
from slide.serving.inputs import DEFAULT_K, check_rows, check_text, dense_row, read_json, read_k, sparse_row
from slide.serving.limits import Limits
from slide.serving.native import json_numbers
from slide.serving.refusal import refuse, shown
from slide.serving.service import Call, Route

INTEGERS = ("INT32", "INT64", "UINT32", "UINT64", "INT8", "INT16", "UINT8", "UINT16")
FLOATS = ("FP32", "FP64", "FP16")
OUTPUTS = {"labels": "BYTES", "ids": "INT32", "scores": "FP32"}
IF_ASKED = {"probabilities": "FP32", "predicted": "BOOL"}


async def live(call: Call) -> Reply:
    """The server runs."""
    return Reply.of({"live": True})


async def ready(call: Call) -> Reply:
    """It answers: models are loaded before it listens."""
    return Reply.of({"ready": True})


async def model_ready(call: Call) -> Reply:
    """So does this model."""
    return Reply.of({"name": call.slot.name, "ready": True})


async def server_metadata(call: Call) -> Reply:
    """Name and version of the server."""
    return Reply.of({"name": "slide", "version": slide._version.__version__, "extensions": []})


async def model_metadata(call: Call) -> Reply:
    """Inputs and outputs of a model."""
    slot = call.slot
    hosted = slot.hosted
    inputs = [_tensor("text", "BYTES", [-1])] if hosted.reads_texts else [_tensor("x", "FP32", [-1, hosted.n_features])]
    outputs = [_tensor(name, datatype, [-1, -1]) for name, datatype in outputs_of(hosted).items()]
    version = str(hosted.version)
    return Reply.of(
        {"name": slot.name, "versions": [version], "platform": "slide", "inputs": inputs, "outputs": outputs}
    )


def _tensor(name: str, datatype: str, shape: list[int]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape}


async def infer(call: Call) -> Reply:
    """The best labels of each text or row."""
    body, slot, service = await call.body(), call.slot, call.service
    given, hosted = read_json(body), slot.hosted
    rows = read_tensors(given, hosted, service.limits)
    k = read_k(_object(given, "parameters", "").get("k", DEFAULT_K), service.limits, "parameters.k")
    wanted = _outputs(given.get("outputs", []), outputs_of(hosted))
    best = await service.batcher.predict(hosted, rows, k)
    if "predicted" in wanted:
        best = best.marked(hosted.predicted(best))
    told: dict[str, Any] = {"model_name": slot.name, "model_version": str(hosted.version)}
    if isinstance(given.get("id"), str):
        told["id"] = given["id"]
    return Reply.of(told | {"outputs": [_output(name, hosted, best) for name in wanted]})


ROUTES = (
    Route("GET", "/v2", server_metadata),
    Route("GET", "/v2/health/live", live, is_open=True),
    Route("GET", "/v2/health/ready", ready, is_open=True),
    Route("GET", "/v2/models/{model}", model_metadata),
    Route("GET", "/v2/models/{model}/ready", model_ready),
    Route("POST", "/v2/models/{model}/infer", infer, predicts=True),
)


# -- tensors -----------------------------------------------------------------------------------------------------------


def read_tensors(given: Mapping[str, Any], hosted: Hosted, limits: Limits) -> list[Any]:
    """Texts or rows, as slide.serving.hosted.Hosted.best takes them."""
    tensors = _inputs(given)
    wanted = ("text",) if hosted.reads_texts else ("x",) if "x" in tensors else ("indptr", "indices", "values")
    if tensors.keys() != set(wanted):
        inputs = "text" if hosted.reads_texts else "x, or indptr, indices and values"
        refuse("inputs", ", ".join(map(shown, sorted(tensors))) or "none", inputs)
    if hosted.reads_texts:
        texts, shape = _data(tensors["text"], ("BYTES",))
        if len(shape) > 2 or (len(shape) == 2 and shape[1] != 1):
            refuse("inputs[text].shape", f"{shape}", "[n] or [n, 1]")
        check_rows(len(texts), "inputs[text]", limits)
        return [check_text(text, f"inputs[text].data[{i}]", limits) for i, text in enumerate(texts)]
    return _dense(tensors["x"], hosted, limits) if "x" in tensors else _sparse(tensors, hosted, limits)


def _inputs(given: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    inputs = given.get("inputs")
    if not isinstance(inputs, list) or len(inputs) > 8:
        refuse("inputs", shown(inputs), "a list of at most 8 tensors")
    found: dict[str, Mapping[str, Any]] = {}
    for i, tensor in enumerate(inputs):
        name = tensor.get("name") if isinstance(tensor, dict) else None
        if not isinstance(name, str):
            refuse(f"inputs[{i}]", shown(tensor), "a tensor: name, shape, datatype and data")
        found[name] = tensor
    return found


def _data(tensor: Mapping[str, Any], datatypes: Sequence[str]) -> tuple[list[Any], list[int]]:
    """The values of a tensor in one list, and its shape, which agree."""
    field = f"inputs[{tensor['name']}]"
    if tensor.get("datatype") not in datatypes:
        refuse(f"{field}.datatype", shown(tensor.get("datatype")), " or ".join(datatypes))
    shape, data = tensor.get("shape"), tensor.get("data")
    ok = isinstance(shape, list) and 1 <= len(shape) <= 2 and all(type(n) is int and 0 <= n < 2**31 for n in shape)
    if not isinstance(shape, list) or not ok:
        refuse(f"{field}.shape", f"{str(shape)[:40]}", "one or two sizes")
    if not isinstance(data, list):
        refuse(f"{field}.data", shown(data), "a list")
    if data and all(isinstance(row, list) for row in data):  # rows may be lists of their own
        data = [value for row in data for value in row]
    size = shape[0] * (shape[1] if len(shape) == 2 else 1)
    if len(data) != size:
        refuse(f"{field}.data", f"{len(data):,} values", f"{size:,}, as its shape says")
    return data, shape


def _dense(tensor: Mapping[str, Any], hosted: Hosted, limits: Limits) -> list[Any]:
    data, shape = _data(tensor, FLOATS + INTEGERS)
    d = hosted.n_features
    if len(shape) != 2 or shape[1] != d:
        refuse("inputs[x].shape", f"{shape}", f"[n, {d}]")
    check_rows(shape[0], "inputs[x]", limits)
    return [dense_row(data[d * i : d * (i + 1)], f"inputs[x].data, row {i}", hosted) for i in range(shape[0])]


def _sparse(tensors: Mapping[str, Mapping[str, Any]], hosted: Hosted, limits: Limits) -> list[Any]:
    indptr, _ = _data(tensors["indptr"], INTEGERS)
    indices, _ = _data(tensors["indices"], INTEGERS)
    values, _ = _data(tensors["values"], FLOATS + INTEGERS)
    check_rows(len(indptr) - 1 if indptr else 0, "inputs[indptr]", limits)
    numbers = all(type(i) is int for i in indptr)
    if not numbers or indptr[0] != 0 or indptr[-1] != len(indices) or any(a > b for a, b in pairwise(indptr)):
        refuse("inputs[indptr].data", "numbers that fall, or do not fit", f"0 rising to {len(indices):,}")
    if len(values) != len(indices):
        refuse("inputs[values].data", f"{len(values):,} values", f"{len(indices):,}, one for each of indices")
    spans = enumerate(pairwise(indptr))
    return [sparse_row(indices[a:b], values[a:b], f"inputs, row {i}", hosted) for i, (a, b) in spans]


def _object(given: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    found = given.get(name, {})
    if not isinstance(found, dict):
        refuse(where + name, shown(found), "an object")
    return found


def outputs_of(hosted: Hosted) -> dict[str, str]:
    """What a model has to give, with datatypes."""
    there = {"probabilities": hosted.is_calibrated, "predicted": hosted.decides is not None}
    return OUTPUTS | {name: datatype for name, datatype in IF_ASKED.items() if there[name]}


def _outputs(asked: Any, there: Mapping[str, str]) -> list[str]:
    """Names of the outputs that are asked for; labels, ids and scores where none is."""
    if not isinstance(asked, list):
        refuse("outputs", shown(asked), "a list")
    names = [one.get("name") if isinstance(one, dict) else None for one in asked]
    for i, name in enumerate(names):
        if not isinstance(name, str) or name not in there:
            found = shown(asked[i] if name is None else name)
            refuse(f"outputs[{i}]", found, f"the name of one that this model has: {', '.join(there)}")
    return [str(name) for name in names] or list(OUTPUTS)


VALUES: Mapping[str, Callable[[Hosted, Best], list[Any]]] = {
    "labels": lambda hosted, best: [
        "" if i < 0 else str(name)
        for i, name in zip(best.ids.reshape(-1).tolist(), hosted.names(best.ids.reshape(-1)), strict=True)
    ],
    "ids": lambda hosted, best: best.ids.reshape(-1).tolist(),
    "scores": lambda hosted, best: json_numbers(best.scores.reshape(-1)),
    "probabilities": lambda hosted, best: json_numbers(hosted.likely(best).reshape(-1)),
    "predicted": lambda hosted, best: best.predicted.reshape(-1).tolist() if best.predicted is not None else [],
}


def _output(name: str, hosted: Hosted, best: Best) -> dict[str, Any]:
    return {**_tensor(name, (OUTPUTS | IF_ASKED)[name], list(best.ids.shape)), "data": VALUES[name](hosted, best)}
