"""Retrieve and rank, end to end: the calibration, one engine call on both back ends, files, 8 bits, probabilities."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

import slide
from slide.cli.main import main
from slide.metrics import precision_at_k
from slide.model.ranker import Ranker, calibrate, found_among, log_sums
from slide.model.sparse_rows import SparseRows
from slide.training.ranking import Rank, held_for_calibration, update_ranker

SIZES = {"n": 1500, "d": 400, "l": 80, "nnz": 12, "labels_per_row": 2}


@pytest.fixture(scope="module")
def fitted():
    X, Y = slide.datasets.synthetic(**SIZES)
    return slide.SlideClassifier(hidden=(32,), epochs=2, n_threads=1, wide=slide.Rank()).fit(X, Y)


@pytest.fixture(scope="module")
def unseen():
    return slide.datasets.synthetic(**SIZES | {"n": 400}, split="test")


def test_calibration_finds_the_model_that_made_the_data():
    rng = np.random.default_rng(0)
    z, logits = rng.normal(size=(4000, 20)).astype(np.float32), rng.normal(size=(4000, 20)).astype(np.float32)
    odds = 2 * np.minimum(z, 0.5) + 0.7 * logits - 0.5 * log_sums(logits)[:, None] - 1
    hits = rng.random(z.shape) < 1 / (1 + np.exp(-odds))
    curve, logit_share, sum_share = calibrate(z, logits, hits)
    none = SparseRows(np.zeros(1, np.int64), np.empty(0, np.int32), None, np.empty(0, np.float32), 0)
    found = Ranker(none, 20, curve, logit_share, sum_share).log_odds(z, logits, log_sums(logits))
    assert logit_share == pytest.approx(0.7, abs=0.05)
    assert np.abs(found - odds)[np.abs(z) < 1.5].max() < 0.5
    assert (np.diff(curve) >= 0).all()


def test_calibration_of_rows_told_apart_without_a_fault_stays_finite():
    z = np.where(np.arange(10) < 1, 1.0, -1.0).astype(np.float32) * np.ones((50, 1), np.float32)
    curve, *shares = calibrate(z, np.zeros_like(z), z > 0)
    assert np.isfinite(curve).all()
    assert np.isfinite(shares).all()
    assert curve[-1] > curve[0]


def test_places_that_are_empty_do_not_count():
    rng = np.random.default_rng(1)
    z, logits = rng.normal(size=(2, 300, 8)).astype(np.float32)
    hits = rng.random(z.shape) < 0.3
    pad = np.full((300, 3), -np.inf, np.float32)
    whole = calibrate(z, logits, hits)
    padded = calibrate(np.hstack([z, pad]), np.hstack([logits, pad]), np.hstack([hits, pad > 0]))
    assert np.allclose(whole[0], padded[0], atol=1e-4)
    assert whole[1] == pytest.approx(padded[1], abs=1e-4)


def test_found_among_knows_true_labels_from_others():
    Y = sp.csr_array(np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]]))
    ids = np.array([[2, 1, -1], [0, 1, 2], [1, -1, -1]], np.int32)
    assert found_among(Y, ids).tolist() == [[True, False, False], [False] * 3, [True, False, False]]


@pytest.mark.thorough
def test_both_back_ends_rank_alike(fitted, unseen, tmp_path):
    fitted.save(tmp_path / "m.slide")
    twin = slide.load(tmp_path / "m.slide", backend="numba")
    for asked in ({}, {"n_candidates": 60}):
        ids, scores = fitted.predict_topk(unseen[0][:50], 5, **asked)
        twin_ids, twin_scores = twin.predict_topk(unseen[0][:50], 5, **asked)
        assert np.allclose(scores, twin_scores, atol=1e-4)
        assert (ids == twin_ids).mean() > 0.99


def test_files_and_eight_bits_keep_the_answers(fitted, unseen, tmp_path):
    wanted = fitted.predict_topk(unseen[0], 5)
    small = fitted.compress()
    for model, name in ((fitted, "m"), (small, "s")):
        model.save(tmp_path / name)
        again = slide.load(tmp_path / name).predict_topk(unseen[0], 5)
        assert all(np.array_equal(a, b) for a, b in zip(model.predict_topk(unseen[0], 5), again, strict=True))
    best = small.predict_topk(unseen[0], 1)[0]
    assert (best == wanted[0][:, :1]).mean() > 0.92
    assert precision_at_k(unseen[1], best, k=1) > precision_at_k(unseen[1], wanted[0], k=1) - 0.01


def test_compressing_leaves_out_the_smallest_weights(fitted):
    whole, small = fitted.network_.ranker.rows, fitted.compress().network_.ranker.rows
    before, after = whole.matrix().toarray(), small.matrix().toarray()
    dropped = (before != 0) & (after == 0)
    share = np.square(before[dropped], dtype=np.float64).sum() / np.square(before, dtype=np.float64).sum()
    assert 0.019 < share < 0.021
    assert np.abs(before[dropped]).max() <= np.abs(before[after != 0]).min()
    assert np.abs(before - after)[~dropped].max() <= np.abs(before).max() / 253


def test_compressing_what_has_no_weights(fitted):
    none = replace(fitted.network_.ranker, rows=SparseRows(np.zeros(81, np.int64), *empty_rows(80), 400))
    assert len(none.compressed().rows.features) == 0


def empty_rows(n_labels):
    return np.empty(0, np.int32), np.empty(0, np.float32), np.zeros(n_labels, np.float32)


def test_features_of_16_bits_score_as_those_of_32(fitted, unseen):
    X = fitted._rows(unseen[0])
    ids = np.tile(np.arange(80, dtype=np.int32), (X.shape[0], 1))
    for rows in (fitted.network_.ranker.rows, fitted.compress().network_.ranker.rows):
        assert rows.features.dtype == np.uint16
        wide = replace(rows, features=rows.features.astype(np.int32))
        assert np.array_equal(rows.scores(X, ids), wide.scores(X, ids))
        many = replace(wide, n_features=2**16 + 1)
        assert many.narrowed().features.dtype == np.int32


def test_scores_of_all_labels_agree_with_the_best(fitted, unseen):
    ids, scores = fitted.predict_topk(unseen[0], 3)
    whole = fitted.decision_function(unseen[0])
    assert np.allclose(np.take_along_axis(whole, ids, 1), scores, atol=1e-4)
    assert np.allclose(-np.sort(-whole, axis=1)[:, :3], scores, atol=1e-4)


def test_probabilities_mean_something_on_unseen_rows(fitted, unseen):
    P, truth = fitted.predict_proba(unseen[0]), unseen[1].toarray()
    assert 0.75 < P.sum() / truth.sum() < 1.33
    assert truth[P > 0.8].mean() > 0.7


def test_explanations_add_up_to_the_score(fitted, unseen):
    x = unseen[0][[3]]
    ids, scores = fitted.predict_topk(x, 2)
    for label, score in zip(ids[0], scores[0], strict=True):
        why = fitted.explain(x, int(label))
        assert why.score == pytest.approx(float(score), abs=1e-4)
        assert why.contributions.sum() + why.rest == pytest.approx(why.score, abs=1e-4)


def test_labels_come_and_go(unseen):
    X, Y = slide.datasets.synthetic(**SIZES)
    clf = slide.SlideClassifier(hidden=(16,), epochs=1, n_threads=1, wide=slide.Rank()).fit(X, Y)
    before = clf.decision_function(unseen[0])
    clf.add_labels(5)
    assert np.isfinite(clf.decision_function(unseen[0])).all()
    assert not np.isin(clf.predict_topk(unseen[0], 1)[0], np.arange(80, 85)).any()
    clf.forget([0, 81])
    assert clf.n_labels_ == 83
    own = clf.network_.ranker.rows
    assert own.indptr.shape == (84,)
    assert before.shape == (400, 80)


def test_equal_seeds_give_equal_bits(unseen):
    X, Y = slide.datasets.synthetic(**SIZES)
    one, two = (
        slide.SlideClassifier(hidden=(16,), epochs=1, n_threads=1, wide=slide.Rank()).fit(X, Y) for _ in range(2)
    )
    rows = one.network_.ranker.rows
    assert np.array_equal(rows.weights, two.network_.ranker.rows.weights)
    assert np.array_equal(one.predict_topk(X, 3)[1], two.predict_topk(X, 3)[1])


def test_a_fifth_at_most_is_held_out():
    assert [int(held_for_calibration(n, 0).sum()) for n in (0, 4, 100, 3_000, 20_000, 10**6)] == [
        0,
        0,
        20,
        500,
        1_000,
        5_000,
    ]


@pytest.mark.parametrize("wrong", [{"n_negatives": 0}, {"C": 0.0}, {"prune": -1.0}, {"positive_weight": float("nan")}])
def test_options_that_make_no_sense_are_named(wrong):
    with pytest.raises(ValueError, match=f"Rank\\({next(iter(wrong))}="):
        Rank(**wrong)


def test_rows_that_come_later_move_their_labels() -> None:
    """partial_fit after a ranked fit: the labels of new rows come up, those that none of them moves stay."""
    X, Y = slide.datasets.synthetic(**SIZES)
    clf = slide.SlideClassifier(hidden=(16,), epochs=2, n_threads=1, wide=slide.Rank(n_negatives=5)).fit(X, Y)
    ranker = clf.network_.ranker
    assert ranker is not None
    new = X[:8], sp.csr_array(Y[:8][:, ::-1])  # the same rows with other labels
    before = slide.metrics.recall_at_k(new[1], clf.predict_topk(new[0], 10)[0], k=10)
    for _ in range(5):
        clf.partial_fit(*new)
    after = slide.metrics.recall_at_k(new[1], clf.predict_topk(new[0], 10)[0], k=10)
    assert after > before + 0.3
    again = clf.network_.ranker
    assert again is not None
    old, now = ranker.rows.matrix(), again.rows.matrix()
    untouched = np.flatnonzero(again.rows.bias == ranker.rows.bias)
    assert len(untouched) > 0
    assert (old[untouched] != now[untouched]).nnz == 0


def test_no_rows_change_nothing() -> None:
    X, Y = slide.datasets.synthetic(**SIZES)
    clf = slide.SlideClassifier(hidden=(16,), epochs=1, n_threads=1, wide=slide.Rank()).fit(X, Y)
    before = clf.network_.ranker
    update_ranker(clf.network_, sp.csr_array((0, X.shape[1]), dtype=np.float32), sp.csr_array((0, Y.shape[1])))
    assert clf.network_.ranker is before


def test_older_readers_refuse_a_ranked_model(fitted, tmp_path, capsys):
    """They would predict by the network alone without a word, so the format version is one that they do not know."""
    fitted.save(tmp_path / "m.slide")
    assert main(["info", str(tmp_path / "m.slide"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert shown["format_version"] == 4
    assert shown["rank"].endswith("weights of sparse rows")
    assert str(fitted.plan_).startswith("sparse part: Rank(")
    assert "negatives a row" in str(fitted.plan_)
