"""Which (feature, label) pairs of the sparse linear part get a weight: slide/model/pairs.py."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import slide
from slide.model.pairs import PairCounts, add_pairs, make_state

D, L = 12, 9


def problem(seed: int, n: int = 40) -> tuple[sp.csr_array, sp.csr_array]:
    """Dense enough that lists are long: some features meet every label."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, D)) * (rng.random((n, D)) < np.linspace(0.05, 0.9, D))
    Y = rng.random((n, L)) < 0.25
    return sp.csr_array(X.astype(np.float32)), sp.csr_array(Y.astype(np.float32))


def fresh():
    return make_state(slide.Wide(), D, L, 0.1, {})


def met(state) -> np.ndarray:
    """[D, L] bool: which pairs have a weight."""
    has = sp.csr_array((np.ones(len(state.labels)), state.labels, state.indptr), shape=(D, L))
    return has.toarray() > 0


@given(st.integers(0, 1000))
def test_without_a_limit_every_pair_that_meets_has_a_weight(seed):
    X, Y = problem(seed)
    X.data[::3] = 0  # an explicit zero is no feature
    before = X.copy()
    state = fresh()
    assert add_pairs(state, PairCounts.of(X, Y))
    np.testing.assert_array_equal(met(state), ((np.abs(X).T @ Y).toarray() > 0))
    assert not add_pairs(state, PairCounts.of(X, Y))
    for ours, theirs in zip((X.data, X.indices, X.indptr), (before.data, before.indices, before.indptr), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@given(st.integers(0, 1000), st.integers(1, 60))
def test_a_limit_keeps_the_strongest_pairs_and_the_mean_below_it(seed, row_pairs):
    X, Y = problem(seed)
    state, whole = fresh(), fresh()
    add_pairs(state, PairCounts.of(X, Y, row_pairs))
    add_pairs(whole, PairCounts.of(X, Y))
    kept, all_of_them = met(state), met(whole)
    assert not (kept & ~all_of_them).any()
    lengths, full = np.diff(state.indptr), np.diff(whole.indptr)
    cut = lengths < full
    frequency = np.bincount(X.indices, minlength=D) / X.shape[0]
    assert lengths @ frequency <= max(row_pairs, np.minimum(full, 1) @ frequency) + 1e-9
    if cut.any():  # at one length, the longest that the limit allows
        assert (lengths == np.minimum(full, lengths.max())).all()
        assert np.minimum(full, lengths.max() + 1) @ frequency > row_pairs
    strength = (np.abs(X).T @ Y).toarray()
    for f in np.flatnonzero(cut):
        assert strength[f][kept[f]].min() >= strength[f][all_of_them[f] & ~kept[f]].max()


def test_trained_pairs_stay_with_their_weights_when_more_rows_come_under_a_limit():
    X, Y = problem(0)
    state = fresh()
    add_pairs(state, PairCounts.of(X, Y))
    state.weights[:] = np.arange(1, len(state.weights) + 1)
    trained = state.matrix().toarray()
    add_pairs(state, PairCounts.of(*problem(1, n=400), row_pairs=1))
    now = state.matrix().toarray()
    np.testing.assert_array_equal(now[trained > 0], trained[trained > 0])
    assert not now[trained == 0].any()


def test_a_fit_under_the_limit_still_learns():
    X, Y = slide.datasets.synthetic(1500, 300, 50, nnz=10, labels_per_row=2)
    score = {}
    for row_pairs in (0, 60):
        clf = slide.SlideClassifier(hidden=(16,), wide=slide.Wide(row_pairs=row_pairs, deep_share=0), n_threads=1)
        score[row_pairs] = clf.fit(X, Y).score(X, Y)
        pairs = clf.network_.wide_state.weights.size
        assert (pairs < (np.abs(X).T @ Y).nnz) or row_pairs == 0
    assert score[60] > 0.8 * score[0] > 0.4, score


def test_a_limit_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match=r"Wide\(row_pairs=\): found -1, wanted a finite number, 0 or more"):
        slide.Wide(row_pairs=-1)


def test_labels_far_apart_among_very_many_train_the_same_weights():
    """Where samples list the labels that they meet: csrc/linear/wide.c. The sparse part has a loss of its own.

    Biases do not move: a label that is over its margin by its bias alone is not met here, but is among few labels.
    """
    X, Y = problem(3, n=200)
    X, Y = sp.vstack([X, X[:20]], format="csr"), sp.vstack([Y, sp.csr_array((20, L), dtype=np.float32)], format="csr")
    many = 140_000
    places = np.sort(np.random.default_rng(1).choice(many, L, replace=False))
    spread = sp.csr_array((Y.data, places[Y.indices], Y.indptr), shape=(Y.shape[0], many))
    found = []
    for labels in (Y, spread):
        layers = [slide.SparseInput(D, 2), slide.Sampled(labels.shape[1], n_active=5, n_random=2, lsh=None)]
        net = slide.Network(layers, wide=slide.Wide(lr=0.5, bias_lr=0), seed=1, n_threads=1)
        net.fit(X, labels, epochs=3)
        found.append(net.wide_state)
    few, listed = found
    np.testing.assert_array_equal(few.weights, listed.weights)
    np.testing.assert_array_equal(few.bias, listed.bias[places])
    assert np.abs(few.weights).max() > 0.1
