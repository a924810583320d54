"""The OpenAPI description of the routes, as /openapi.json and the page /docs show it; a test compares it with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import slide._version
from slide.serving.inputs import DEFAULT_K, FIELDS, MAX_EXPLAINED, MOST_DECIDED
from slide.serving.limits import Limits

Json = dict[str, Any]


def description(models: Sequence[str], limits: Limits) -> Json:
    """The whole document, with the limits of this server."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "slide serve",
            "version": slide._version.__version__,
            "description": "The best labels of texts or of rows of features. Whatever is wrong with a request is "
            'answered 4xx with {"error": "field: found ..., wanted ..."}.',
        },
        "paths": {
            path: {method: _operation(path, *told, models) for method, told in at.items()}
            for path, at in _paths(limits)
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(limits),
        },
        "security": [{}, {"token": []}],
    }


def _operation(path: str, summary: str, body: Json | None, reply: Json, models: Sequence[str]) -> Json:
    told: Json = {"summary": summary, "responses": {"200": {"description": "done", "content": reply}}}
    if "{model}" in path:
        schema = {"type": "string", "enum": list(models)}
        told["parameters"] = [{"name": "model", "in": "path", "required": True, "schema": schema}]
        told["responses"]["404"] = _refusal("no model of this name")
    if body is not None:
        told["requestBody"] = {"required": True, "content": body}
        told["responses"] |= {
            "400": _refusal("a field is wrong: the sentence names it, what it holds, and what it should hold"),
            "408": _refusal("the body did not come in time"),
            "413": _refusal("body, rows or text are over a limit"),
            "503": _refusal("too much is queued: come back after the seconds that Retry-After says"),
            "504": _refusal("no answer within the deadline"),
        }
    if path.endswith("/reload"):
        told["responses"]["409"] = _refusal("the file holds no such model; the one before goes on")
    return told


def _refusal(text: str) -> Json:
    return {"description": text, "content": _json({"$ref": "#/components/schemas/Error"})}


def _json(schema: Json, example: Any = None) -> Json:
    return {"application/json": {"schema": schema} | ({} if example is None else {"example": example})}


def _ref(name: str, example: Any = None) -> Json:
    return _json({"$ref": f"#/components/schemas/{name}"}, example)


ANY = _json({"type": "object"})
TEXT = {"type": "string"}
PREDICT = {"texts": ["a feline that hunts mice"], "k": 3, "explain": True}
INFER = {
    "inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a feline that hunts mice"]}],
    "parameters": {"k": 3},
}
SUGGEST = {"text": "a feline that hunts mice", "limit": 3, "threshold": 0.0}


def _paths(limits: Limits) -> list[tuple[str, dict[str, tuple[str, Json | None, Json]]]]:
    form: Json = {
        "type": "object",
        "required": ["text"],
        "properties": {
            "text": TEXT | {"maxLength": limits.max_characters},
            "limit": {"type": "integer", "minimum": 1, "maximum": limits.max_k, "default": 10},
            "threshold": {"type": "number", "minimum": 0, "maximum": 1, "default": 0},
        },
    }
    suggest = {"application/x-www-form-urlencoded": {"schema": form, "example": SUGGEST}}
    page = {"text/html": {"schema": TEXT}}
    return [
        (
            "/v1/models/{model}/predict",
            {"post": ("The best labels of each text or row", _ref("Question", PREDICT), _ref("Predictions"))},
        ),
        ("/v1/models", {"get": ("The models that are served", None, ANY)}),
        ("/v1/models/{model}", {"get": ("One of them: version, age, sizes", None, _ref("Model"))}),
        ("/v1/models/{model}/reload", {"post": ("Load the model's file anew", None, _ref("Model"))}),
        ("/v2", {"get": ("Open Inference Protocol: the server", None, ANY)}),
        ("/v2/health/live", {"get": ("Whether the server runs", None, ANY)}),
        ("/v2/health/ready", {"get": ("Whether it answers", None, ANY)}),
        ("/v2/models/{model}", {"get": ("Open Inference Protocol: inputs and outputs of a model", None, ANY)}),
        ("/v2/models/{model}/ready", {"get": ("Whether a model answers", None, ANY)}),
        (
            "/v2/models/{model}/infer",
            {"post": ("Open Inference Protocol: the best labels of each text or row", _ref("Infer", INFER), ANY)},
        ),
        ("/v1/projects", {"get": ("Annif: the models that read texts", None, ANY)}),
        ("/v1/projects/{model}", {"get": ("Annif: one of them", None, ANY)}),
        ("/v1/projects/{model}/suggest", {"post": ("Annif: the best labels of a text", suggest, _ref("Suggestions"))}),
        ("/", {"get": ("A page to try the models in a browser", None, page)}),
        ("/docs", {"get": ("This description, for people", None, page)}),
        ("/openapi.json", {"get": ("This description", None, ANY)}),
        ("/metrics", {"get": ("Counters, for Prometheus", None, {"text/plain": {"schema": TEXT}})}),
    ]


def _schemas(limits: Limits) -> Json:
    whole, number = {"type": "integer"}, {"type": "number"}
    numbers = {"type": "array", "items": number}
    sparse = {"indices": {"type": "array", "items": whole | {"minimum": 0}}, "values": numbers}
    row = {
        "oneOf": [
            numbers | {"description": "every feature's value"},
            {"type": "object", "additionalProperties": number, "description": "values by feature"},
            {"type": "object", "properties": sparse, "required": ["indices", "values"]},
        ]
    }
    texts = {"type": "array", "items": TEXT | {"maxLength": limits.max_characters}, "maxItems": limits.max_rows}
    question = {
        "texts": texts | {"description": "for a model of texts"},
        "rows": {"type": "array", "items": row, "maxItems": limits.max_rows, "description": "for a model of rows"},
        "k": whole | {"minimum": 1, "maximum": limits.max_k, "default": DEFAULT_K, "description": "labels a row"},
        "names": _flag(True, "labels by name; else by number"),
        "scores": _flag(True, "scores beside the labels, and probabilities where the model is calibrated"),
        "decide": _flag(
            False,
            "only labels that the model predicts, by its thresholds, of the best k: "
            f"{MOST_DECIDED} where k is not given. May be none",
        ),
        "mark": _flag(False, "beside each label whether the model predicts it"),
        "explain": _flag(False, f"what each feature added to a score; at most {MAX_EXPLAINED} labels a request"),
    }
    assert question.keys() == FIELDS
    label: Json = {"type": ["string", "number"]}
    why = {"label": label, "score": number, "features": {"type": "array"}, "rest": number}
    prediction = {
        "labels": {"type": "array", "items": label, "description": "best first"},
        "scores": numbers,
        "probabilities": numbers,
        "predicted": {"type": "array", "items": {"type": "boolean"}},
        "explanations": {"type": "array", "items": {"type": "object", "properties": why}},
    }
    predictions = {"type": "array", "items": {"type": "object", "properties": prediction, "required": ["labels"]}}
    model = {
        **dict.fromkeys(("name", "version", "reads"), TEXT),
        "decides": {"type": ["string", "null"], "description": "which labels it predicts; null: it only ranks them"},
        **dict.fromkeys(("n_labels", "n_features"), whole),
        **dict.fromkeys(("loaded_at", "age_seconds", "file_time"), number),
    }
    tensor = {"name": TEXT, "datatype": TEXT, "shape": {"type": "array", "items": whole}, "data": {"type": "array"}}
    tensors = {"type": "array", "items": {"type": "object", "properties": tensor, "required": list(tensor)}}
    result = {"uri": TEXT, "label": TEXT, "notation": {"type": "null"}, "score": number}
    results = {"type": "array", "items": {"type": "object", "properties": result}}
    return {
        "Question": _object(question, additionalProperties=False),
        "Predictions": _object({"model": TEXT, "version": TEXT, "predictions": predictions}),
        "Model": _object(model),
        "Infer": _object(
            {"inputs": tensors, "parameters": {"type": "object"}, "id": TEXT, "outputs": {"type": "array"}}
        ),
        "Suggestions": _object({"results": results}),
        "Error": _object({"error": TEXT}, required=["error"]),
    }


def _object(properties: Json, **more: Any) -> Json:
    return {"type": "object", "properties": properties, **more}


def _flag(default: bool, text: str) -> Json:
    return {"type": "boolean", "default": default, "description": text}
