"""Weights of samples and classes: in the network, in both sparse parts, in scaling and in scores."""

from __future__ import annotations

from typing import Any

import engine_strategies as es
import numpy as np
import pytest
import scipy.sparse as sp
from engine_strategies import make_network, planted_data

import slide
from slide.estimator.scaling import Scaling
from slide.model.pairs import Wide
from slide.training.weights import TrainingRows, check_weights

D, N, ROWS = 80, 30, 200
X, Y = planted_data(ROWS, D, N, seed=1)
WEIGHTS = np.random.default_rng(0).choice([0.0, 0.5, 1.0, 2.0, 7.0], ROWS)


def layers(lsh: Any = None) -> list[Any]:
    return [slide.SparseInput(D, 8), slide.Sampled(N, lsh=lsh, n_active=N, n_random=2)]


def classifier(**options: Any) -> slide.SlideClassifier:
    return slide.SlideClassifier(**({"hidden": 8, "epochs": 3, "n_threads": 1} | options))


# -- what a weight does ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", es.BACKENDS)
@pytest.mark.parametrize("batch_size", [1, 4])
def test_one_step_of_weight_w_is_w_times_the_step(engine: Any, batch_size: int) -> None:
    """Of SGD, whose steps are linear in the gradient; of samples that share their step, too."""
    rows, moved = slice(0, 4), []
    for weight in (None, 1.0, 3.0):
        net = make_network(layers(), engine, optimizer=slide.SGD(lr=1e-3), batch_size=batch_size, seed=3)
        before = net.weights(1).copy()
        net.fit(X[rows][:batch_size], Y[rows][:batch_size], sample_weight=weight)
        moved.append(net.weights(1) - before)
    np.testing.assert_array_equal(moved[0], moved[1])
    assert abs(moved[0]).max() > 0
    np.testing.assert_allclose(moved[2], 3 * moved[0], rtol=1e-3, atol=3e-7)


@pytest.mark.parametrize("engine", es.BACKENDS)
def test_the_walk_learns_a_row_of_weight_2_as_the_row_twice(engine: Any) -> None:
    """And a weight without end brings labels onto their margins, not beyond."""
    x, y = X[:1], Y[:1]
    twice = sp.vstack([x, x], format="csr"), sp.vstack([y, y], format="csr")
    found = []
    for rows, labels, weight in ((x, y, 2.0), (*twice, None), (x, y, 1e6)):
        net = make_network(layers(), engine, wide=Wide(lr=0.1), optimizer=slide.SGD(lr=1e-9), seed=3)
        net.fit(rows, labels, sample_weight=weight)
        state = net.wide_state
        scores = (x @ state.matrix()).toarray()[0] + state.bias
        found.append(scores[y.indices])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)
    assert (found[0] < 0.99).all()
    np.testing.assert_allclose(found[2], 1, atol=1e-4)


@pytest.mark.thorough
@es.needs_c
@pytest.mark.parametrize("loss", ["softmax", "binary"])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_both_back_ends_weigh_alike(loss: str, batch_size: int) -> None:
    options: dict[str, Any] = {"wide": Wide(), "loss": loss, "batch_size": batch_size, "seed": 5}
    nets = [make_network(layers(), engine, **options).fit(X, Y, sample_weight=WEIGHTS) for engine in es.BACKENDS]
    for a, b in zip(*(net.states for net in nets), strict=True):
        np.testing.assert_allclose(a.rows, b.rows, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(nets[0].wide_state.weights, nets[1].wide_state.weights, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("wide", [True, False, slide.Rank(n_negatives=5, C=1.0)], ids=["walk", "none", "rank"])
def test_a_row_of_weight_0_is_absent_to_the_bit(wide: Any) -> None:
    kept = WEIGHTS > 0
    with_them = classifier(wide=wide).fit(X, Y, sample_weight=kept)
    without = classifier(wide=wide).fit(X[kept], Y[kept])
    np.testing.assert_array_equal(with_them.decision_function(X), without.decision_function(X))
    more = [clf.partial_fit(*rows) for clf, rows in ((with_them, (X, Y, None, kept)), (without, (X[kept], Y[kept])))]
    np.testing.assert_array_equal(more[0].decision_function(X), more[1].decision_function(X))


@pytest.mark.parametrize("wide", [True, slide.Rank(n_negatives=5, C=1.0)], ids=["walk", "rank"])
def test_few_rows_of_whole_weights_are_the_rows_so_many_times_to_the_bit(wide: Any) -> None:
    counts = np.array([1, 2, 3])[np.arange(ROWS) % 3]
    weighted = classifier(wide=wide).fit(X, Y, counts)
    repeated = classifier(wide=wide).fit(X[np.repeat(np.arange(ROWS), counts)], Y[np.repeat(np.arange(ROWS), counts)])
    np.testing.assert_array_equal(weighted.decision_function(X), repeated.decision_function(X))


@pytest.mark.parametrize("wide", [True, slide.Rank(n_negatives=5, C=1.0)], ids=["walk", "rank"])
def test_a_weight_of_2_is_about_the_row_twice(wide: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where rows are many: a model of weighted rows is as near to that of repeated ones as one with another seed is."""
    monkeypatch.setattr("slide.training.weights.FEW_ROWS", 0)
    counts = np.array([1, 1, 2])[np.arange(ROWS) % 3]
    twice = np.repeat(np.arange(ROWS), counts)
    weighted = classifier(wide=wide).fit(X, Y, counts).decision_function(X)
    repeated, other = (classifier(wide=wide, random_state=seed).fit(X[twice], Y[twice]) for seed in (0, 1))
    expected = repeated.decision_function(X)
    assert abs(weighted - expected).mean() < 1.5 * abs(other.decision_function(X) - expected).mean()
    plain = classifier(wide=wide).fit(X, Y).decision_function(X)
    row = np.repeat(np.arange(ROWS), np.diff(Y.indptr))
    gain, heavy = (weighted - plain)[row, Y.indices], (counts == 2)[row]
    assert gain[heavy].mean() > gain[~heavy].mean()


def test_weights_that_add_up_to_1_train_as_well_as_none() -> None:
    plain, shares = classifier().fit(X, Y), classifier().fit(X, Y, sample_weight=np.full(ROWS, 1 / ROWS))
    np.testing.assert_array_equal(plain.decision_function(X), shares.decision_function(X))


def test_ranked_rows_lean_to_the_weight() -> None:
    """Two classes that nothing tells apart: the row that counts ten times decides."""
    same = sp.csr_array(np.tile(X[:1].toarray(), (60, 1)))
    y = np.repeat([0, 1], 30)
    for heavy in (0, 1):
        clf = classifier(wide=slide.Rank(n_negatives=2, C=1.0)).fit(same, y, sample_weight=np.where(y == heavy, 10, 1))
        assert (clf.predict(same) == heavy).all()


@pytest.mark.parametrize("wide", [True, False])
def test_partial_fit_takes_weights(wide: bool) -> None:
    y = Y.indices[Y.indptr[:-1]] % 2
    clf = classifier(wide=wide).partial_fit(X, y, [0, 1], np.where(y == 1, 1.0, 0.0))
    assert (clf.partial_fit(X, y, sample_weight=np.where(y == 1, 1.0, 0.0), epochs=5).predict(X) == 1).all()


def test_blocks_with_weights_are_as_rows_with_weights() -> None:
    whole = classifier(wide=True).fit_blocks([(X, Y, WEIGHTS)])
    kept = WEIGHTS > 0
    parts = classifier(wide=True).fit_blocks([(X[kept], Y[kept], WEIGHTS[kept])])
    plain = classifier(wide=True).fit_blocks([(X, Y)])
    np.testing.assert_array_equal(whole.decision_function(X), parts.decision_function(X))
    assert abs(whole.decision_function(X) - plain.decision_function(X)).max() > 0.01
    assert classifier().fit_blocks([(X, Y, np.zeros(ROWS)), (X, Y)]).network_.step == 3 * ROWS


def test_columns_are_scaled_by_weight() -> None:
    dense = sp.csr_array(np.random.default_rng(0).random((50, 4)).astype(np.float32))
    counts = np.arange(50) % 3 + 1
    repeated = sp.csr_array(dense.toarray().repeat(counts, axis=0))
    ours, theirs = Scaling.of(dense, "auto", counts.astype(np.float32)), Scaling.of(repeated, "auto")
    np.testing.assert_allclose(ours.mean, theirs.mean, rtol=1e-6)
    np.testing.assert_allclose(ours.factor, theirs.factor, rtol=1e-6)


def test_a_text_of_weight_0_brings_no_words() -> None:
    clf = slide.SlideTextClassifier(hidden=4, epochs=1, n_threads=1)
    clf.fit(["a cat", "a dog", "gibberish"], ["cat", "dog", "noise"], sample_weight=[1, 2, 0])
    assert clf.classes_.tolist() == ["cat", "dog", "noise"]
    assert "gibberish" not in clf.vocabulary_.names


def test_a_checkpoint_of_other_weights_is_not_gone_on_from(tmp_path: Any) -> None:
    checkpoint = slide.Checkpoint(tmp_path / "run", samples=ROWS, resume=True)
    classifier().fit(X, Y, sample_weight=WEIGHTS + 1, checkpoint=checkpoint)
    with pytest.raises(ValueError, match="sample_weight: found"):
        classifier().fit(X, Y, sample_weight=WEIGHTS + 2, checkpoint=checkpoint)


# -- scores ------------------------------------------------------------------------------------------------------------


def test_score_is_the_weighted_share() -> None:
    y = Y.indices[Y.indptr[:-1]]
    clf = classifier(epochs=1).fit(X, y)
    right = clf.predict(X) == y
    assert 0 < right.mean() < 1
    assert clf.score(X, y, sample_weight=WEIGHTS) == pytest.approx(np.average(right, weights=WEIGHTS))
    assert clf.score(X, y, sample_weight=np.ones(ROWS)) == pytest.approx(clf.score(X, y))
    assert clf.score(X, y, right) == 1


# -- class_weight ------------------------------------------------------------------------------------------------------


def overlapping() -> tuple[Any, Any]:
    """One in twenty rows is of class "rare", and only a coin tells it from the others."""
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(600, 5)).astype(np.float32)
    y = np.where(rng.random(600) < 0.05, "rare", "common")
    dense[y == "rare", 0] += 1
    return dense, y


def test_balanced_classes_find_the_rare_one_more_often() -> None:
    dense, y = overlapping()
    found = [(classifier(class_weight=w).fit(dense, y).predict(dense) == "rare").mean() for w in (None, "balanced")]
    assert found[0] < 0.05 < 0.2 < found[1]


@pytest.mark.parametrize("as_labels", [lambda y: y, lambda y: [[v] for v in y]], ids=["classes", "lists"])
def test_class_weights_are_sample_weights(as_labels: Any) -> None:
    dense, y = overlapping()
    by_class = classifier(class_weight={"rare": 5}).fit(dense, as_labels(y))
    by_row = classifier().fit(dense, as_labels(y), sample_weight=np.where(y == "rare", 5, 1))
    np.testing.assert_array_equal(by_class.decision_function(dense), by_row.decision_function(dense))
    both = classifier(class_weight={"rare": 5, "common": 0}).fit(dense, as_labels(y), sample_weight=np.full(600, 2.0))
    assert both.network_.step == 3 * 10 * (y == "rare").sum()  # few rows: each is there as often as it counts


def test_several_labels_of_a_row_count_as_their_mean() -> None:
    counts = np.diff(Y.indptr)
    weights = np.arange(N) % 4
    means = (Y @ weights) / counts
    by_class = classifier(class_weight=dict(enumerate(weights.tolist()))).fit(X, Y)
    by_row = classifier().fit(X, Y, sample_weight=means)
    np.testing.assert_array_equal(by_class.decision_function(X), by_row.decision_function(X))


def test_class_weights_stay_with_the_model(tmp_path: Any) -> None:
    dense, y = overlapping()
    for weights in ({"rare": 2.5}, "balanced", None):
        classifier(class_weight=weights, epochs=1).fit(dense, y).save(tmp_path / "m.slide")
        assert slide.load(tmp_path / "m.slide").class_weight == weights
    clf = classifier(class_weight={"rare": 2.5}, epochs=1).fit(dense, y).forget(["rare"])
    clf.save(tmp_path / "m.slide")
    assert slide.load(tmp_path / "m.slide").class_weight == {}


# -- what is refused ---------------------------------------------------------------------------------------------------

BAD_WEIGHTS = {
    "too few": ([1.0], r"sample_weight: found shape \(1,\), wanted \(200,\)"),
    "a matrix": (np.ones((ROWS, 2)), r"sample_weight: found shape \(200, 2\)"),
    "negative": (np.r_[np.ones(7), -1, np.ones(ROWS - 8)], "sample_weight: found -1.0 in row 7"),
    "missing": (np.r_[np.nan, np.ones(ROWS - 1)], "sample_weight: found nan in row 0"),
    "infinite": (np.full(ROWS, np.inf), "sample_weight: found inf in row 0"),
    "words": (["heavy"] * ROWS, "sample_weight: found list of what are no numbers"),
    "complex": (np.ones(ROWS) + 0j, "sample_weight: found ndarray of dtype complex128"),
    "dates": (np.zeros(ROWS, "M8[s]"), "sample_weight: found ndarray of dtype datetime64"),
    "masked": (np.ma.array(np.ones(ROWS), mask=True), "sample_weight: found MaskedArray of masked values"),
    "nothing left": (np.zeros(ROWS), "sample_weight: found zero for every row"),
}


@pytest.mark.parametrize(("weights", "message"), BAD_WEIGHTS.values(), ids=BAD_WEIGHTS)
def test_what_are_no_weights_is_refused_by_row(weights: Any, message: str) -> None:
    clf = classifier(epochs=1).fit(X, Y)
    step = clf.network_.step
    for call in (classifier().fit, lambda X, Y, sample_weight: clf.partial_fit(X, Y, sample_weight=sample_weight)):
        with pytest.raises(ValueError, match=message):
            call(X, Y, sample_weight=weights)
    with pytest.raises(ValueError, match=message.split(":")[0]):
        clf.score(X, Y, sample_weight=weights)
    assert clf.network_.step == step


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            "balance",
            "class_weight: found 'balance', wanted a dict of labels and numbers, 0 or more, 'balanced' or None",
        ),
        (3, "class_weight: found 3"),
        ({"common": -1}, r"class_weight\['common'\]: found -1"),
        ({"common": "x"}, r"class_weight\['common'\]: found 'x'"),
        ({"unknown": 1}, "class_weight: found 'unknown', wanted labels of y"),
        ({"common": 0, "rare": 0}, "class_weight: found zero for every row"),
    ],
)
def test_what_are_no_class_weights_is_refused_by_label(weights: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classifier(class_weight=weights).fit(*overlapping())


def test_balance_needs_all_rows() -> None:
    clf = classifier(class_weight="balanced")
    with pytest.raises(
        ValueError, match="class_weight: found 'balanced', wanted a dict or None: only fit sees all rows"
    ):
        clf.partial_fit(X, Y)
    with pytest.raises(ValueError, match="class_weight: found 'balanced'"):
        clf.fit(X, Y).partial_fit(X, Y)
    with pytest.raises(ValueError, match="class_weight: found 'balanced'"):
        clf.fit_blocks([(X, Y)])


def test_one_number_is_a_weight_for_all_rows() -> None:
    np.testing.assert_array_equal(check_weights(2, 3), [2, 2, 2])
    assert TrainingRows.of(X, Y, 1).weights is None
    assert TrainingRows(X, Y, np.full(ROWS, 2, np.float32)).scaled_up().weights[0] == 2
