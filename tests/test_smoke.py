"""The essential path of every room of slide/, in seconds: `make smoke`. The folders beside this file have the rest.

Of tests it imports pytest alone, and it reads nothing of the source tree: an installed package is tried as it is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import slide
from slide.checks import check_X
from slide.cli.main import main
from slide.engine.binding import c_core

D, N = 120, 40  # features, labels


def rows(n: int, seed: int) -> tuple[sp.csr_array, sp.csr_array]:
    """One label a row, and the three features that belong to it."""
    labels = np.random.default_rng(seed).integers(0, N, n)
    columns = (labels[:, None] + [0, N, 2 * N]).ravel()
    X = sp.csr_array((np.full(3 * n, 0.5, np.float32), (np.repeat(np.arange(n), 3), columns)), shape=(n, D))
    return X, sp.csr_array((np.ones(n, np.float32), (np.arange(n), labels)), shape=(n, N))


X, Y = rows(800, seed=0)
X_TEST, Y_TEST = rows(200, seed=1)
SMALL: dict[str, Any] = {"hidden": (16,), "epochs": 3, "n_threads": 1, "random_state": 0}
TEXTS = ["a feline that purrs", "a dog that barks", "small feline", "a barking dog"] * 10
NAMES = ["cat", "dog", "cat", "dog"] * 10


def network(lsh: Any = None, **options: Any) -> slide.Network:
    lsh = lsh or slide.SimHash(K=3, L=8)
    layers = [slide.SparseInput(D, 16), slide.Sampled(N, lsh=lsh, n_active=20, n_random=5)]
    return slide.Network(layers, **({"n_threads": 1, "optimizer": slide.Adagrad(0.1)} | options))


def p_at_1(net: Any, **how: Any) -> float:
    ids, _ = net.predict_topk(X_TEST, 1, **how)
    return float(slide.metrics.precision_at_k(Y_TEST, ids, k=(1,))[0])


@pytest.fixture(scope="module")
def clf() -> slide.SlideClassifier:
    return slide.SlideClassifier(**SMALL).fit(X, Y)


def test_engine() -> None:
    """One thread learns to the bit what it learned before. The Numba twin, minutes of compiling, is not for here."""
    slide.show_config()
    first, again = (network().fit(X, Y, epochs=2) for _ in range(2))
    np.testing.assert_array_equal(first.hidden(X_TEST), again.hidden(X_TEST))
    assert c_core() is None or first.backend == "c"


@pytest.mark.parametrize("lsh", [slide.QueryCells(), slide.SimHash(K=3, L=8), slide.DWTA(K=1, L=8)])
def test_lsh(lsh: Any) -> None:
    net = network(lsh, n_threads=2).fit(X, Y, epochs=5)
    assert p_at_1(net) > 0.9
    assert p_at_1(net, n_candidates=20) > 0.5


def test_optim_and_layers() -> None:
    for optimizer in (slide.SGD(0.1), slide.Adam(0.01)):
        layers = [slide.SparseInput(D, 16), slide.Dense(12), slide.Sampled(N, n_active=40, n_random=0)]
        net = slide.Network(layers, optimizer=optimizer, n_threads=1)
        assert p_at_1(net.fit(X, Y, epochs=6)) > 0.5, optimizer


def test_network_model_and_loading(tmp_path: Path) -> None:
    net = network().fit(X, Y, epochs=4)
    net.save(tmp_path / "whole.slide")
    np.testing.assert_array_equal(slide.load(tmp_path / "whole.slide").hidden(X_TEST), net.hidden(X_TEST))
    small = net.compress()
    small.save(tmp_path / "small.slide")
    assert slide.load(tmp_path / "small.slide").is_compressed
    assert p_at_1(slide.load(tmp_path / "small.slide")) >= p_at_1(net) - 0.02


def test_training(tmp_path: Path) -> None:
    """A fit that ends early goes on from its checkpoint, and becomes the model of one that was left alone."""

    def stop(progress: Any) -> None:
        if progress.done >= 1500:
            raise KeyboardInterrupt

    kept = slide.Checkpoint(tmp_path / "state.slide", samples=800, resume=True)
    with pytest.raises(KeyboardInterrupt):
        slide.SlideClassifier(**SMALL).fit(X, Y, callback=stop, checkpoint=kept)
    resumed = slide.SlideClassifier(**SMALL).fit(X, Y, checkpoint=kept)
    whole = slide.SlideClassifier(**SMALL).fit(X, Y, callback=slide.CSVLogger(tmp_path / "log.csv"))
    np.testing.assert_array_equal(resumed.network_.hidden(X_TEST), whole.network_.hidden(X_TEST))
    assert len((tmp_path / "log.csv").read_text().splitlines()) > 1


def test_estimator(clf: slide.SlideClassifier, tmp_path: Path) -> None:
    assert clf.score(X_TEST, Y_TEST) > 0.9
    assert (clf.predict(X_TEST) != Y_TEST).nnz < 40
    clf.save(tmp_path / "model.slide")
    loaded = slide.load(tmp_path / "model.slide")
    np.testing.assert_array_equal(loaded.predict_topk(X_TEST, 3)[0], clf.predict_topk(X_TEST, 3)[0])
    loaded.partial_fit(X_TEST[:20], Y_TEST[:20])
    classes = slide.SlideClassifier(**SMALL).fit(X, np.asarray(Y.argmax(axis=1)).ravel())
    assert set(classes.predict(X_TEST)) <= set(range(N))


def test_text() -> None:
    clf = slide.SlideTextClassifier(epochs=5, n_threads=1, random_state=0).fit(TEXTS, NAMES)
    assert clf.predict(["what purrs?", "barks"]).tolist() == ["cat", "dog"]


def test_inference(clf: slide.SlideClassifier) -> None:
    probabilities = clf.predict_proba(X_TEST[:5])
    assert probabilities.shape == (5, N)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    label = int(clf.predict_topk(X_TEST[[0]], 1)[0][0, 0])
    assert set(X_TEST[[0]].indices) & {int(i) for i in clf.explain(X_TEST[[0]], label).features[:3]}
    assert clf.network_.lsh_report(X_TEST).to_dict()


def test_datasets() -> None:
    parts = slide.datasets.load("wordnet-hypernym")
    assert [part.shape[0] for part in parts[::2]] == [part.shape[0] for part in parts[1::2]]


def test_io(tmp_path: Path) -> None:
    slide.write_xmc(tmp_path / "data.txt", X_TEST, Y_TEST)
    for matrix, wanted in zip(slide.read_xmc(tmp_path / "data.txt"), (X_TEST, Y_TEST), strict=True):
        assert (matrix != wanted).nnz == 0
    (tmp_path / "bad.txt").write_text("1 2 2\n1 9:1\n")
    with pytest.raises(slide.DataFormatError, match=r"bad\.txt, line 2"):
        slide.read_xmc(tmp_path / "bad.txt")


def test_cli_and_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """train, info, eval, predict and report, and what a mistake looks like."""
    data, model = tmp_path / "data.txt", tmp_path / "model.slide"
    slide.write_xmc(data, X, Y)
    assert main(["train", str(data), "--out", str(model), "--epochs", "3", "--threads", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["n_labels"] == N
    assert main(["info", str(model)]) == 0
    assert main(["eval", str(model), str(data), "--json"]) == 0
    assert main(["predict", str(model), str(data), "-k", "2", "--out", str(tmp_path / "best.txt")]) == 0
    assert len((tmp_path / "best.txt").read_text().splitlines()) >= X.shape[0]
    assert main(["report", str(model), str(data), "--html", str(tmp_path / "page.html")]) == 0
    assert main(["train", str(tmp_path / "none.txt")]) == 2
    assert "none.txt" in capsys.readouterr().err


def test_labels_as_lists_of_names() -> None:
    names = [[f"label {i}" for i in row] for row in (Y_TEST[[k]].indices for k in range(5))]
    clf = slide.SlideClassifier(hidden=(4,), epochs=1, n_threads=1).fit(X_TEST[:5], names)
    assert set(clf.classes_.tolist()) == {name for row in names for name in row}


def test_serving() -> None:
    """One request, without a socket; answers by the route are in tests/serving."""
    pytest.importorskip("prometheus_client", reason="prometheus-client is not installed (the extra serve)")
    from slide.serving.hosted import Hosted

    clf = slide.SlideTextClassifier(hidden=4, epochs=5, n_threads=1).fit(["a cat", "a dog"] * 4, ["cat", "dog"] * 4)
    best = Hosted(clf).best(["the dog"], 1)
    assert clf.classes_[best.ids[0, 0]] == "dog"


def test_distributed() -> None:
    """Two workers, in threads; tests/cluster has processes."""
    clf = slide.SlideClassifier(**SMALL).fit(X, Y, cluster=slide.distributed.Local(workers=2))
    assert clf.score(X_TEST, Y_TEST) > 0.9
    assert len(clf.shared_fit_.workers) == 2


def test_metrics() -> None:
    ids = np.array([[0, 1], [2, 0]], np.int32)
    assert slide.metrics.precision_at_k(sp.csr_array(np.eye(3)[:2]), ids, k=1) == 0.5


def test_checks_and_errors() -> None:
    with pytest.raises(slide.NotFittedError):
        slide.SlideClassifier().predict(X_TEST)
    with pytest.raises(ValueError, match="features"):
        check_X(X_TEST[:, :5], D)


def test_every_room_is_tried() -> None:
    """A package that slide/ gains comes into one of the names above."""
    rooms = {p.name for p in Path(slide.__file__).parent.iterdir() if p.is_dir() and p.name.isalpha()}
    assert rooms >= {"cli", "engine", "text"}
    assert rooms <= {word for name in globals() if name.startswith("test_") for word in name.split("_")}
