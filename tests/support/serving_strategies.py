"""Bodies of requests as Hypothesis draws them: bytes, JSON near a question or a tensor, and JSON that is not."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import hypothesis.strategies as st
from serving_client import KINDS, Client, serving

from slide.serving.app import ROUTES

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
QUESTIONS = st.dictionaries(
    st.sampled_from(["texts", "rows", "k", "names", "scores", "explain", "inputs", "parameters", "outputs", "id"]),
    VALUES | st.just(["a cat"]) | st.integers(1, 5) | st.lists(st.lists(st.floats(width=32), max_size=7), max_size=3),
    max_size=5,
)
TENSOR = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["text", "x", "indptr", "indices", "values"]),
        "datatype": st.sampled_from(["BYTES", "FP32", "INT64"]),
        "shape": st.lists(st.integers(0, 7), max_size=3) | VALUES,
        "data": VALUES | st.lists(st.integers(0, 7), max_size=8),
    }
)
TENSORS = st.fixed_dictionaries({"inputs": st.lists(TENSOR, max_size=3)})
BODIES = st.binary(max_size=60) | (QUESTIONS | TENSORS).map(lambda value: json.dumps(value).encode())
PATHS = [route.path for route in ROUTES if route.predicts]
#: Requests that come together: route and body of each.
TOGETHER = st.lists(st.tuples(st.sampled_from(PATHS), BODIES), min_size=1, max_size=8)


async def ask_all(texts: Any, rows: Any, together: list[tuple[str, bytes]]) -> None:
    """Each body to a model of texts and one of rows, at once; whatever they are, a good request is answered."""
    question = {"texts": ["a cat"], "k": 1}
    async with serving(texts, rows) as client:
        asked = [_refused_or_answered(client, path, body, m) for path, body in together for m in ("things", "others")]
        await asyncio.gather(*asked)
        answer = await client.predict(question)
        assert answer.json["predictions"][0]["labels"][0] in (*KINDS, "cat")


async def _refused_or_answered(client: Client, path: str, body: bytes, model: str) -> None:
    answer = await client.ask("POST", path.replace("{model}", model), body)
    assert answer.status in (200, 400, 404, 413), (answer.status, path, body)
    assert answer.json
