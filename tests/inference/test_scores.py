"""Scores of all labels, and the score over which a label is predicted."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

import slide
from slide.inference.scores import all_scores, threshold
from slide.model.store.layer import StoredLayer

X, Y = slide.datasets.synthetic(100, 40, 12, nnz=5, labels_per_row=2)


def test_a_threshold_gives_as_many_labels_as_there_are() -> None:
    net = slide.Network([slide.SparseInput(40, 4), slide.Dense(12)], n_threads=1)
    scores = net.predict_topk(X, 12)[1]
    for n in (0, 1, 150, X.shape[0] * 12):
        labels = sp.csr_array((np.ones(n, np.float32), np.arange(n) % 12, np.arange(101) * n // 100), shape=(100, 12))
        predicted = int((scores > threshold(net, X, labels)).sum())
        assert abs(predicted - n) <= 1


def test_rows_in_a_file_are_read_once_for_all_biases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slide.model.store.size.FEWEST", 0)
    monkeypatch.setattr("slide.inference.scores.LABELS_AT_ONCE", 500)
    layers = [slide.SparseInput(40, 16), slide.Sampled(4200, lsh=None, n_active=60, n_random=10)]
    stored, plain = (slide.Network(layers, n_threads=1, memory=m) for m in ("1MB", None))
    last = stored.states[-1]
    assert isinstance(last, StoredLayer)
    passes, parts = [], last.store.parts
    monkeypatch.setattr(last.store, "parts", lambda: (passes.append(1), parts())[1])
    np.testing.assert_array_equal(all_scores(stored, X[:3]), all_scores(plain, X[:3]))
    assert len(passes) == 1
