"""scikit-learn's conventions beyond its own checks: seeds, weights through what contains an estimator, widths."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline

import slide

RNG = np.random.default_rng(0)
CENTRES = RNG.normal(size=(3, 6))
y = np.arange(120) % 3
X = (CENTRES[y] + 0.8 * RNG.normal(size=(120, 6))).astype(np.float32)
WEIGHTS = np.where(y == 2, 0.2, 1.0)


def classifier(**options: Any) -> slide.SlideClassifier:
    return slide.SlideClassifier(**({"hidden": 4, "epochs": 2, "n_threads": 1} | options))


def scores(**options: Any) -> Any:
    return classifier(**options).fit(X, y).decision_function(X)


# -- random_state ------------------------------------------------------------------------------------------------------


def test_none_is_another_model_each_time() -> None:
    clf = classifier(random_state=None)
    first, second = clf.fit(X, y).decision_function(X), clf.fit(X, y).decision_function(X)
    assert abs(first - second).max() > 0
    assert clf.random_state is None


@pytest.mark.parametrize("make", [np.random.RandomState, np.random.default_rng], ids=["RandomState", "Generator"])
def test_a_generator_is_asked_for_a_seed_by_each_fit(make: Any) -> None:
    np.testing.assert_array_equal(scores(random_state=make(3)), scores(random_state=make(3)))
    clf = classifier(random_state=make(3))
    first, second = clf.fit(X, y).decision_function(X), clf.fit(X, y).decision_function(X)
    assert abs(first - second).max() > 0


def test_numbers_of_numpy_are_numbers() -> None:
    np.testing.assert_array_equal(scores(random_state=np.int64(3)), scores(random_state=3))


@pytest.mark.parametrize("seed", [None, np.random.default_rng(1), np.random.RandomState(1), 7])
def test_a_model_keeps_its_seed(seed: Any, tmp_path: Any) -> None:
    clf = classifier(random_state=seed).fit(X, y, eval_set=0.2)
    clf.save(tmp_path / "m.slide")
    again = slide.load(tmp_path / "m.slide")
    assert again.random_state == (None if seed is None else clf.network_.seed)
    assert again.network_.seed == clf.network_.seed


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "x", [1]])
def test_what_is_no_seed_is_refused(seed: Any) -> None:
    with pytest.raises(ValueError, match=r"random_state: found .*, wanted an int, 0 to 2\^64 - 1, a numpy"):
        classifier(random_state=seed).fit(X, y)


# -- hidden ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [8, (8,), [8], np.int32(8), np.array([8])], ids=str)
def test_one_width_needs_no_brackets(hidden: Any, tmp_path: Any) -> None:
    clf = classifier(hidden=hidden).fit(X, y)
    np.testing.assert_array_equal(clf.decision_function(X), scores(hidden=(8,)))
    clf.save(tmp_path / "m.slide")
    assert slide.load(tmp_path / "m.slide").hidden == (8,)


@pytest.mark.parametrize("hidden", [0, -3, 2.5, "128", None, [8, 0], [8, 2.5], {8: 1}, True, object], ids=str)
def test_what_are_no_widths_is_refused(hidden: Any) -> None:
    with pytest.raises(ValueError, match=r"hidden: found .*, wanted a whole number, or a sequence"):
        classifier(hidden=hidden).fit(X, y)


# -- what contains an estimator ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("whole", "least"),
    [
        (AdaBoostClassifier(classifier(epochs=5), n_estimators=3, random_state=0), 0.8),
        (CalibratedClassifierCV(classifier(epochs=5), cv=3), 0.8),
        (BaggingClassifier(classifier(epochs=5), n_estimators=3, random_state=0), 0.8),
        (GridSearchCV(classifier(epochs=5), {"hidden": [4, (8,)], "class_weight": [None, "balanced"]}, cv=3), 0.8),
    ],
    ids=lambda value: type(value).__name__,
)
def test_weights_go_through(whole: Any, least: float) -> None:
    assert whole.fit(X, y, sample_weight=WEIGHTS).score(X, y) > least
    alone = clone(whole).fit(X, y, sample_weight=np.where(y == 1, 1.0, 1e-9))
    assert (alone.predict(X) == 1).mean() > 0.8


def test_pipelines_and_one_against_the_rest() -> None:
    piped = make_pipeline(classifier()).fit(X, y, slideclassifier__sample_weight=np.where(y == 1, 1.0, 0.0))
    assert (piped.predict(X) == 1).all()
    assert OneVsRestClassifier(classifier(class_weight="balanced")).fit(X, y).score(X, y) > 0.8


@pytest.fixture
def _routing() -> Iterator[None]:
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("_routing")
def test_metadata_routing() -> None:
    asking = classifier().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    found = cross_val_score(clone(asking), X, y, cv=3, params={"sample_weight": WEIGHTS})
    assert found.mean() > 0.8
    only_one = make_pipeline(asking).fit(X, y, sample_weight=np.where(y == 1, 1.0, 0.0))
    assert (only_one.predict(X) == 1).all()
    refusing = classifier().set_fit_request(sample_weight=False).set_score_request(sample_weight=False)
    np.testing.assert_array_equal(
        cross_val_score(refusing, X, y, cv=3), cross_val_score(classifier(), X, y, cv=3), strict=True
    )
    with pytest.raises(ValueError, match="sample_weight"):  # scikit-learn's: nobody said whether it is wanted
        make_pipeline(classifier()).fit(X, y, sample_weight=WEIGHTS)
    requests = classifier().set_partial_fit_request(classes=True).get_metadata_routing()
    assert requests.partial_fit.requests == {"classes": True, "sample_weight": None}
    with pytest.raises(ValueError, match="set_partial_fit_request: found 'weights'"):
        classifier().set_partial_fit_request(weights=True)


def test_a_misspelt_option_gets_a_suggestion() -> None:
    with pytest.raises(ValueError, match=r"set_params: found 'epoch', wanted one of .* \(did you mean 'epochs'\?\)"):
        classifier().set_params(epoch=3)
