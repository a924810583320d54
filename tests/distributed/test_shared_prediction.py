"""Models in parts: what a folder holds, and what workers answer together."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import slide
from slide.cli.main import main
from slide.distributed import Local
from slide.distributed.prediction import part, session
from slide.engine.protocol import Examples

N = 800
X, Y = slide.datasets.synthetic(1000, 300, 200, nnz=10, labels_per_row=2)
KINDS: dict[str, dict[str, Any]] = {
    "walk": {},
    "network": {"wide": False, "n_active": 64, "activation": "tanh", "dropout": 0.1, "storage": "bfloat16"},
    "ranked": {"wide": slide.Rank(C=1.0, n_ranked=20)},
    "no tables": {"wide": False, "lsh": None, "n_active": 64, "optimizer": slide.Adam(0.01)},
}


@pytest.fixture(scope="module")
def models() -> Callable[[str], slide.SlideClassifier]:
    """One of each kind, trained once."""
    made: dict[str, slide.SlideClassifier] = {}

    def model(kind: str) -> slide.SlideClassifier:
        if kind not in made:
            clf = slide.SlideClassifier(hidden=16, epochs=2, random_state=1, n_threads=1, **KINDS[kind])
            made[kind] = clf.fit(X[:N], Y[:N])
        return made[kind]

    return model


@pytest.fixture
def shared() -> Iterator[Callable[..., slide.SlideClassifier]]:
    """Loads with workers, which end with the test."""
    loaded = []

    def load(folder: Path, workers: int = 2) -> slide.SlideClassifier:
        loaded.append(slide.load(folder, cluster=Local(workers)))
        return loaded[-1]

    yield load
    for clf in loaded:
        clf.network_.close()


@pytest.mark.parametrize("kind", KINDS)
def test_workers_find_the_labels_of_the_whole_model(
    kind: str, models: Any, shared: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clf = models(kind)
    clf.save_shards(tmp_path / "model", shards=3)
    exactly = {} if KINDS[kind].get("lsh", 1) is None or clf.network_.leaves is None else {"n_candidates": 200}
    ids, scores = clf.predict_topk(X[N:], 5, **exactly)
    for workers in (1, 2, 4):
        parts = shared(tmp_path / "model", workers)
        found, given = parts.predict_topk(X[N:], 5)
        assert (found == ids).mean() > 0.999  # sums in another order may change places of like scores
        np.testing.assert_allclose(given, scores, atol=2e-4)
    assert parts.evaluate(X[N:], Y[N:])["p@1"] == pytest.approx(clf.evaluate(X[N:], Y[N:], **exactly)["p@1"], abs=0.01)
    assert parts.predict_topk(X[N:], 250)[0].shape == (200, 200)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_brings_the_whole_model_back(kind: str, models: Any, tmp_path: Path) -> None:
    clf = models(kind)
    clf.save_shards(tmp_path / "model", shards=4)
    whole = slide.load(tmp_path / "model", n_threads=1)
    assert whole.get_params() == clf.get_params() | {"hidden": (16,)}
    for found, wanted in zip(whole.predict_topk(X[N:], 5), clf.predict_topk(X[N:], 5), strict=True):
        np.testing.assert_array_equal(found, wanted)
    old, new = clf.network_.snapshot().arrays, whole.network_.snapshot().arrays
    assert list(old) == list(new)
    for name in old:
        np.testing.assert_array_equal(old[name], new[name], err_msg=name)


def test_a_fit_on_a_cluster_is_saved_in_as_many_parts(tmp_path: Path) -> None:
    clf = slide.SlideClassifier(hidden=8, epochs=1, wide=False, n_threads=1).fit(X[:N], Y[:N], cluster=Local(3))
    for _ in range(2):
        clf.save_shards(tmp_path / "model")
    assert json.loads((tmp_path / "model" / "model.json").read_text())["shards"] == 3
    assert len(list((tmp_path / "model").glob("shards-*/part-*.npz"))) == 3  # the first ones have gone


def test_a_worker_that_is_lost_is_done_without(
    models: Any, shared: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one too: another connects, and is asked again."""
    models("walk").save_shards(tmp_path / "model")
    monkeypatch.setattr(session, "BEAT", 0.05)
    real, dying = session.Part.best, threading.Event()

    def best(self: Any, *arguments: Any) -> Any:
        if dying.is_set() and self._group.rank == 0:
            dying.clear()
            raise SystemExit
        return real(self, *arguments)

    monkeypatch.setattr(session.Part, "best", best)
    parts = shared(tmp_path / "model", 3)
    before = parts.predict_topk(X[N:], 5)[0]
    dying.set()
    assert (parts.predict_topk(X[N:], 5)[0] == before).mean() > 0.999
    assert not dying.is_set()


def test_who_is_interrupted_leaves_no_answer_to_the_next_question(
    models: Any, shared: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models("network").save_shards(tmp_path / "parts")
    clf = shared(tmp_path / "parts")
    wanted = [clf.predict_topk(X[i : i + 1], k=3)[0].tolist() for i in range(2)]
    assert wanted[0] != wanted[1]
    interrupted, real = threading.Event(), part.Part.best

    def slow(self: part.Part, *arguments: Any) -> Any:
        interrupted.wait(30)
        return real(self, *arguments)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(part.Part, "best", slow)
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            clf.predict_topk(X[:1], k=3)
    finally:
        signal.signal(signal.SIGALRM, before)
        interrupted.set()
    assert clf.predict_topk(X[1:2], k=3)[0].tolist() == wanted[1]
    assert clf.predict_topk(X[:1], k=3)[0].tolist() == wanted[0]


def test_strangers_hold_nobody_up(models: Any, tmp_path: Path) -> None:
    """One who says nothing, one who goes, and one who has not the key come before the workers."""
    models("network").save_shards(tmp_path / "parts")
    came: list[Any] = []

    def run(work: Any) -> None:
        came.append(socket.create_connection(work.address))
        socket.create_connection(work.address).close()
        with pytest.raises(AuthenticationError):
            Client(work.address, authkey=b"guessed")
        Local(2).run(work)

    talk = session.Session(run, str(tmp_path / "parts"), "127.0.0.1", 1)
    assert talk.ask(Examples.of(X[:2]), 3)[0].shape == (2, 3)
    talk.close()
    came[0].close()
    with pytest.raises(RuntimeError, match="have ended"):
        talk.ask(Examples.of(X[:2]), 3)


def test_what_is_damaged_or_no_folder_is_said(models: Any, tmp_path: Path) -> None:
    models("walk").save_shards(tmp_path / "model")
    with pytest.raises(ValueError, match="no folder that save_shards wrote"):
        slide.load(tmp_path, cluster=Local(2))
    part = next((tmp_path / "model").glob("shards-*/part-1.npz"))
    content = bytearray(part.read_bytes())
    content[500] ^= 255
    part.write_bytes(content)
    with pytest.raises(slide.ModelFormatError, match=r"part-1\.npz"):
        slide.load(tmp_path / "model")
    clf = slide.load(tmp_path / "model", cluster=Local(2))
    with pytest.raises(slide.ModelFormatError, match=r"part-1\.npz"):
        clf.predict_topk(X[N:], 5)
    for elsewhere in ("../../x", "..", ".", ""):
        text = json.dumps({"format": 1, "folder": elsewhere, "shards": 1})
        (tmp_path / "model" / "model.json").write_text(text)
        with pytest.raises(slide.ModelFormatError, match="no folder of a model in parts"):
            slide.load(tmp_path / "model")


def test_a_model_and_a_checkpoint_leave_each_other_alone(tmp_path: Path) -> None:
    checkpoint = slide.Checkpoint(tmp_path / "run", minutes=1e-6, resume=True)
    options = {"cluster": Local(2), "checkpoint": checkpoint}
    clf = slide.SlideClassifier(hidden=8, epochs=1, wide=False, n_threads=1).fit(X[:N], Y[:N], **options)
    with pytest.raises(OSError, match="run"):
        slide.load(tmp_path / "run")
    clf.save_shards(tmp_path / "run")
    again = slide.SlideClassifier(hidden=8, epochs=1, wide=False, n_threads=1).fit(X[:N], Y[:N], **options)
    assert again.network_.samples_resumed == again.network_.step
    for one in (again, slide.load(tmp_path / "run")):
        np.testing.assert_array_equal(one.predict_topk(X[N:], 3)[0], clf.predict_topk(X[N:], 3)[0])


def test_a_shared_model_only_predicts(models: Any, shared: Any, tmp_path: Path) -> None:
    models("network").save_shards(tmp_path / "model")
    parts = shared(tmp_path / "model")
    for call in (
        lambda: parts.save(tmp_path / "m.slide"),
        lambda: parts.partial_fit(X[:N], Y[:N]),
        parts.compress,
    ):
        with pytest.raises(ValueError, match="parts are at workers"):
            call()
    assert sorted(os.listdir(tmp_path)) == ["model"]
    with pytest.raises(ValueError, match="this process starts"):
        slide.load(tmp_path / "model", cluster=slide.distributed.MPI())


def test_models_that_cannot_be_shared_out_are_refused(models: Any, tmp_path: Path) -> None:
    deep = slide.SlideClassifier(hidden=(8, 8), epochs=1, n_threads=1).fit(X[:100], Y[:100])
    for clf, match in ((deep, "one hidden layer"), (models("walk").compress(), "compressed")):
        with pytest.raises(ValueError, match=match):
            clf.save_shards(tmp_path / "model")


def test_the_command_line_asks_workers(models: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, data = str(tmp_path / "model"), str(tmp_path / "data.txt")
    models("walk").save_shards(folder)
    slide.write_xmc(data, X[N:], Y[N:])
    printed = []
    for more in ([], ["--engine", "local", "--workers", "3"]):
        assert main(["eval", folder, data, "--json", *more]) == 0
        printed.append(json.loads(capsys.readouterr().out.splitlines()[-1])["p@1"])
        assert main(["predict", folder, data, "-k", "2", *more]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 200
    assert printed[0] == pytest.approx(printed[1], abs=0.01)
