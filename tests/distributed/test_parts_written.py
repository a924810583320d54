"""Fits whose model stays in parts: each worker writes its own, and nobody puts them together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import slide
from slide.distributed import Local, Torch
from slide.distributed.training import work, writing
from slide.io import shard_writing, shards

N = 1300
X, Y = slide.datasets.synthetic(1500, 300, 200, nnz=10, labels_per_row=2)
KINDS: dict[str, dict[str, Any]] = {
    "walk": {},
    "network": {"wide": False, "n_active": 64, "activation": "tanh", "storage": "bfloat16"},
    "ranked": {"wide": slide.Rank(C=1.0, n_ranked=20)},
    "no tables": {"wide": False, "lsh": None, "n_active": 64, "optimizer": slide.Adam(0.01)},
}


def new(**options: Any) -> slide.SlideClassifier:
    return slide.SlideClassifier(hidden=16, epochs=2, random_state=1, n_threads=1, **options)


@pytest.fixture
def fitted() -> Iterator[Any]:
    """Fits, and ends the workers that answer when the test ends."""
    made: list[slide.SlideClassifier] = []

    def fit(folder: Path, workers: Any = 3, **options: Any) -> slide.SlideClassifier:
        made.append(new(**options).fit(X[:N], Y[:N], cluster=Local(workers, parts_to=folder)))
        return made[-1]

    yield fit
    for clf in made:
        clf.network_.close()


def probabilities(clf: slide.SlideClassifier) -> Any:
    """That labels are right, for some scores."""
    scores = np.linspace(3, -3, 20, dtype=np.float32).reshape(1, -1)
    return None if clf.calibration_ is None else clf.calibration_.of_best(scores, 200)


def same_bits(a: slide.Network, b: slide.Network) -> bool:
    """But for leaves, which the whole alone has."""
    ours, others = (net.snapshot().without("leaves.") for net in (a, b))
    return ours.keys() == others.keys() and all(np.array_equal(ours[name], others[name]) for name in ours)


@pytest.mark.parametrize("kind", list(KINDS))
def test_parts_make_the_model_that_one_worker_would_put_together(
    kind: str, fitted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = new(**KINDS[kind]).fit(X[:N], Y[:N], cluster=Local(3))
    monkeypatch.setattr(work, "merged_arrays", None)
    clf = fitted(tmp_path / "model", **KINDS[kind])
    assert clf.threshold_ == pytest.approx(whole.threshold_, rel=1e-4)
    assert (clf.calibration_ is None) == (kind != "ranked")
    assert probabilities(clf) == pytest.approx(probabilities(whole), abs=1e-3)  # of rows that had learned nothing of it
    loaded = slide.load(tmp_path / "model")
    assert same_bits(loaded.network_, whole.network_)
    assert [path.name for path in tmp_path.glob("model/*/first-*")] == []
    every_label = {} if kind == "no tables" else {"n_candidates": 200}
    exact = whole.predict_topk(X[N:], k=5, **every_label)
    ids, scores = clf.predict_topk(X[N:], k=5)
    np.testing.assert_array_equal(ids, exact[0])
    np.testing.assert_allclose(scores, exact[1], rtol=1e-4, atol=1e-4)


def test_rows_come_in_blocks(fitted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "MESSAGE", 1000)
    monkeypatch.setattr(shards, "READ_BYTES", 1000)
    fitted(tmp_path / "model", workers=2)
    whole = new().fit(X[:N], Y[:N], cluster=Local(2))
    assert same_bits(slide.load(tmp_path / "model").network_, whole.network_)


def test_what_was_there_stays_where_a_worker_cannot_write(
    fitted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fitted(tmp_path / "model").predict_topk(X[N:], k=3)[0]
    write = shard_writing.write_part

    def full(into: Path, number: int, *more: Any) -> None:
        if number == 1:
            raise OSError(28, "No space left on device")
        write(into, number, *more)

    monkeypatch.setattr(shard_writing, "write_part", full)
    with pytest.raises(OSError, match=r"model could not be written: worker 2 of 3: .*No space left on device"):
        fitted(tmp_path / "model", activation="tanh")
    assert len(list((tmp_path / "model").glob("shards-*"))) == 1
    np.testing.assert_array_equal(slide.load(tmp_path / "model").predict_topk(X[N:], k=3, n_candidates=200)[0], before)


def test_a_worker_lost_while_it_writes_is_done_without(
    fitted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, lost = shard_writing.write_part, []

    def dies(into: Path, number: int, *more: Any) -> None:
        if number == 2 and not lost:
            lost.append(number)
            raise SystemExit(1)
        write(into, number, *more)

    monkeypatch.setattr(shard_writing, "write_part", dies)
    clf = fitted(tmp_path / "model")
    assert lost
    assert clf.evaluate(X[:N], Y[:N])["p@1"] > 0.3
    assert len(list((tmp_path / "model").glob("shards-*"))) == 1


def test_blocks_of_rows(tmp_path: Path) -> None:
    blocks = [(X[:600], Y[:600]), (X[600:N], Y[600:N])]
    how: dict[str, Any] = {"classes": np.arange(200), "eval_set": (X[N:], Y[N:])}
    clf = new().fit_blocks(blocks, cluster=Local(2, parts_to=tmp_path / "model"), **how)
    whole = new().fit_blocks(blocks, cluster=Local(2), **how)
    assert same_bits(slide.load(tmp_path / "model").network_, whole.network_)
    assert probabilities(clf) == pytest.approx(probabilities(whole), abs=1e-3)
    clf.network_.close()


def test_such_a_model_is_saved_as_it_is(fitted: Any, tmp_path: Path) -> None:
    clf = fitted(tmp_path / "model", wide=slide.Rank(C=1.0, n_ranked=20))
    clf.save_shards(tmp_path / "other")
    for folder in ("model", "other"):
        again = slide.load(tmp_path / folder)
        assert again.calibration_.config() == clf.calibration_.config()
        assert again.card_.config() == clf.card_.config()
    assert same_bits(again.network_, slide.load(tmp_path / "model").network_)
    with pytest.raises(ValueError, match="shards: found 5, wanted None, or 3"):
        clf.save_shards(tmp_path / "other", shards=5)
    with pytest.raises(ValueError, match="save: found a model whose parts are at workers"):
        clf.save(tmp_path / "model.slide")


def test_processes_of_somebody_else_calibrate_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"calibrate: found True, wanted False \(--calibrate no\)"):
        new().fit(X[:N], Y[:N], cluster=Torch(parts_to=tmp_path / "model"))
