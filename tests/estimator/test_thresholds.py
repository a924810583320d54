"""Which labels are predicted: thresholds tuned on rows that were not trained on, kept in files, used by predict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import slide
from slide.inference.thresholds import Judged, Thresholds, tune

N_TRAIN, N_LABELS = 3_000, 60


def data(seed: int = 0) -> tuple[Any, Any, Any, Any]:
    """Rows a third of which have labels of others, to train on and to test."""
    n = N_TRAIN + 1_000
    X, Y = slide.datasets.synthetic(n, 400, N_LABELS, nnz=10, labels_per_row=2, seed=seed)
    rng = np.random.default_rng(seed)
    order = np.arange(n)
    wrong = rng.random(n) < 1 / 3
    order[wrong] = rng.permutation(order[wrong])
    Y = sp.csr_array(Y)[order]
    return X[:N_TRAIN], Y[:N_TRAIN], X[N_TRAIN:], Y[N_TRAIN:]


def classifier(**options: Any) -> slide.SlideClassifier:
    return slide.SlideClassifier(**{"hidden": (8,), "epochs": 2, "n_threads": 1, **options})


def f1(found: Any, Y: Any) -> tuple[float, float, float]:
    """Micro F1, macro F1 and precision."""
    P, T = sp.csr_array(found).toarray() > 0, Y.toarray() > 0
    both, said, true = (P & T).sum(axis=0), P.sum(axis=0), T.sum(axis=0)
    return (
        2 * both.sum() / (said.sum() + true.sum()),
        float((2 * both / np.maximum(said + true, 1))[true > 0].mean()),
        both.sum() / max(said.sum(), 1),
    )


@pytest.fixture(scope="module")
def fitted() -> Any:
    X, Y, Xt, Yt = data()
    clf = classifier(threshold="macro-f1").fit(X, Y)
    plain = classifier().fit(X, Y, calibrate=False)
    return clf, plain, Xt, Yt


def test_tuned_is_better_than_a_fixed_one(fitted: Any) -> None:
    clf, plain, X, Y = fitted
    before = f1(plain.predict(X), Y)
    assert plain.thresholds_ is None
    assert len(clf.thresholds_.ids) > N_LABELS / 2
    assert f1(clf.predict(X), Y)[1] > before[1]
    half, rest = slice(500), slice(500, None)
    micro = clf.tune_threshold(X[half], Y[half], "f1")
    assert f1(micro.predict(X[rest]), Y[rest])[0] > f1(plain.predict(X[rest]), Y[rest])[0]
    sure = clf.tune_threshold(X[half], Y[half], "precision=0.6")
    assert abs(f1(sure.predict(X[rest]), Y[rest])[2] - 0.6) < 0.08
    clf.tune_threshold(X, Y)  # as the option says
    assert clf.thresholds_.wish == "macro-f1"


def test_predict_is_what_the_thresholds_say(fitted: Any) -> None:
    clf, _, X, Y = fitted
    P = clf.predict_proba(X[:100])
    for wish, wanted in ((0.2, P > 0.2), (3, np.argsort(np.argsort(-P, axis=1), axis=1) < 3)):
        clf.tune_threshold(X, Y, wish)
        np.testing.assert_array_equal(clf.predict(X[:100]).toarray() > 0, wanted)
        assert clf.thresholds_.n_rows == 0
    clf.tune_threshold(X, Y, "macro-f1")
    T = clf.thresholds_.values(np.arange(N_LABELS, dtype=np.int32))
    best = np.arange(N_LABELS) == P.argmax(axis=1)[:, None]
    np.testing.assert_array_equal(clf.predict(X[:100]).toarray() > 0, (P > T) | best)


def test_they_outlive_files_compression_and_changes(fitted: Any, tmp_path: Any) -> None:
    clf, _, X, Y = fitted
    clf.tune_threshold(X, Y, "macro-f1")
    clf.save(tmp_path / "m")
    again = slide.load(tmp_path / "m", n_threads=1)
    assert again.threshold == "macro-f1"
    assert again.thresholds_.config() == clf.thresholds_.config()
    np.testing.assert_array_equal(again.predict(X[:50]).toarray(), clf.predict(X[:50]).toarray())
    assert again.compress().thresholds_.config() == clf.thresholds_.config()
    before = dict(zip(clf.thresholds_.ids.tolist(), clf.thresholds_.own.tolist(), strict=True))
    again.forget([0, 5]).add_labels(1)
    after = dict(zip(again.thresholds_.ids.tolist(), again.thresholds_.own.tolist(), strict=True))
    assert after == {i - (i > 0) - (i > 5): t for i, t in before.items() if i not in (0, 5)}
    columns = [*(i for i in range(N_LABELS) if i not in (0, 5)), 0]  # nobody has the new one: the first stands in
    assert again.calibrate(X, Y[:, columns]).thresholds_.wish == "macro-f1"


def test_where_rows_come_from() -> None:
    X, Y, Xt, Yt = data()
    few = X[:300], Y[:300]
    assert classifier(epochs=1).fit(*few).thresholds_ is None
    with pytest.raises(ValueError, match="threshold: found 'f1', wanted 3,000 rows to keep some of, eval_set"):
        classifier(threshold="f1").fit(*few)
    by_pair = classifier(threshold="f1", epochs=1).fit(*few, calibrate=(Xt[:50], Yt[:50]))
    by_share = classifier(threshold="f1", epochs=1).fit(*few, eval_set=0.1)
    blocks = classifier(threshold="f1", epochs=1).fit_blocks([few], calibrate=(Xt[:50], Yt[:50]))
    assert [clf.thresholds_.n_rows for clf in (by_pair, by_share, blocks)] == [50, 30, 50]
    assert classifier(threshold=2, epochs=1).fit(*few).predict(X[:9]).sum(axis=1).tolist() == [2] * 9
    assert classifier(threshold=2).partial_fit(*few).predict(X[:9]).sum(axis=1).tolist() == [2] * 9


@pytest.mark.parametrize("wish", ["f2", "precision=1.5", "precision=x", "k=0", 0, 1.5, -0.1, True, float("nan"), [1]])
def test_a_wish_that_makes_no_sense_is_refused(wish: Any) -> None:
    X, Y = slide.datasets.synthetic(50, 20, 5, nnz=3, labels_per_row=1)
    with pytest.raises(ValueError, match=r"threshold: found .*, wanted 'f1', 'macro-f1'"):
        classifier(threshold=wish).fit(X, Y)


def test_one_class_a_row_has_no_thresholds() -> None:
    X, Y = slide.datasets.synthetic(50, 20, 5, nnz=3, labels_per_row=1)
    y = Y.indices
    with pytest.raises(ValueError, match="threshold: found 'f1', wanted None: a row has one class"):
        classifier(threshold="f1").fit(X, y)
    with pytest.raises(ValueError, match="one class a row, which is predicted"):
        classifier().fit(X, y).tune_threshold(X, y)


# -- the parts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [("3", "the best 3 labels"), ("k=3", "the best 3 labels"), ("0.5", "over 0.5"), (0.25, "over 0.25"), (7, "best 7")],
)
def test_wishes_that_need_no_rows(text: Any, said: str) -> None:
    assert said in str(Thresholds.of(text))


def judged(takes_best: bool = False) -> Judged:
    """Of 300 rows two labels each: label 0 is right as often as is said, 1 never."""
    rng = np.random.default_rng(0)
    p = np.sort(rng.random((300, 2)))[:, ::-1]
    ids = np.stack([np.zeros(300, np.int32), np.ones(300, np.int32)], axis=1)
    hits = np.stack([rng.random(300) < p[:, 0], np.zeros(300, bool)], axis=1)
    return Judged(ids, p, hits, np.array([hits.sum(), 0, 0]), takes_best)


def test_labels_without_a_row_take_the_threshold_of_all() -> None:
    found = tune("macro-f1", judged())
    assert found.ids.tolist() == [0]
    assert found.values(np.array([1, 2])).tolist() == [found.common] * 2


def test_precision_that_cannot_be_had_predicts_nothing() -> None:
    j = judged()
    none = Judged(j.ids, j.probabilities * 0.01, j.hits & False, j.counts * 0, False)
    assert not tune("precision=0.99", none).over(none.ids, none.probabilities).any()


def test_what_is_predicted_anyway_counts() -> None:
    """Where the best labels are taken in any case, others must be better than them to be worth it."""
    found = tune("f1", judged(takes_best=True))
    assert found.precision is not None
    assert found.recall == 1
    assert found.common > tune("f1", judged()).common


@pytest.mark.parametrize("change", [{"ids": [3]}, {"ids": [-1]}, {"own": []}, {"k": 0}, {"common": float("nan")}])
def test_a_file_with_other_thresholds_is_refused(change: dict[str, Any]) -> None:
    stored = tune("macro-f1", judged()).config()
    assert Thresholds.restored(stored, 3).config() == stored
    with pytest.raises(ValueError, match="thresholds"):
        Thresholds.restored(stored | change, 3)
