"""SlideClassifier: scores of every label, its page and examples, presets."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_strategies import planted_data, precision_at_1
from sklearn.base import clone
from small_fits import BACKENDS, classifier, problem
from snippets import run_page

import slide
from slide.inference import scores

# -- every label at once -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", [{}, {"wide": False}, {"hidden": (16, 12), "activation": "relu"}])
def test_scores_of_every_label_are_those_of_predict_topk(options: dict[str, Any], backend: str) -> None:
    X, Y = problem()
    clf = classifier(backend=backend, **options).fit(X, Y)
    ids, expected = clf.predict_topk(X, 8)
    found = np.take_along_axis(clf.decision_function(X) + clf.threshold_, ids, axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_matrices_that_are_too_large_name_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = problem()
    clf = classifier().fit(X, Y.toarray())
    monkeypatch.setattr(scores, "LIMIT", 300 * 8 * 8 - 1)
    for method in (clf.decision_function, clf.predict_proba, clf.predict):
        with pytest.raises(ValueError, match=r"300 rows x 8 labels.* take predict_topk"):
            method(X)
        method(X[:-1])
    assert clf.predict_topk(X)[0].shape == (300, 5)


# -- documentation -----------------------------------------------------------------------------------------------------


def test_the_page_about_it_runs(checkout: Path, tmp_path: Path) -> None:
    names = run_page(checkout / "docs" / "estimator.md", tmp_path)
    assert names["clf"].classes_.tolist() == ["bee", "cow", "dog", "eel"]
    assert names["search"].best_params_["slideclassifier__epochs"] == 20


@pytest.mark.parametrize("module", ["estimator.classifier", "text.classifier", "text.tables"])
def test_examples_in_docstrings(module: str) -> None:
    tried = doctest.testmod(importlib.import_module(f"slide.{module}"))
    assert tried.attempted > 1
    assert tried.failed == 0


# -- presets -----------------------------------------------------------------------------------------------------------


def test_a_preset_is_an_ordinary_classifier_with_options() -> None:
    plain = slide.SlideClassifier().get_params()
    assert slide.SlideClassifier.preset("balanced").get_params() == plain
    fast, accurate = (slide.SlideClassifier.preset(name).get_params() for name in ("fast", "accurate"))
    assert fast["epochs"] < plain["epochs"] < accurate["epochs"]
    assert fast["n_active"] < plain["n_active"] < accurate["n_active"]
    own = slide.SlideClassifier.preset("fast", epochs=7, random_state=3)
    assert (own.epochs, own.random_state, own.n_active) == (7, 3, fast["n_active"])
    assert clone(own).get_params() == own.get_params()
    assert isinstance(slide.SlideTextClassifier.preset("fast"), slide.SlideTextClassifier)
    with pytest.raises(ValueError, match="preset: found 'best', wanted one of fast, balanced, accurate"):
        slide.SlideClassifier.preset("best")


@pytest.mark.parametrize("name", ["fast", "accurate"])
def test_presets_learn(name: str) -> None:
    X, Y, Xt, Yt = (*planted_data(900, 100, 50, seed=0), *planted_data(300, 100, 50, seed=1))
    clf = slide.SlideClassifier.preset(name, n_threads=1).fit(X, Y)
    assert precision_at_1(clf.network_, clf._rows(Xt), Yt) > 0.85
