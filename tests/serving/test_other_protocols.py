"""The routes of other protocols: Annif's, and the Open Inference Protocol."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from serving_client import deciding_model, row_model, run, serving, text_model

pytest.importorskip("prometheus_client", reason="prometheus-client is not installed (the extra serve)")

import slide


@pytest.fixture(scope="module")
def texts() -> slide.SlideTextClassifier:
    return text_model()


@pytest.fixture(scope="module")
def rows() -> slide.SlideClassifier:
    return row_model()


@pytest.fixture(scope="module")
def decided() -> slide.SlideTextClassifier:
    return deciding_model()


def test_annif_suggests(texts: slide.SlideTextClassifier) -> None:
    async def main() -> None:
        path = "/v1/projects/things/suggest"
        async with serving(texts) as client:
            assert [p["project_id"] for p in (await client.get("/v1/projects")).json["projects"]] == ["things"]
            assert (await client.get("/v1/projects/things")).json["backend"] == {"backend_id": "slide"}
            found = (await client.form(path, text="a cat", limit=24)).json["results"]
            assert [one["uri"] for one in found] == texts.predict_topk("a cat", 24, names=True)[0][0].tolist()
            scores = [one["score"] for one in found]
            assert scores == sorted(scores, reverse=True)
            assert 0 <= scores[-1] < scores[0] <= 1
            few = (await client.form(path, text="a cat", limit=24, threshold=scores[1])).json["results"]
            assert few == found[:2]
            wrong = await client.form(path, text="a cat", threshold=2)
            assert wrong.headers[b"content-type"] == b"application/problem+json"
            assert wrong.json["detail"] == 'threshold: found "2", wanted a number, 0 to 1'
            assert (await client.form(path, limit=3)).json["detail"].startswith("text: found nothing, wanted a text")

    run(main())


def tensor(name: str, datatype: str, shape: list[int], data: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def test_open_inference_of_texts(texts: slide.SlideTextClassifier) -> None:
    async def main() -> None:
        async with serving(texts) as client:
            for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/things/ready", "/v2"):
                assert (await client.get(path)).status == 200
            told = (await client.get("/v2/models/things")).json
            assert told["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
            ask = {"id": "7", "inputs": [tensor("text", "BYTES", [2, 1], ["a cat", "an oak"])], "parameters": {"k": 2}}
            found = (await client.post("/v2/models/things/infer", ask)).json
            assert (found["id"], found["model_name"]) == ("7", "things")
            labels, ids, scores = found["outputs"]
            expected = texts.predict_topk(["a cat", "an oak"], 2)
            assert (labels["datatype"], labels["shape"]) == ("BYTES", [2, 2])
            assert labels["data"] == texts.classes_[expected[0]].reshape(-1).tolist()
            assert ids["data"] == expected[0].reshape(-1).tolist()
            np.testing.assert_allclose(scores["data"], expected[1].reshape(-1), rtol=1e-5)
            few = await client.post("/v2/models/things/infer", ask | {"outputs": [{"name": "ids"}]})
            assert few.json["outputs"] == [ids]

    run(main())


def test_open_inference_decides_where_it_is_asked(
    decided: slide.SlideTextClassifier, rows: slide.SlideClassifier
) -> None:
    asked = ["a cat", "an oak", "a cat and an oak"]
    ask = {"inputs": [tensor("text", "BYTES", [3], asked)], "parameters": {"k": 4}}

    async def main() -> None:
        async with serving(decided, net=rows.network_) as client:
            outputs = [{"name": name} for name in ("labels", "predicted", "probabilities")]
            told = (await client.post("/v2/models/things/infer", ask | {"outputs": outputs})).json["outputs"]
            labels, predicted, p = (np.reshape(output["data"], (3, 4)) for output in told)
            assert [output["datatype"] for output in told] == ["BYTES", "BOOL", "FP32"]
            given = [sorted(row[there].tolist()) for row, there in zip(labels, predicted, strict=True)]
            assert given == [sorted(right) for right in decided.predict(asked)]
            np.testing.assert_allclose(p, decided.predict_topk(asked, 4, proba=True)[1], rtol=1e-5)
            assert [o["name"] for o in (await client.get("/v2/models/things")).json["outputs"]][3:] == [
                "probabilities",
                "predicted",
            ]
            inputs = [tensor("x", "FP32", [1, 6], [0.5] * 6)]
            wrong = await client.post("/v2/models/net/infer", {"inputs": inputs, "outputs": [{"name": "predicted"}]})
            assert wrong.status == 400
            assert wrong.error.startswith('outputs[0]: found "predicted", wanted the name of one that this model has')

    run(main())


def test_open_inference_of_rows(rows: slide.SlideClassifier) -> None:
    X = np.array([[0, 2, 0, 0, 0, 0.5], [0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]], np.float32)
    dense = [tensor("x", "FP32", [3, 6], X.reshape(-1).tolist())]
    sparse = [
        tensor("indptr", "INT64", [4], [0, 2, 2, 3]),
        tensor("indices", "INT64", [3], [1, 5, 0]),
        tensor("values", "FP32", [3], [2, 0.5, 1]),
    ]

    async def main() -> None:
        async with serving(rows) as client:
            for inputs in (dense, sparse):
                ask = {"inputs": inputs, "parameters": {"k": 1}, "outputs": [{"name": "ids"}]}
                found = await client.post("/v2/models/things/infer", ask)
                assert found.json["outputs"][0]["data"] == rows.predict_topk(X, 1)[0].reshape(-1).tolist()

    run(main())


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        (None, "inputs: found null, wanted a list of at most 8 tensors"),
        ([1], "inputs[0]: found 1, wanted a tensor"),
        ([tensor("y", "FP32", [1], [1])], 'inputs: found "y", wanted x, or indptr, indices and values'),
        ([tensor("x", "BYTES", [1, 6], [0] * 6)], 'inputs[x].datatype: found "BYTES", wanted FP32'),
        ([tensor("x", "FP32", [1, 5], [0] * 5)], "inputs[x].shape: found [1, 5], wanted [n, 6]"),
        ([tensor("x", "FP32", [2, 6], [0] * 6)], "inputs[x].data: found 6 values, wanted 12"),
        ([tensor("x", "FP32", [1, 6], [0] * 5 + [None])], "inputs[x].data, row 0[5]: found null"),
        ([tensor("x", "FP32", "ab", [0] * 5)], "inputs[x].shape: found ab, wanted one or two sizes"),
        (
            [
                tensor("indptr", "INT64", [2], [0, 9]),
                tensor("indices", "INT64", [1], [1]),
                tensor("values", "FP32", [1], [1]),
            ],
            "inputs[indptr].data: found numbers that fall",
        ),
    ],
)
def test_wrong_tensors(inputs: Any, sentence: str, rows: slide.SlideClassifier) -> None:
    async def main() -> None:
        async with serving(rows) as client:
            answer = await client.post("/v2/models/things/infer", {"inputs": inputs})
            assert (answer.status, answer.error[: len(sentence)]) == (400, sentence)

    run(main())
