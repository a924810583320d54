"""Which sparse part `fit` chooses, from the pairs that a row meets."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone

import slide
from slide.estimator import plan
from slide.estimator.plan import FitPlan, pairs_a_row


def exact(X: sp.csr_array, Y: sp.csr_array) -> float:
    met = sp.csr_array((X != 0).astype(np.int64).T @ (Y != 0).astype(np.int64))
    return float(np.bincount(X.indices, minlength=X.shape[1]) @ np.diff(met.indptr) / X.shape[0])


@pytest.mark.parametrize("nnz", [3, 40])
def test_pairs_are_estimated(nnz: int) -> None:
    X, Y = slide.datasets.synthetic(3000, 500, 200, nnz=nnz, labels_per_row=3)
    assert pairs_a_row(X, Y) == pytest.approx(exact(X, Y), rel=0.25)
    assert pairs_a_row(sp.csr_array((3, 5), dtype=np.float32), Y[:3]) == 0


def test_common_features_are_ranked_and_rare_ones_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = slide.datasets.synthetic(1500, 400, 80, nnz=12, labels_per_row=2)
    options = {"hidden": (16,), "epochs": 1, "n_threads": 1}
    walked = slide.SlideClassifier(**options).fit(X, Y)
    assert walked.network_.wide is not None
    assert walked.network_.ranker is None
    assert str(walked.plan_).startswith("sparse part: walk over pairs: a row meets about")
    monkeypatch.setattr(plan, "CUT_AT_MOST", 0)
    few = slide.SlideClassifier(**options).fit(X, Y)
    assert few.network_.ranker is None
    assert "of no more than 1,000 labels" in str(few.plan_)
    monkeypatch.setattr(plan, "FEW_LABELS", 79)
    ranked = slide.SlideClassifier(**options).fit(X, Y)
    assert ranked.network_.wide is None
    assert ranked.network_.ranker is not None
    assert "retrieve and rank" in str(ranked.plan_)


def test_what_is_given_is_kept() -> None:
    X, Y = slide.datasets.synthetic(300, 100, 20, nnz=5, labels_per_row=2)
    wide, rank = slide.Wide(lr=0.1), slide.Rank(C=2.0)
    assert FitPlan.of(wide, X, Y) == FitPlan(wide, None)
    assert FitPlan.of(rank, X, Y) == FitPlan(None, rank)
    assert FitPlan.of(False, X, Y) == FitPlan(None, None)
    assert FitPlan.of(True) == FitPlan(slide.Wide(), None)
    with pytest.raises(ValueError, match=r"wide: found Rank\(.*only fit ranks"):
        slide.SlideClassifier(wide=rank, epochs=1).partial_fit(X, Y)
    with pytest.raises(ValueError, match=r"wide: found 'yes', wanted a slide\.Rank, a slide\.Wide, True or False"):
        slide.SlideClassifier(wide="yes", epochs=1).fit(X, Y)


def test_dense_rows_have_no_sparse_part_unless_it_is_asked_for() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 5)), np.arange(60) % 3
    options = {"hidden": (4,), "epochs": 1, "n_threads": 1}
    for clf in (slide.SlideClassifier(**options), slide.SlideClassifier(normalize=False, **options)):
        for fitted in (clf.fit(X, y), clone(clf).partial_fit(X, y), clone(clf).fit_blocks([(X, y)], classes=[0, 1, 2])):
            assert fitted.network_.wide is None
            assert fitted.network_.ranker is None
            assert str(fitted.plan_) == "sparse part: none: X is dense, more than half of its entries are not 0"
            assert FitPlan.restored(fitted.plan_.config()) == fitted.plan_
    given = slide.SlideClassifier(wide=slide.Wide(lr=0.1), **options).fit(X, y)
    assert given.network_.wide == slide.Wide(lr=0.1)
    assert "as given" in str(given.plan_)
    half = np.where(rng.random(X.shape) < 0.6, 0, X)
    assert slide.SlideClassifier(**options).fit(half, y).network_.wide is not None


def test_a_plan_from_before_dense_rows_had_none() -> None:
    stored = {"wide": None, "rank": None, "pairs_a_row": None, "ranking": None}
    assert FitPlan.restored(stored) == FitPlan(None, None)


def test_a_text_is_no_dense_row() -> None:
    clf = slide.SlideTextClassifier(hidden=(4,), epochs=1, n_threads=1).fit(["a b", "a c", "b c"] * 4, [0, 1, 2] * 4)
    assert clf.network_.wide is not None
