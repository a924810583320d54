"""A model's file is replaced while requests go on: the new model takes over, a broken file does not."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving_client import Client, all_texts, row_model, run, serving, text_model

pytest.importorskip("prometheus_client", reason="prometheus-client is not installed (the extra serve)")

import slide
from slide.serving.hosted import Hosted
from slide.serving.models import Loading, named, open_slots


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Two models of texts whose scores differ, and one of rows."""
    folder = tmp_path_factory.mktemp("models")
    models = (text_model(0), text_model(1), row_model())
    paths = tuple(folder / name for name in ("a.slide", "b.slide", "rows.slide"))
    for model, path in zip(models, paths, strict=True):
        model.save(path)
    return paths  # type: ignore[return-value]


def put(source: Path, target: Path, n_bytes: int | None = None) -> None:
    """By a rename, as people should; n_bytes: only so much of it."""
    part = target.with_suffix(".part")
    shutil.copy(source, part)
    if n_bytes is not None:
        os.truncate(part, n_bytes)
    os.replace(part, target)


def expected(path: Path) -> dict[str, tuple[list[str], list[float]]]:
    model = slide.load(path, n_threads=1)
    names, scores = model.predict_topk(all_texts(), 3, names=True)
    return dict(zip(all_texts(), zip(names.tolist(), scores.tolist(), strict=True), strict=True))


def test_a_model_in_parts_is_answered_by_workers(tmp_path: Path) -> None:
    folder, model = tmp_path / "parts", row_model()
    model.save_shards(folder)
    loading = Loading(n_threads=1, cluster=slide.distributed.Local(2))
    hosted = loading(str(folder))
    request = {"rows": [{"1": 0.5, "4": 1.0}], "k": 3}

    async def ask() -> tuple[Any, Any, Any]:
        async with serving(hosted) as client:
            client.service.slots[0].loading = loading
            found = await client.predict(request)
            why = await client.predict(request | {"explain": True})
            hosted.model.save_shards(folder)  # the manifest is replaced
            await client.service.slots[0].follow()
            return found, why, await client.predict(request)

    found, why, again = run(ask())
    ids, scores = model.predict_topk(np.array([[0, 0.5, 0, 0, 1, 0]], np.float32), 3)
    told = found.json["predictions"][0]
    assert told["labels"] == ids[0].tolist()
    assert told["scores"] == pytest.approx(scores[0].tolist(), abs=1e-4)
    assert why.status == 422
    assert "parts are at workers" in why.error
    assert (again.json["version"], again.json["predictions"]) == ("2", found.json["predictions"])


async def best(client: Client, text: str) -> tuple[str, list[str], list[float]]:
    """Version, labels and scores."""
    answer = await client.predict({"texts": [text], "k": 3})
    assert answer.status == 200, answer.body
    told = answer.json["predictions"][0]
    return answer.json["version"], told["labels"], told["scores"]


def test_twenty_reloads_under_requests_one_of_a_truncated_file(saved: Any, tmp_path: Path) -> None:
    a, b, _ = saved
    path = tmp_path / "things.slide"
    put(a, path)
    right = [expected(a), expected(b)]
    assert not any(np.allclose(right[0][text][1], right[1][text][1]) for text in all_texts())
    wrong, versions = [], set()

    async def asking(client: Client, stop: asyncio.Event, texts: list[str], holds: dict[str, int]) -> None:
        while not stop.is_set():
            for text in texts:
                version, labels, scores = await best(client, text)
                versions.add(version)
                names, values = right[holds[version]][text]
                if labels != names or not np.allclose(scores, values, rtol=1e-4, atol=1e-5):
                    wrong.append((version, text))

    async def main() -> None:
        hosted = Hosted.loaded(str(path), n_threads=1)
        stop, holds = asyncio.Event(), {"1": 0}
        async with serving(hosted) as client:
            slot = client.service.slots[0]
            slot.loading = Loading(n_threads=1)
            clients = [asyncio.ensure_future(asking(client, stop, all_texts()[i::4], holds)) for i in range(4)]
            for i in range(1, 21):
                if i == 10:
                    put(a, path, a.stat().st_size // 2)
                    version = str(slot.hosted.version)
                else:
                    put((a, b)[i % 2], path)
                    version = str(slot.hosted.version + 1)
                    holds[version] = i % 2
                await client.service.follow()
                assert str(slot.hosted.version) == version
                while version not in versions:
                    await asyncio.sleep(0.001)
            stop.set()
            await asyncio.gather(*clients)
            text = (await client.get("/metrics")).body.decode()
        assert wrong == []
        assert versions == {str(version) for version in range(1, 21)}
        assert 'slide_reloads_total{model="things",result="ok"} 19.0' in text
        assert 'slide_reloads_total{model="things",result="failed"} 1.0' in text

    run(main())


def test_a_broken_file_is_tried_once_and_leaves_the_old_model(saved: Any, tmp_path: Path, caplog: Any) -> None:
    path = tmp_path / "things.slide"
    put(saved[0], path)

    async def main() -> None:
        async with serving(Hosted.loaded(str(path), n_threads=1)) as client:
            path.write_bytes(b"no model")
            for _ in range(3):
                await client.service.follow()
            assert [record.message for record in caplog.records] == ["reload_failed"]
            answer = await client.ask("POST", "/v1/models/things/reload")
            assert answer.status == 409
            assert answer.error.endswith("the one before goes on")
            assert str(path) in answer.error
            path.unlink()
            await client.service.follow()
            assert (await client.ask("POST", "/v1/models/things/reload")).status == 409
            assert (await best(client, "a cat"))[0] == "1"

    run(main())


def test_another_kind_of_model_is_refused(saved: Any, tmp_path: Path) -> None:
    path = tmp_path / "things.slide"
    put(saved[0], path)

    async def main() -> None:
        async with serving(Hosted.loaded(str(path), n_threads=1)) as client:
            put(saved[2], path)
            answer = await client.ask("POST", "/v1/models/things/reload")
            assert (answer.status, "found 'rows', wanted texts" in answer.error) == (409, True)
            assert (await client.get("/v1/models/things")).json["reads"] == "texts"

    run(main())


def test_a_reload_that_is_asked_for_is_done_though_the_file_is_the_same(saved: Any, tmp_path: Path) -> None:
    path = tmp_path / "things.slide"
    put(saved[0], path)

    async def main() -> None:
        told: list[int] = []
        async with serving(Hosted.loaded(str(path), n_threads=1)) as client:
            client.service.on_reload_all = lambda: told.append(1)
            answer = await client.ask("POST", "/v1/models/things/reload")
            assert (answer.status, answer.json["version"]) == (200, "2")
            await client.service.follow()
            assert client.service.slots[0].hosted.version == 2
        assert told == [1]

    run(main())


def test_a_model_that_predicts_no_numbers_is_not_loaded(saved: Any, tmp_path: Path) -> None:
    model = slide.load(saved[2], n_threads=1)
    model.network_.states[-1].biases[:] = np.nan
    model.save(tmp_path / "nan.slide")
    with pytest.raises(ValueError, match="scores of a trial: found 'none that is a number', wanted finite ones"):
        Hosted.loaded(str(tmp_path / "nan.slide"), n_threads=1)


def test_names_of_models(saved: Any, tmp_path: Path) -> None:
    assert named("m/tags.slide") == ("tags", "m/tags.slide")
    assert named("tags=m/7.slide") == ("tags", "m/7.slide")
    odd = tmp_path / "x=y.slide"
    odd.touch()
    assert named(str(odd))[1] == str(odd)
    loading = Loading(n_threads=1)
    assert [slot.name for slot in open_slots([str(saved[0]), f"z={saved[2]}"], loading)] == ["a", "z"]
    with pytest.raises(ValueError, match=r"MODEL: found 'a/b', wanted a name of letters"):
        open_slots([f"a/b={saved[0]}"], loading)
    with pytest.raises(ValueError, match="MODEL: found 'a', wanted a name for each model"):
        open_slots([str(saved[0]), f"a={saved[1]}"], loading)
