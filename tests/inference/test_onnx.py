"""ONNX graphs against predict_topk: equal labels and scores, in onnxruntime with one thread and with several."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from engine_strategies import planted_data
from hypothesis import given, settings
from hypothesis import strategies as st
from snippets import run_page
from strategies import sparse_rows

import slide
from slide.cli.main import main
from slide.inference import onnx

pytest.importorskip("onnx", reason="onnx is not installed")
runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
D, N = 300, 120
X, Y = planted_data(500, D, N)
CASES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "no sparse part": {"wide": False},
    "two hidden layers, relu": {"hidden": (12, 10), "activation": "relu"},
    "tanh": {"activation": "tanh"},
    "binary": {"loss": "binary"},
    "as it is": {"normalize": False},
    "linear": {"hidden": (), "wide": False},
    "linear twice": {"hidden": ()},
    "one thread, no pruning": {"n_threads": 1, "wide": slide.Wide(prune=0.0)},
}


def scored(path: Path, rows: Any, n_threads: int = 4) -> tuple[Any, Any]:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = n_threads
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    R = sp.coo_array(rows)
    entries = {"row_ids": R.row.astype(np.int64), "feature_ids": R.col.astype(np.int64)}
    inputs = {**entries, "values": R.data.astype(np.float32), "n_rows": np.array([R.shape[0]])}
    return tuple(session.run(["topk_labels", "topk_scores"], inputs))  # type: ignore[return-value]


def assert_same(path: Path, model: Any, rows: Any, k: int) -> None:
    """Equal scores, and equal labels but where scores are too near each other for float32."""
    ids, scores = model.predict_topk(rows, k)
    found, values = scored(path, rows)
    assert found.shape == ids.shape
    np.testing.assert_allclose(values, scores, rtol=1e-4, atol=2e-5)
    gap = np.abs(np.diff(scores, axis=1, append=np.nan))
    gap = np.fmin(gap, np.abs(np.diff(scores, axis=1, prepend=np.nan)))
    gap[:, -1] = 0  # who comes after the last is not known
    sure = gap > 1e-4
    np.testing.assert_array_equal(found[sure], ids[sure])
    few = k == 1 or len(ids) < 5 or rows.nnz == 0  # in which most may be near each other by chance
    assert few or sure[:, :-1].mean() > 0.5


def fitted(**options: Any) -> slide.SlideClassifier:
    return slide.SlideClassifier(**({"hidden": (16,), "epochs": 3, "n_active": 40, "n_random": 9} | options)).fit(X, Y)


@pytest.mark.parametrize("case", CASES)
def test_the_graph_scores_as_the_model_does(case: str, tmp_path: Path) -> None:
    clf = fitted(**CASES[case])
    clf.export_onnx(tmp_path / "m.onnx", k=7)
    assert_same(tmp_path / "m.onnx", clf, planted_data(100, D, N, seed=6)[0], 7)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, slide.SlideClassifier]:
    clf, path = fitted(), tmp_path_factory.mktemp("onnx") / "m.onnx"
    clf.export_onnx(path)
    return path, clf


@pytest.mark.thorough
@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 9), st.floats(0, 0.2))
def test_rows_of_every_shape(exported: Any, seed: int, n: int, density: float) -> None:
    path, clf = exported
    rows = sparse_rows(n, D, density, np.random.default_rng(seed))
    assert_same(path, clf, rows, 5)


def test_rows_without_features_have_the_biases(exported: Any) -> None:
    path, clf = exported
    assert_same(path, clf, sp.csr_array((3, D), dtype=np.float32), 5)


@pytest.mark.parametrize("hidden", [(128,), ()])
def test_dense_tables_are_centred(hidden: tuple[int, ...], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = rng.standard_normal((400, 12)) * rng.random(12) + 5 * rng.random(12)
    clf = slide.SlideClassifier(hidden, epochs=5, n_active=6, n_random=1).fit(table, np.argmax(table[:, :8], axis=1))
    assert clf._encoding.scaling.kind == "standard"
    clf.export_onnx(tmp_path / "m.onnx", k=3)
    assert_same(tmp_path / "m.onnx", clf, sp.csr_array(table[:50]), 3)


def test_a_network_is_exported_too(tmp_path: Path) -> None:
    net = slide.Network([slide.SparseInput(D, 8), slide.Sampled(N, n_active=20, n_random=4)]).fit(X, Y)
    net.export_onnx(tmp_path / "m.onnx", k=4)
    assert_same(tmp_path / "m.onnx", net, X[:30], 4)


def test_names_are_in_the_metadata(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import onnx

    texts = [f"thing{i % 4} of kind {i % 4}" for i in range(60)]
    clf = slide.SlideTextClassifier(epochs=5, n_threads=1).fit(texts, [f"label é{i % 4}" for i in range(60)])
    clf.save(tmp_path / "m")
    assert main(["export", f"{tmp_path}/m", f"{tmp_path}/m.onnx", "-k", "2"]) == 0
    assert "onnx: " in capsys.readouterr().out
    model = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert json.loads({p.key: p.value for p in model.metadata_props}["labels"]) == clf.classes_.tolist()
    ids, _ = scored(tmp_path / "m.onnx", clf._rows(texts[:4]))
    assert clf.classes_[ids[:, 0]].tolist() == [f"label é{i}" for i in range(4)]


def test_large_weights_go_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clf = fitted()
    monkeypatch.setattr(onnx, "MAX_INSIDE", 1000)
    for _ in range(2):  # the second replaces the first
        clf.export_onnx(tmp_path / "m.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]
    assert (tmp_path / "m.onnx").stat().st_size < 20_000 < (tmp_path / "m.onnx.data").stat().st_size
    assert_same(tmp_path / "m.onnx", clf, X[:20], 5)


@pytest.mark.parametrize("k", [0, 2.5])
def test_k_out_of_range_is_refused(k: Any, exported: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"k: found {k}, wanted an int, 1 to 120"):
        exported[1].export_onnx(tmp_path / "m.onnx", k=k)
    assert list(tmp_path.iterdir()) == []


def test_it_says_what_to_install(exported: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'slide-xmc\[onnx\]'"):
        exported[1].export_onnx(tmp_path / "m.onnx")


@pytest.mark.slow
def test_the_page_about_it_runs(checkout: Path, tmp_path: Path) -> None:
    names = run_page(checkout / "docs" / "export.md", tmp_path)
    clf = slide.load(tmp_path / "model.slide")
    ids, scores = clf.predict_topk(names["X_test"][:100], 5)
    np.testing.assert_allclose(names["scores"], scores, rtol=1e-4, atol=2e-5)
    assert (names["labels"] == ids).mean() > 0.99
