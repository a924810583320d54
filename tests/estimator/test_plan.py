"""Which sparse part `fit` chooses, from the pairs that a row meets."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

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
