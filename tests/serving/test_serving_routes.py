"""What the routes answer, and what they say of a request that is wrong."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest
from serving_client import all_texts, deciding_model, row_model, run, serving, text_model

pytest.importorskip("prometheus_client", reason="prometheus-client is not installed (the extra serve)")

import slide
from slide.serving.app import ROUTES
from slide.serving.limits import Limits

TEXT = {"texts": ["a cat"], "k": 3}


@pytest.fixture(scope="module")
def texts() -> slide.SlideTextClassifier:
    return text_model()


@pytest.fixture(scope="module")
def rows() -> slide.SlideClassifier:
    return row_model()


async def one(model: Any, question: Any, **how: Any) -> Any:
    async with serving(model, **how) as client:
        return await client.predict(question)


# -- predictions -------------------------------------------------------------------------------------------------------


def test_labels_and_scores_are_those_of_the_model(texts: slide.SlideTextClassifier) -> None:
    answer = run(one(texts, {"texts": all_texts(), "k": 4}))
    names, scores = texts.predict_topk(all_texts(), 4, names=True)
    assert answer.status == 200
    assert answer.json["model"] == "things"
    assert [told["labels"] for told in answer.json["predictions"]] == names.tolist()
    np.testing.assert_allclose([told["scores"] for told in answer.json["predictions"]], scores, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("one_class", [False, True])
def test_a_calibrated_model_gives_probabilities(one_class: bool) -> None:
    clf = text_model(seed=1)
    asked, words = all_texts(), [text.split()[-1] for text in all_texts()]
    if one_class:
        clf = slide.SlideTextClassifier(hidden=(8,), epochs=5, n_threads=1).fit(asked * 3, words * 3)
    clf.calibrate(asked * 2, words * 2 if one_class else [[word] for word in words * 2])
    told = run(one(clf, {"texts": asked, "k": 3})).json["predictions"]
    names, scores = clf.predict_topk(asked, 3, names=True)
    assert [row["labels"] for row in told] == names.tolist()
    np.testing.assert_allclose([row["scores"] for row in told], scores, rtol=1e-5, atol=1e-6)
    expected = clf.predict_topk(asked, 3, proba=True)[1]
    np.testing.assert_allclose([row["probabilities"] for row in told], expected, rtol=1e-4, atol=1e-6)
    assert (expected > 0).all()
    assert (expected.sum(axis=1) <= 1.0001).all() or not one_class


@pytest.fixture(scope="module")
def decided() -> slide.SlideTextClassifier:
    return deciding_model()


def test_a_model_decides_as_predict_does(decided: slide.SlideTextClassifier) -> None:
    asked = [*all_texts(), "a cat and an oak", "nothing that is known"]
    answer = run(one(decided, {"texts": asked, "decide": True})).json["predictions"]
    assert [sorted(told["labels"]) for told in answer] == [sorted(labels) for labels in decided.predict(asked)]
    assert len({len(told["labels"]) for told in answer}) > 1
    for told in answer:
        assert len(told["labels"]) == len(told["scores"]) == len(told["probabilities"])
        assert told["probabilities"] == sorted(told["probabilities"], reverse=True)


def test_labels_over_their_thresholds_are_marked(decided: slide.SlideTextClassifier) -> None:
    asked = all_texts()
    plain = run(one(decided, {"texts": asked, "k": 4})).json["predictions"]
    marked = run(one(decided, {"texts": asked, "k": 4, "mark": True})).json["predictions"]
    assert [told | {"predicted": marks["predicted"]} for told, marks in zip(plain, marked, strict=True)] == marked
    for told, labels in zip(marked, decided.predict(asked), strict=True):
        assert {name for name, is_in in zip(told["labels"], told["predicted"], strict=True) if is_in} == set(labels)
    assert {is_in for told in marked for is_in in told["predicted"]} == {True, False}


def test_only_labels_that_are_given_are_explained(decided: slide.SlideTextClassifier) -> None:
    told = run(one(decided, {"texts": ["a cat"], "k": 20, "decide": True, "mark": True, "explain": True}))
    told = told.json["predictions"][0]
    assert [why["label"] for why in told["explanations"]] == told["labels"]
    assert told["predicted"] == [True] * len(told["labels"])
    assert 0 < len(told["labels"]) < 20


def test_rows_of_one_class_get_that_class(rows: slide.SlideClassifier) -> None:
    X = np.random.default_rng(1).random((5, 6)).astype(np.float32)
    told = run(one(rows, {"rows": X.tolist(), "decide": True})).json["predictions"]
    assert [one["labels"] for one in told] == [[name] for name in rows.predict(X).tolist()]


def test_models_say_how_they_decide(decided: slide.SlideTextClassifier, rows: slide.SlideClassifier) -> None:
    async def main() -> list[Any]:
        async with serving(decided, rows, net=rows.network_) as client:
            wrong = (await client.predict({"rows": [[0.5] * 6], "decide": True}, "net")).error
            assert wrong.startswith("decide: found true, wanted false: this model is a network by itself")
            return [model["decides"] for model in (await client.get("/v1/models")).json["models"]]

    told = run(main())
    assert told == [str(decided.thresholds_), "predicted: the best class", None]


def test_requests_side_by_side_get_their_own_answers(texts: slide.SlideTextClassifier) -> None:
    async def main() -> None:
        async with serving(texts, limits=Limits(queue_rows=100_000, deadline=60.0)) as client:
            asked = [(text, k) for k in (1, 2, 5) for text in all_texts()]
            found = await asyncio.gather(*(client.predict({"texts": [text], "k": k}) for text, k in asked))
        for (text, k), answer in zip(asked, found, strict=True):
            assert answer.json["predictions"][0]["labels"] == texts.predict_topk(text, k, names=True)[0][0].tolist()

    run(main())


def test_numbers_for_names_and_no_scores(texts: slide.SlideTextClassifier) -> None:
    answer = run(one(texts, TEXT | {"names": False, "scores": False}))
    assert answer.json["predictions"] == [{"labels": texts.predict_topk("a cat", 3)[0][0].tolist()}]


def test_more_labels_than_there_are_is_all_of_them(texts: slide.SlideTextClassifier) -> None:
    answer = run(one(texts, {"texts": "a cat", "k": 100}))
    assert sorted(answer.json["predictions"][0]["labels"]) == sorted(texts.classes_.tolist())


def test_an_explanation_adds_up_to_the_score(texts: slide.SlideTextClassifier) -> None:
    answer = run(one(texts, TEXT | {"explain": True}))
    told = answer.json["predictions"][0]
    assert [why["label"] for why in told["explanations"]] == told["labels"]
    for score, why in zip(told["scores"], told["explanations"], strict=True):
        assert score == pytest.approx(why["rest"] + sum(part for _, part in why["features"]), abs=1e-4)
    assert "cat" in [feature for feature, _ in told["explanations"][0]["features"]]


@pytest.mark.parametrize(
    "form",
    [
        lambda row: row.tolist(),
        lambda row: {str(i): float(v) for i, v in enumerate(row)},
        lambda row: {"indices": list(range(6)), "values": row.tolist()},
        lambda row: {"indices": list(range(6))[::-1], "values": row.tolist()[::-1]},
    ],
)
def test_rows_in_each_form(form: Any, rows: slide.SlideClassifier) -> None:
    X = np.random.default_rng(1).random((5, 6)).astype(np.float32)
    answer = run(one(rows, {"rows": [form(row) for row in X], "k": 2}))
    ids, scores = rows.predict_topk(X, 2)
    told = answer.json["predictions"]
    assert [one["labels"] for one in told] == rows.classes_[ids].tolist()
    np.testing.assert_allclose([one["scores"] for one in told], scores, rtol=1e-5)


def test_rows_by_the_names_of_a_data_frame() -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    model = row_model(list("uvwxyz"))
    answer = run(one(model, {"rows": [{"w": 1.0}], "k": 1}))
    assert answer.json["predictions"][0]["labels"] == [2]
    assert 'the feature "q"' in run(one(model, {"rows": [{"q": 1.0}]})).error


def test_a_network_without_names() -> None:
    net = slide.Network([slide.SparseInput(6, 4), slide.Dense(5)])
    answer = run(one(net, {"rows": [{"1": 2.0}], "k": 2}))
    assert answer.json["predictions"][0]["labels"] == net.predict_topk([[0, 2.0, 0, 0, 0, 0]], 2)[0][0].tolist()


# -- what is wrong -----------------------------------------------------------------------------------------------------

WRONG_TEXTS = [
    (b"", 400, "body: found nothing, wanted a JSON object"),
    (b"{", 400, "body: found what is no JSON"),
    (b"[1]", 400, "body: found a list of 1, wanted a JSON object"),
    (b'{"texts": ["\xff"]}', 400, "body: found byte 0xff at 12, which is no UTF-8"),
    (b"[" * 100_000, 400, "body: found what is no JSON (nested too deeply)"),
    (b'{"texts": ["a"], "k": NaN}', 400, "body: found NaN"),
    ({}, 400, "texts: found nothing, wanted a list of texts"),
    ({"texts": []}, 400, "texts: found 0, wanted 1 to 64"),
    ({"texts": ["a"] * 65}, 413, "texts: found 65, wanted 1 to 64"),
    ({"texts": ["a", None]}, 400, "texts[1]: found null, wanted a text"),
    ({"texts": ["a" * 100_001]}, 413, "texts[0]: found 100,001 characters, wanted at most 100,000"),
    ({"rows": [[1]]}, 400, "rows: found a list of 1, wanted the field texts: this model reads texts"),
    ({"texts": ["a"], "kk": 1}, 400, 'body: found the field "kk", wanted decide, explain, k, mark, names'),
    ({"texts": ["a"], "k": 0}, 400, "k: found 0, wanted a whole number, 1 to 100"),
    ({"texts": ["a"], "k": 101}, 400, "k: found 101"),
    ({"texts": ["a"], "k": 2.0}, 400, "k: found 2.0"),
    ({"texts": ["a"], "k": True}, 400, "k: found true"),
    ({"texts": ["a"], "names": 1}, 400, "names: found 1, wanted true or false"),
    ({"texts": ["a"] * 5, "k": 5, "explain": True}, 400, "explain: found 5 rows of 5 labels, wanted at most 20"),
]
WRONG_ROWS = [
    ({"texts": ["a"]}, "texts: found a list of 1, wanted the field rows"),
    ({"rows": ["a"]}, 'rows[0]: found "a", wanted a list of numbers, {feature: number}'),
    ({"rows": [[1, 2]]}, "rows[0]: found 2 numbers, wanted 6"),
    ({"rows": [[0] * 6, [0, 0, "x", 0, 0, 0]]}, 'rows[1][2]: found "x", wanted a finite number of 32 bits'),
    ({"rows": [[True] * 6]}, "rows[0][0]: found true"),
    ({"rows": [{"6": 1}]}, 'rows[0]: found the feature "6", wanted a number, 0 to 5'),
    ({"rows": [{"1": 1, "01": 1}]}, 'rows[0]: found the feature "01", wanted a number, 0 to 5'),
    ({"rows": [{"1": 1e39}]}, 'rows[0]["1"]: found 1e+39'),
    ({"rows": [{"1": 10**400}]}, 'rows[0]["1"]: found a very large number'),
    ({"rows": [{"indices": [0, 6], "values": [1, 1]}]}, "rows[0].indices[1]: found 6, wanted a whole number, 0 to 5"),
    ({"rows": [{"indices": [-1], "values": [1]}]}, "rows[0].indices[0]: found -1"),
    ({"rows": [{"indices": [0], "values": [1, 1]}]}, "rows[0].values: found a list of 2, wanted a list of 1"),
    ({"rows": [{"indices": [3, 1, 3], "values": [1, 1, 1]}]}, "rows[0].indices: found 3 twice"),
]


@pytest.mark.parametrize(("question", "status", "sentence"), WRONG_TEXTS)
def test_a_wrong_question_of_texts(question: Any, status: int, sentence: str, texts: Any) -> None:
    answer = run(one(texts, question))
    assert (answer.status, answer.error[: len(sentence)]) == (status, sentence)


@pytest.mark.parametrize(("question", "sentence"), WRONG_ROWS)
def test_a_wrong_question_of_rows(question: Any, sentence: str, rows: Any) -> None:
    answer = run(one(rows, question))
    assert (answer.status, answer.error[: len(sentence)]) == (400, sentence)


def test_a_body_that_is_too_long_is_not_read(texts: slide.SlideTextClassifier) -> None:
    async def main() -> None:
        path = "/v1/models/things/predict"
        async with serving(texts, limits=Limits(max_body=1000)) as client:
            said = await client.ask("POST", path, headers={"content-length": "1001"}, parts=[])
            whole = await client.ask("POST", path, b"x" * 1001)
            part = {"type": "http.request", "body": b"x" * 600, "more_body": True}
            parts = await client.ask("POST", path, parts=[part, part, None])
        for answer in (said, whole, parts):
            assert answer.status == 413
            assert answer.headers[b"connection"] == b"close"
            assert "wanted at most 1,000 bytes" in answer.error

    run(main())


def test_a_body_in_parts_one_that_stops_and_a_client_that_hangs_up(texts: slide.SlideTextClassifier) -> None:
    async def main() -> None:
        body = json.dumps(TEXT).encode()
        parts = [{"type": "http.request", "body": body[i : i + 7], "more_body": True} for i in range(0, len(body), 7)]
        path = "/v1/models/things/predict"
        async with serving(texts, limits=Limits(deadline=0.05)) as client:
            whole = await client.ask("POST", path, parts=[*parts, {"type": "http.request", "body": b""}])
            slow = await client.ask("POST", path, parts=[*parts, None])
            gone = await client.ask("POST", path, parts=[*parts, {"type": "http.disconnect"}])
        assert whole.status == 200
        assert (slow.status, slow.headers[b"connection"]) == (408, b"close")
        assert gone.status == 0

    run(main())


def test_paths_and_methods_that_are_not_there(texts: slide.SlideTextClassifier) -> None:
    async def main() -> None:
        async with serving(texts) as client:
            assert (await client.predict(TEXT, "nothing")).error == "model: found 'nothing', wanted one of things"
            assert (await client.get("/x")).error == "path: found '/x', wanted one of those that /docs lists"
            wrong = await client.get("/v1/models/things/predict")
            assert (wrong.status, wrong.headers[b"allow"]) == (405, b"POST")

    run(main())


def test_a_token_is_asked_for_everywhere_but_where_people_and_monitors_begin(texts: slide.SlideTextClassifier) -> None:
    async def main() -> None:
        async with serving(texts, token="Tür") as client:
            assert (await client.predict(TEXT)).status == 200
            for token in (None, "", "tür", "Tür "):
                client.token = token
                for route in ROUTES:
                    answer = await client.ask(route.method, route.path.replace("{model}", "things"), b"{}")
                    assert (answer.status == 401) == (not route.is_open), route.path
                    assert (b"www-authenticate" in answer.headers) == (answer.status == 401)
        assert [route.path for route in ROUTES if route.is_open and "health" not in route.path] == [
            "/",
            "/docs",
            "/openapi.json",
        ]

    run(main())


def test_what_breaks_inside_is_500_without_its_reasons(texts: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving(texts) as client:
            client.service.slots[0].hosted.best = None  # type: ignore[method-assign, assignment]
            answer = await client.predict(TEXT)
        assert (answer.status, answer.error) == (500, "server: found an error of its own; its log has it")

    run(main())
    assert "NoneType" in caplog.text


# -- what describes them -----------------------------------------------------------------------------------------------


def test_the_description_has_the_routes_and_its_examples_work(texts: slide.SlideTextClassifier) -> None:
    async def main() -> None:
        async with serving(texts) as client:
            told = (await client.get("/openapi.json")).json
            described = {(m.upper(), path) for path, at in told["paths"].items() for m in at}
            assert described == {(route.method, route.path) for route in ROUTES}
            worked = 0
            for path, at in told["paths"].items():
                for kind, content in at.get("post", {}).get("requestBody", {}).get("content", {}).items():
                    to = path.replace("{model}", "things")
                    ask = (
                        client.form(to, **content["example"]) if "form" in kind else client.post(to, content["example"])
                    )
                    assert (await ask).status == 200, path
                    worked += 1
            assert worked == sum(route.predicts for route in ROUTES)
            for name in (ref for ref in json.dumps(told).split('"') if ref.startswith("#/components/schemas/")):
                assert name.rpartition("/")[2] in told["components"]["schemas"]

    run(main())


def test_pages_load_nothing_from_elsewhere(texts: slide.SlideTextClassifier) -> None:
    async def main() -> None:
        async with serving(texts) as client:
            for path in ("/", "/docs"):
                page = await client.get(path)
                assert page.headers[b"content-security-policy"].startswith(b"default-src 'none'; ")
                assert b"://" not in page.body
            docs = (await client.get("/docs")).body.decode()
            assert all(f"<code>{route.path}</code>" in docs for route in ROUTES)

    run(main())


def test_metrics_count(texts: slide.SlideTextClassifier) -> None:
    async def main() -> None:
        async with serving(texts) as client:
            for question in (TEXT, TEXT, {}):
                await client.predict(question)
            client.service.batcher.queued_rows += 1000
            assert (await client.predict(TEXT)).status == 503
            client.service.batcher.queued_rows -= 1000
            text = (await client.get("/metrics")).body.decode()
        route = 'route="/v1/models/{model}/predict"'
        for line in (
            f'slide_requests_total{{{route},status="200"}} 2.0',
            f'slide_requests_total{{{route},status="400"}} 1.0',
            f"slide_request_seconds_count{{{route}}} 4.0",
            "slide_batch_rows_sum 2.0",
            "slide_queue_rows 0.0",
            'slide_shed_total{reason="queue"} 1.0',
            'slide_model_age_seconds{model="things"} ',
        ):
            assert f"\n{line}" in text, line

    run(main())
