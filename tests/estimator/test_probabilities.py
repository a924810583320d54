"""Probabilities that are right as often as they say: learned on rows kept back, kept in files, in step with scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import slide
from slide.estimator.calibrating import as_unseen, kept_back
from slide.estimator.scaling import Scaling
from slide.inference.calibration import N_BEST, Calibration, learn

N_TRAIN, N_FEATURES, N_LABELS = 3_000, 600, 90


def data(per_row: int, seed: int = 0, n_labels: int = N_LABELS) -> tuple[Any, Any, Any, Any]:
    """Rows of which a third says nothing of its labels, so that many predictions are wrong; to train on and to test."""
    n = N_TRAIN + 1_500
    X, Y = slide.datasets.synthetic(n, N_FEATURES, n_labels, nnz=10, labels_per_row=per_row, seed=seed)
    rng = np.random.default_rng(seed)
    wrong = rng.random(n) < 1 / 3
    order = np.arange(n)
    order[wrong] = rng.permutation(order[wrong])
    Y = sp.csr_array(Y)[order]
    return X[:N_TRAIN], Y[:N_TRAIN], X[N_TRAIN:], Y[N_TRAIN:]


def classifier(**options: Any) -> slide.SlideClassifier:
    return slide.SlideClassifier(**{"hidden": (16,), "epochs": 3, "n_threads": 1, **options})


def first_label(Y: Any) -> Any:
    return Y.indices[Y.indptr[:-1]]


def error_of_best(P: Any, right: Any, n_bins: int = 15) -> float:
    """Expected calibration error of the best label."""
    best = P.max(axis=1)
    bins = np.minimum((best * n_bins).astype(int), n_bins - 1)
    hit = right[np.arange(len(P)), P.argmax(axis=1)]
    return float(np.abs(np.bincount(bins, best - hit, n_bins)).sum() / len(P))


@pytest.fixture(scope="module")
def several() -> Any:
    X, Y, Xt, Yt = data(2)
    return classifier().fit(X, Y), Xt, Yt


@pytest.fixture(scope="module")
def single() -> Any:
    X, Y, Xt, Yt = data(1)
    return classifier().fit(X, first_label(Y)), Xt, Yt


def test_several_labels_are_right_as_often_as_they_say(several: Any) -> None:
    clf, X, Y = several
    P, true = clf.predict_proba(X), Y.toarray() > 0
    assert clf.calibration_.n_rows == 200
    assert error_of_best(P, true) < 0.08  # of 200 rows, and 15 bins of 100: chance alone makes 0.04
    assert abs(P[P > 0.5].mean() - true[P > 0.5].mean()) < 0.09  # a share of 200 rows is 0.035 off; uncalibrated: 0.14
    assert 0.85 < P.sum() / true.sum() < 1.15


def test_one_class_is_right_as_often_as_it_says_and_rows_add_up(single: Any) -> None:
    clf, X, Y = single
    P = clf.predict_proba(X)
    np.testing.assert_allclose(P.sum(axis=1), 1)
    assert (P > 0).all()
    right = P.argmax(axis=1)[:, None] == np.searchsorted(clf.classes_, first_label(Y))[:, None]
    assert abs(P.max(axis=1).mean() - right.mean()) < 0.05


@pytest.mark.parametrize("kind", ["several", "single"])
def test_probabilities_rank_as_scores_do(kind: str, request: pytest.FixtureRequest) -> None:
    clf, X, _ = request.getfixturevalue(kind)
    P, scores = clf.predict_proba(X[:200]), clf.decision_function(X[:200])
    order = np.argsort(-scores, axis=1)
    assert (np.diff(np.take_along_axis(P, order, 1), axis=1) <= 1e-15).all()


@pytest.mark.parametrize("kind", ["several", "single"])
@pytest.mark.parametrize("k", [1, 3, N_LABELS - 5])
def test_probabilities_of_the_best_are_those_of_all(kind: str, k: int, request: pytest.FixtureRequest) -> None:
    clf, X, _ = request.getfixturevalue(kind)
    ids, found = clf.predict_topk(X[:50], k, proba=True)
    np.testing.assert_array_equal(ids, clf.predict_topk(X[:50], k)[0])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.take_along_axis(clf.predict_proba(X[:50]), ids, 1), rtol=2e-3, atol=1e-5)


def test_a_model_that_ranks_has_them_too() -> None:
    X, Y, Xt, Yt = data(1)
    clf = classifier(wide=slide.Rank(n_negatives=20, C=1.0)).fit(X, first_label(Y))
    P = clf.predict_proba(Xt)
    hit = P.argmax(axis=1) == first_label(Yt)
    assert clf.calibration_ is not None
    assert abs(P.max(axis=1).mean() - hit.mean()) < 0.12


def test_rows_to_learn_on_may_be_given() -> None:
    X, Y, Xt, Yt = data(2)
    X, Y, Xt, Yt = X[:1_000], Y[:1_000], Xt[:300], Yt[:300]
    by_pair = classifier().fit(X, Y, calibrate=(Xt, Yt))
    none = classifier().fit(X, Y, calibrate=False)
    assert none.calibration_ is None
    assert by_pair.calibration_.n_rows == Xt.shape[0]
    np.testing.assert_array_equal(by_pair.decision_function(Xt[:9]), none.decision_function(Xt[:9]))
    np.testing.assert_array_equal(none.calibrate(Xt, Yt).predict_proba(Xt[:9]), by_pair.predict_proba(Xt[:9]))
    by_eval_set = classifier().fit(X, Y, eval_set=(Xt, Yt))
    assert by_eval_set.calibration_.config() == by_pair.calibration_.config()
    blocks = classifier().fit_blocks([(X, Y)], calibrate=(Xt, Yt))
    assert blocks.calibration_.n_rows == Xt.shape[0]


def stopped(X: Any, Y: Any, path: Any, **how: Any) -> slide.SlideClassifier:
    """Stopped in the middle, with a checkpoint."""

    def stop(progress: Any) -> None:
        if progress.epoch >= 1:
            raise KeyboardInterrupt

    clf = classifier()
    with pytest.raises(KeyboardInterrupt):
        clf.fit(X, Y, callback=stop, checkpoint=slide.Checkpoint(path, samples=500), **how)
    return clf


@pytest.mark.parametrize("before", [False, True], ids=["kept-back", "of-before"])
def test_a_checkpoint_goes_on_with_the_rows_that_it_was_trained_on(tmp_path: Any, before: bool) -> None:
    X, Y, Xt, _ = data(2)
    path, whole = tmp_path / "c", classifier().fit(X, Y, calibrate=not before)
    stopped(X, Y, path, calibrate=not before)  # checkpoints of before say no more than those that keep nothing back
    clf = classifier().fit(X, Y, checkpoint=slide.Checkpoint(path, resume=True))
    assert (clf.calibration_ is None) == before
    np.testing.assert_array_equal(clf.decision_function(Xt[:20]), whole.decision_function(Xt[:20]))
    stopped(X, Y, path)
    with pytest.raises(ValueError, match="data: found others, wanted those, 200 rows kept back"):
        classifier().fit(X, Y, checkpoint=slide.Checkpoint(path, resume=True), calibrate=False)


def test_few_rows_are_all_trained_on() -> None:
    X, Y, *_ = data(2)
    clf = classifier().fit(X[:2_999], Y[:2_999])
    assert clf.calibration_ is None
    with pytest.raises(ValueError, match=r"calibrate: found '19 rows', wanted 20 or more"):
        clf.calibrate(X[:19], Y[:19])
    with pytest.raises(ValueError, match=r"calibrate: found 0.1, wanted a pair \(X, y\)"):
        clf.fit(X, Y, calibrate=0.1)  # type: ignore[arg-type]


def test_they_outlive_files_compression_and_changes(several: Any, tmp_path: Any) -> None:
    clf, X, Y = several
    wanted = clf.predict_proba(X[:50])
    clf.save(tmp_path / "m")
    again = slide.load(tmp_path / "m", n_threads=1)
    np.testing.assert_array_equal(again.predict_proba(X[:50]), wanted)
    rounded = again.compress().predict_proba(X[:50])
    # A probability is that of a place too, and two labels that score alike may change theirs.
    np.testing.assert_allclose(np.sort(rounded), np.sort(wanted), atol=0.01)
    assert np.abs(rounded - wanted).mean() < 0.001
    again.add_labels(2).partial_fit(X[:100], sp.hstack([Y[:100], sp.csr_array((100, 2))], format="csr"))
    assert again.calibration_ is not None
    assert again.predict_proba(X[:50]).shape == (50, N_LABELS + 2)
    assert again.fit(X[:500], Y[:500]).calibration_ is None


@pytest.mark.parametrize("call", ["predict_topk", "predict_proba", "tune_threshold", "calibrate"])
def test_a_model_that_is_not_trained_says_so(call: str) -> None:
    X, Y = slide.datasets.synthetic(30, 20, 5, nnz=3, labels_per_row=1)
    more = {"predict_topk": {"proba": True}, "predict_proba": {}}.get(call, {"y": Y})
    with pytest.raises(slide.NotFittedError, match="is not trained"):
        getattr(classifier(), call)(X, **more)


def test_equal_seeds_give_equal_probabilities() -> None:
    X, Y, Xt, _ = data(2)
    one, two = (classifier().fit(X, Y).predict_proba(Xt[:20]) for _ in range(2))
    np.testing.assert_array_equal(one, two)


# -- the parts ---------------------------------------------------------------------------------------------------------


def test_how_many_rows_are_kept_back() -> None:
    assert [int(kept_back(n, 0).sum()) for n in (0, 2_999, 3_000, 10_000, 10**6)] == [0, 0, 200, 500, 1_000]


def test_kept_rows_lose_the_features_that_only_they_have() -> None:
    """Where every feature is in two rows or more, a row that comes later has none that was in one."""
    X = sp.csr_array(np.array([[3, 4, 0], [0, 2, 0], [1, 0, 0], [0, 0, 5], [0, 0, 5]], np.float32))
    held = np.array([True, False, False, False, False])
    unit = Scaling("unit", np.empty(0), np.empty(0))
    np.testing.assert_array_equal(
        as_unseen(X[[0, 1, 1, 2, 3, 4]], held[[0, 1, 1, 2, 3, 4]], unit).toarray(), [[0, 1, 0]]
    )
    wider = sp.csr_array(
        np.pad(X.toarray(), ((0, 0), (0, 1)))
    )  # a column that no row has: features came from elsewhere
    np.testing.assert_array_equal(as_unseen(wider, held, unit).toarray(), [[3, 4, 0, 0]])


def drawn(n: int, k: int, seed: int = 0) -> tuple[Any, Any]:
    """Scores, best first, and hits at log odds 3 s - 1."""
    rng = np.random.default_rng(seed)
    scores = -np.sort(-rng.normal(0, 1, (n, k)), axis=1)
    return scores, rng.random((n, k)) < 1 / (1 + np.exp(1 - 3 * scores))


def test_the_curve_is_found() -> None:
    scores, hits = drawn(3_000, 10)
    found = learn(scores, hits, 10, one_class=False)
    assert found is not None
    new = drawn(50, 10, seed=1)[0]
    np.testing.assert_allclose(found.of_best(new, 10), 1 / (1 + np.exp(1 - 3 * new)), atol=0.08)


def test_classes_behind_the_best_have_one_weight_together() -> None:
    rng = np.random.default_rng(0)
    scores = -np.sort(-rng.normal(0, 1, (600, N_BEST)), axis=1)
    hits = np.zeros(scores.shape, bool)
    hits[np.arange(400), rng.integers(0, N_BEST, 400)] = True  # a third of the rows have their class elsewhere
    found = learn(scores, hits, 10 * N_BEST, one_class=True)
    assert found is not None
    np.testing.assert_allclose(found.of_best(scores, 10 * N_BEST).sum(axis=1).mean(), 2 / 3, atol=0.03)


def test_nothing_is_learned_of_nothing() -> None:
    scores, hits = drawn(50, 5)
    assert learn(scores, np.zeros_like(hits), 5, one_class=False) is None
    assert learn(np.zeros_like(scores), hits, 5, one_class=False) is None
    assert learn(scores[:0], hits[:0], 5, one_class=True) is None
    equal, first = np.zeros((1000, 2)), np.zeros((1000, 2), bool)
    equal[3, 1], first[::2, 0] = -5, True  # but for one score
    assert learn(equal, first, 50, one_class=False) is None
    assert learn(equal, first, 50, one_class=True) is None


def test_missing_labels_have_no_probability() -> None:
    scores, hits = drawn(200, 5)
    scores[::2, 3:], hits[::2, 3:] = -np.inf, False
    for one_class in (False, True):
        only = hits & (np.cumsum(hits, axis=1) == 1)
        found = learn(scores, only, 5, one_class=one_class)
        assert found is not None
        assert (found.of_best(scores, 5)[::2, 3:] < 1e-9).all()


CURVE = [[0.0, 1.0], [0.0, 1.0]]


@pytest.mark.parametrize(
    "change",
    [
        {"curve": [[0.0, 0.0], [0.0, 1.0]]},
        {"curve": [[0.0, 1.0], [1.0, 0.0]]},
        {"best_curve": [[0.0, 1.0], [1.0, 0.0]]},
        {"curve": None},
        {"row_curve": None},
        {"rest": float("nan")},
        {"rest": float("inf")},
        {"n_rows": 0},
    ],
)
def test_a_file_with_a_curve_that_falls_is_refused(change: dict[str, Any]) -> None:
    stored = {"one_class": False, "curve": CURVE, "row_curve": CURVE, "best_curve": None, "rest": None, "n_rows": 9}
    assert Calibration.restored(stored).n_rows == 9
    with pytest.raises(ValueError, match="calibration"):
        Calibration.restored(stored | change)


def test_few_scores_have_the_probabilities_of_many() -> None:
    """Those of a few rows come without arrays: equal but for the last bits of an exponential."""
    rng = np.random.default_rng(3)
    scores = -np.sort(-rng.normal(0, 3, (400, 6)).astype(np.float32), axis=1)
    hits = rng.random(scores.shape) < 1 / (1 + np.exp(-scores))
    learned = learn(scores, hits, 50, one_class=False)
    assert learned is not None
    assert learned.best_curve is not None
    scores[5, 3:], scores[6], scores[7, 1] = -np.inf, -np.inf, 1e30
    many = learned.of_best(scores, 50)
    few = np.concatenate([learned.of_best(scores[i : i + 1], 50) for i in range(len(scores))])
    np.testing.assert_allclose(few, many, rtol=1e-12, atol=0)
    assert learned.of_best(scores[:1, :0], 50).shape == (1, 0)
