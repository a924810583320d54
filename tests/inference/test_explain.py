"""Explanations add up to the score that prediction gives, and name the features that made it."""

import numpy as np
import pytest
import scipy.sparse as sp
from strategies import sparse_rows

import slide


@pytest.fixture(scope="module")
def data():
    return slide.datasets.synthetic(600, 120, 30, nnz=8, labels_per_row=2)


NETWORKS = {
    "as it comes": {},
    "without the linear part": {"wide": False},
    "two layers": {"hidden": (16, 12)},
    "relu": {"hidden": (16, 12, 8), "activation": "relu"},
    "tanh": {"activation": "tanh", "wide": False},
    "linear": {"hidden": (), "wide": False},
    "linear twice": {"hidden": ()},
}


@pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS)
def test_shares_add_up_to_the_predicted_score(data, options):
    X, Y = data
    clf = slide.SlideClassifier(**{"hidden": (16,), "epochs": 2, "n_threads": 1} | options).fit(X, Y)
    ids, scores = clf.predict_topk(X[:20], k=3)
    for row in range(20):
        for label, score in zip(ids[row], scores[row], strict=True):
            why = clf.explain(X[[row]], label)
            assert why.score == pytest.approx(score, rel=1e-4, abs=1e-4)
            assert why.contributions.sum() + why.rest == pytest.approx(score, rel=1e-4, abs=1e-4)
            assert sorted(why.features) == sorted(X[[row]].indices)
            assert (np.diff(why.contributions) <= 0).all()


@pytest.mark.parametrize("options", [{}, {"hidden": (16, 12)}, {"wide": False}, {"hidden": (), "wide": False}])
def test_without_activations_a_share_is_what_taking_the_feature_away_costs(data, options):
    X, Y = data
    clf = slide.SlideClassifier(**{"hidden": (16,), "epochs": 2, "n_threads": 1, "normalize": False} | options).fit(
        X, Y
    )
    label = int(clf.predict_topk(X[:1], k=1)[0][0, 0])
    why = clf.explain(X[[0]], label)
    for feature, share in zip(why.features, why.contributions, strict=True):
        without = X[[0]].toarray()
        without[0, feature] = 0
        assert why.score - clf.explain(without, label).score == pytest.approx(share, abs=1e-4)


def test_the_feature_that_makes_a_label_speaks_for_it():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 10, 800)
    X = sp.hstack([sp.csr_array(np.eye(10)[label]), sparse_rows(800, 40, 0.1, rng)], "csr")
    Y = sp.csr_array(np.eye(10)[label])
    clf = slide.SlideClassifier(hidden=(8,), epochs=3, n_threads=1).fit(X, Y)
    for row in range(30):
        why = clf.explain(X[[row]], int(label[row]))
        assert why.features[0] == label[row]
        assert f"label {label[row]} scores" in str(why)


@pytest.mark.parametrize("options", [*NETWORKS.values(), {"wide": slide.Rank()}], ids=[*NETWORKS, "ranked"])
def test_a_row_without_features_scores_the_base(data, options):
    X, Y = data
    clf = slide.SlideClassifier(**{"hidden": (16,), "epochs": 2, "n_threads": 1, "normalize": False} | options).fit(
        X, Y
    )
    why, nothing = clf.explain(X[[0]], 3), clf.explain(np.zeros(120), 3)
    assert why.base == pytest.approx(nothing.score, abs=1e-5)
    assert (nothing.base, nothing.rest) == pytest.approx((nothing.score, nothing.score))
    assert f"{why.base:+8.3f}  without any feature" in str(why)
    assert ("  rest" in str(why)) == (abs(why.rest - why.base) >= 0.0005)
    if not ({"activation", "wide"} & set(options)):  # a sum over features leaves nothing
        assert why.rest == pytest.approx(why.base, abs=1e-5)


def test_a_row_without_features_has_only_the_rest(data):
    clf = slide.SlideClassifier(hidden=(8,), epochs=1, n_threads=1).fit(*data)
    why = clf.explain(np.zeros(120), 3)
    assert len(why.features) == 0
    assert why.rest == pytest.approx(why.score)


@pytest.mark.parametrize(
    ("x", "label", "message"),
    [
        (np.zeros((2, 120)), 0, "x: found '2 rows', wanted one row"),
        (np.zeros(119), 0, "X has 119 features, but SlideClassifier is expecting 120"),
        (np.zeros(120), 30, "label: found 30, wanted an int, 0 to 29"),
        (np.zeros(120), "cat", "label: found 'cat', wanted an int, 0 to 29"),
    ],
)
def test_what_cannot_be_explained_is_refused(data, x, label, message):
    clf = slide.SlideClassifier(hidden=(8,), epochs=1, n_threads=1).fit(*data)
    with pytest.raises(ValueError, match=message):
        clf.explain(x, label)


def test_an_untrained_classifier_explains_nothing():
    with pytest.raises(slide.NotFittedError):
        slide.SlideClassifier().explain(np.zeros(3), 0)
