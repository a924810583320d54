"""scikit-learn's checks of an estimator, with and without scikit-learn, and its tools around one."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multioutput import ClassifierChain
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator
from small_fits import BACKENDS, classifier, label_lists, problem

import slide

# -- scikit-learn's own checks -----------------------------------------------------------------------------------------


def checks() -> list[Any]:
    with warnings.catch_warnings():
        # Said of every estimator that inherits nothing from scikit-learn; that is on purpose: docs/estimator.md.
        warnings.filterwarnings("ignore", message="Estimator SlideClassifier does not inherit")
        found = list(estimator_checks_generator(slide.SlideClassifier()))
    return [
        pytest.param(*pair, id=_name(pair[1]), marks=_mark(_name(pair[1])))
        for pair in found
        if "array_api" not in _name(pair[1])
    ]


def _mark(name: str) -> Any:
    """These shuffle the rows, on whose order a stochastic gradient depends (as SGDClassifier's does)."""
    shuffled = name.startswith("check_sample_weight_equivalence_on")
    return pytest.mark.xfail(strict=True, reason="the order of rows matters") if shuffled else ()


def _name(check: partial[None]) -> str:
    return "-".join([check.func.__name__, *map(str, check.keywords.values())])


@pytest.mark.parametrize(("estimator", "check"), checks())
def test_check_of_scikit_learn(estimator: Any, check: partial[None]) -> None:
    check(estimator)


def test_the_checks_are_all_there() -> None:
    names = {param.id for param in checks()}
    wanted = {"check_classifiers_train", "check_methods_subset_invariance", "check_fit_idempotent"}
    wanted |= {"check_classifiers_multilabel_output_format_predict", "check_estimators_pickle", "check_n_features_in"}
    assert wanted <= {name.split("-")[0] for name in names}
    assert len(names) > 50


@pytest.mark.thorough
def test_check_of_scikit_learn_that_needs_a_setting_of_scipy() -> None:
    pytest.importorskip("scipy", "1.14", reason="SciPy is older than what the setting needs")
    code = (
        "import slide; from sklearn.utils.estimator_checks import check_array_api_input as check; "
        "check('SlideClassifier', slide.SlideClassifier(), array_namespace='numpy', expect_only_array_outputs=False)"
    )
    assert _run(code, SCIPY_ARRAY_API="1") == ""


def _run(code: str, **env: str) -> str:
    """What a fresh interpreter prints, run where it finds the same slide as these tests do."""
    where = Path(slide.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=where,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_all_of_it_works_where_scikit_learn_is_not_installed(tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules["sklearn"] = None  # import fails, as if it were not there
import slide
X, Y = slide.datasets.synthetic(100, 50, 8, nnz=5, labels_per_row=1)
clf = slide.SlideClassifier(hidden=(8,), n_threads=1)
try:
    clf.predict(X)
except slide.NotFittedError:
    clf.fit(X, [str(i % 3) for i in range(100)])
clf.predict_proba(X), clf.score(X, clf.predict(X)), clf.set_params(**clf.get_params())
clf.save({str(tmp_path / "m.slide")!r})
print(*slide.load({str(tmp_path / "m.slide")!r}).classes_)
"""
    assert _run(code) == "0 1 2"


def test_errors_are_caught_as_either_library_names_them() -> None:
    for error in (NotFittedError, slide.NotFittedError):
        with pytest.raises(error, match="call fit"):
            classifier().predict(np.zeros((1, 2)))


# -- scikit-learn's tools ----------------------------------------------------------------------------------------------


def test_tools_of_scikit_learn() -> None:
    X, y = load_iris(return_X_y=True, as_frame=True)
    pipe = make_pipeline(StandardScaler(), classifier(epochs=20)).set_output(transform="pandas")
    assert is_classifier(pipe)
    assert cross_val_score(pipe, X, y, cv=3).mean() > 0.85
    assert cross_val_score(classifier(epochs=20), X, y, cv=2, scoring="roc_auc_ovr", n_jobs=2).mean() > 0.9
    search = GridSearchCV(pipe, {"slideclassifier__epochs": [1, 20], "slideclassifier__hidden": [(8,), (16, 8)]}, cv=2)
    assert search.fit(X, y).best_params_["slideclassifier__epochs"] == 20
    assert search.best_estimator_.predict(X.iloc[:3]).shape == (3,)
    assert list(search.best_estimator_[-1].feature_names_in_) == list(X.columns)


def test_other_estimators_can_wrap_it() -> None:
    X, Y = problem(n_labels=3)
    dense = Y.toarray().astype(int)
    chain = ClassifierChain(classifier(), order=[0, 1, 2]).fit(X.toarray(), dense)
    assert f1_score(dense, chain.predict(X.toarray()), average="micro") > 0.7


def test_clone_copies_parameters_and_nothing_learned() -> None:
    clf = classifier(lsh=slide.SimHash(K=3), random_state=5).fit(*problem())
    twin = clone(clf)
    assert twin.get_params() == clf.get_params()
    assert not hasattr(twin, "classes_")
    assert repr(twin) == repr(clf)
    assert "random_state=5" in repr(twin)
    assert "n_active" not in repr(twin)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda clf: pickle.loads(pickle.dumps(clf))], ids=["copy", "pickle"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_copy_predicts_and_goes_on_training_alike(copied: Any, backend: str) -> None:
    X, Y = problem()
    clf = classifier(backend=backend).fit(X, label_lists(Y))
    twin = copied(clf)
    assert not np.shares_memory(twin.network_.weights(0), clf.network_.weights(0))
    for _ in range(2):
        for a, b in zip(twin.predict_topk(X, 8), clf.predict_topk(X, 8), strict=True):
            np.testing.assert_array_equal(a, b)
        clf.partial_fit(X, label_lists(Y))
        twin.partial_fit(X, label_lists(Y))
    rows = twin.network_.states[-1].rows
    assert rows.ctypes.data % 64 == 0
