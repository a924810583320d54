"""Data at the edges: values at float32's limits, ids near 2^31, one label, every label, empty rows, one feature."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from engine_strategies import CORE
from strategies import sparse_rows

import slide

BACKENDS = ["numba", "c"] if CORE is not None else ["numba"]


def fitted(X: Any, Y: Any, backend: str, **options: Any) -> slide.SlideClassifier:
    return slide.SlideClassifier((8,), epochs=2, n_threads=1, backend=backend, **options).fit(X, Y)


def some(n: int = 40, d: int = 20, labels: int = 10) -> tuple[sp.csr_array, sp.csr_array]:
    return slide.datasets.synthetic(n, d, labels, nnz=4, labels_per_row=2)


def every_label(X: sp.csr_array, Y: sp.csr_array) -> tuple[Any, Any]:
    return X, sp.csr_array(np.ones(Y.shape, np.float32))


def one_label(X: sp.csr_array, Y: sp.csr_array) -> tuple[Any, Any]:
    return X, sp.csr_array(np.ones((X.shape[0], 1), np.float32))


def empty_rows(X: sp.csr_array, Y: sp.csr_array) -> tuple[Any, Any]:
    keep = np.arange(X.shape[0]) % 3 == 0
    return sp.csr_array(X.multiply(keep[:, None].astype(np.float32))), Y


def no_labels_in_most_rows(X: sp.csr_array, Y: sp.csr_array) -> tuple[Any, Any]:
    keep = np.arange(X.shape[0]) % 7 == 0
    return X, sp.csr_array(Y.multiply(keep[:, None].astype(np.float32)))


def no_features_at_all(X: sp.csr_array, Y: sp.csr_array) -> tuple[Any, Any]:
    return sp.csr_array(X.shape, dtype=np.float32), Y


def one_feature(X: sp.csr_array, Y: sp.csr_array) -> tuple[Any, Any]:
    return sp.csr_array(np.ones((X.shape[0], 1), np.float32)), Y


def one_row(X: sp.csr_array, Y: sp.csr_array) -> tuple[Any, Any]:
    return X[:1], Y[:1]


def largest_values(X: sp.csr_array, Y: sp.csr_array) -> tuple[Any, Any]:
    return X * 0 + (X != 0).astype(np.float32) * np.finfo(np.float32).max, Y


def least_values(X: sp.csr_array, Y: sp.csr_array) -> tuple[Any, Any]:
    return (X != 0).astype(np.float32) * np.float32(1e-45), Y


EDGES = [
    *(every_label, one_label, empty_rows, no_labels_in_most_rows, no_features_at_all, one_feature, one_row),
    *(largest_values, least_values),
]


@pytest.mark.parametrize("loss", ["softmax", "binary"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("edge", EDGES, ids=lambda f: f.__name__)
def test_data_at_the_edges_can_be_learned_from(edge: Any, backend: str, loss: str, tmp_path: Path) -> None:
    X, Y = edge(*some())
    clf = fitted(X, Y, backend, loss=loss)
    k = min(3, Y.shape[1])
    ids, scores = clf.predict_topk(X, k)
    assert np.isfinite(scores).all()
    assert all(len(set(row)) == k for row in ids.tolist())
    clf.save(tmp_path / "model.slide")
    np.testing.assert_array_equal(slide.load(tmp_path / "model.slide", backend=backend).predict_topk(X, k)[0], ids)


@pytest.mark.parametrize("backend", BACKENDS)
def test_values_too_large_to_multiply_are_named(backend: str) -> None:
    """Left as they are, they overflow: a named error, and weights as they were."""
    X, Y = largest_values(*some())
    clf = slide.SlideClassifier((8,), normalize=False, n_threads=1, backend=backend)
    with pytest.raises(slide.NonFiniteError, match=r"step 0: the (output|update) of layer"):
        clf.fit(X, Y)
    assert np.isfinite(clf.network_.weights(0)).all()


def test_ids_near_the_end_of_int32(tmp_path: Path) -> None:
    most = 2**31 - 1
    X = sp.csr_array(([1.0, 2.0], [0, most - 1], [0, 2]), shape=(1, most))
    Y = sp.csr_array(([1.0], [most - 1], [0, 1]), shape=(1, most))
    slide.write_xmc(tmp_path / "ends.txt", X, Y)
    X_again, Y_again = slide.read_xmc(tmp_path / "ends.txt")
    np.testing.assert_array_equal(X_again.indices, [0, most - 1])
    np.testing.assert_array_equal(Y_again.indices, [most - 1])
    found = slide.metrics.precision_at_k(Y_again, np.array([[most - 1]]), k=1)
    assert found == 1.0
    with pytest.raises(MemoryError, match=r"need[s]? [\d,]+ bytes"):
        slide.SlideClassifier((1024,), n_threads=1).fit(X, Y)


@pytest.mark.thorough
@pytest.mark.parametrize("folder", ["here", "elsewhere"])
def test_locale_and_working_folder_change_nothing(folder: str, tmp_path: Path) -> None:
    """Bytes of a model and of predictions, made in processes with other surroundings."""
    code = (
        "import locale, sys, slide\n"
        "try: locale.setlocale(locale.LC_ALL, '')\n"
        "except locale.Error: pass\n"
        "X, Y = slide.datasets.synthetic(60, 30, 12, nnz=4, labels_per_row=2)\n"
        "clf = slide.SlideClassifier((8,), epochs=2, n_threads=1).fit(X, Y)\n"
        "sys.stdout.buffer.write(clf.predict_topk(X, 3)[1].tobytes())\n"
    )
    path = os.pathsep.join([str(Path(slide.__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    told = []
    for where, names in ((None, "C"), (tmp_path if folder == "elsewhere" else None, "de_DE.UTF-8")):
        environment = {**os.environ, "LC_ALL": names, "PYTHONPATH": path}
        command = [sys.executable, "-c", code]
        told.append(subprocess.run(command, cwd=where, env=environment, stdout=subprocess.PIPE, check=True).stdout)
    assert told[0] == told[1] != b""


@pytest.mark.parametrize("backend", ["c", "numba"])
def test_a_batch_of_rows_with_very_many_labels_finds_room(backend: str) -> None:
    """More labels than a batch has room for at first, in the middle of rows with few."""
    rng = np.random.default_rng(0)
    Y = sp.lil_array((64, 3000), dtype=np.float32)
    for row in range(64):
        Y[row, rng.choice(3000, 900 if row % 16 == 3 else 2, replace=False)] = 1
    X = sparse_rows(64, 50, 0.2, rng)
    layers = [slide.SparseInput(50, 8), slide.Sampled(3000, n_active=40, n_random=8)]
    net = slide.Network(layers, batch_size=32, n_threads=1, backend=backend).fit(X, Y.tocsr(), epochs=2)
    assert np.isfinite(net.weights(-1)).all()
    assert net.step == 128
