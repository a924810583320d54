"""Metrics: cases worked out by hand, and brute force over dense matrices for everything Hypothesis thinks of."""

from __future__ import annotations

import doctest
import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from strategies import indicator, truth_and_top

from slide.metrics import (
    calibration,
    calibration_error,
    evaluate,
    inverse_propensity,
    label_report,
    labels,
    ndcg_at_k,
    pairs,
    precision_at_k,
    propensity,
    psndcg_at_k,
    psp_at_k,
    ranking,
    recall_at_k,
    reliability,
    summary,
    without_pairs,
    write_label_report,
)

Top = tuple[sp.csr_array, np.ndarray[Any, Any], int]

#: Rows with true labels {0, 2}, {1}, {} and {0, 1, 2, 3}; L = 5.
Y = sp.csr_array([[1, 0, 1, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 0]])
IDS = np.array([[2, 4, 0], [3, -1, 1], [0, 1, 2], [4, 0, -1]])
#: Hits:        1  0  1    0   0  1    0  0  0    0  1   0


def test_precision_by_hand() -> None:
    assert precision_at_k(Y, IDS, 1) == pytest.approx(1 / 4)
    assert precision_at_k(Y, IDS, 2) == pytest.approx(2 / 8)
    assert precision_at_k(Y, IDS, k=3) == pytest.approx(4 / 12)


def test_recall_by_hand() -> None:
    assert recall_at_k(Y, IDS, 1) == pytest.approx((1 / 2) / 4)
    assert recall_at_k(Y, IDS, 3) == pytest.approx((2 / 2 + 1 / 1 + 0 + 1 / 4) / 4)


def test_ndcg_by_hand() -> None:
    second, third = 1 / math.log2(3), 1 / math.log2(4)
    rows = [(1 + third) / (1 + second), third / 1, 0, second / (1 + second + third)]
    assert ndcg_at_k(Y, IDS, 3) == pytest.approx(sum(rows) / 4)
    assert ndcg_at_k(Y, IDS, 1) == pytest.approx(1 / 4)


def test_reliability_by_hand() -> None:
    p = np.array([[0.9, 0.2, 0.1], [0.7, 0, 0.3], [0.8, 0.1, 0], [0.5, 0.55, 0]])
    assert calibration_error(Y, IDS, p, n_bins=2) == pytest.approx(abs(0.9 + 0.7 + 0.8 + 0.5 - 1) / 4)
    low, high = reliability(Y, IDS, p, 3, n_bins=2)  # hits are said to be 0.9, 0.1, 0.3 and 0.55; two places are empty
    assert (low.low, low.high, low.n, high.n) == (0, 0.5, 5, 5)
    assert (low.said, low.true) == (pytest.approx(0.7 / 5), 2 / 5)
    assert (high.said, high.true) == (pytest.approx(3.45 / 5), 2 / 5)
    assert reliability(Y, np.full((4, 1), -1), np.zeros((4, 1))) == []
    assert calibration_error(Y, np.full((4, 1), -1), np.zeros((4, 1))) == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"probabilities": np.full((4, 3), 1.5)}, "probabilities: found 1.5, wanted 0 to 1"),
        ({"probabilities": np.full((4, 3), np.nan)}, "probabilities: found nan"),
        ({"probabilities": np.zeros((4, 2))}, r"probabilities: found shape \(4, 2\)"),
        ({"n_bins": 0}, "n_bins: found 0"),
        ({"n_bins": True}, "n_bins: found True"),
        ({"k": 4}, "k: found 4"),
    ],
)
def test_what_are_no_probabilities_is_refused(change: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        calibration_error(**{"Y_true": Y, "ids": IDS, "probabilities": np.zeros((4, 3)), **change})


def test_label_report_by_hand() -> None:
    """True {0, 2}, {1}, {}, {0, 1, 2, 3}; predicted {2, 4}, {3}, {0, 1}, {4, 0}."""
    said = [[2, 4], [3, -1], [0, 1], [4, 0]]
    found = {q.label: q for q in label_report(Y, said, thresholds=[0.5, 0.4, 0.3, 0.2, 0.1])}
    assert list(found) == [0, 1, 2, 3, 4]  # by support, then by predictions
    assert [(q.support, q.predicted, q.right) for q in found.values()] == [
        *((2, 2, 1), (2, 1, 0), (2, 1, 1), (1, 1, 0), (0, 2, 0))
    ]
    assert (found[0].precision, found[0].recall, found[0].f1, found[0].threshold) == (0.5, 0.5, 0.5, 0.5)
    assert math.isnan(found[4].recall)
    assert (found[0].confused_with, found[0].confused) == (4, 1)
    assert (found[1].confused_with, found[1].confused) == (3, 1)  # and 4, as often
    assert found[4].confused_with is None
    assert [tuple(q)[:4] for q in label_report(Y, said)] == [tuple(q)[:4] for q in found.values()]
    with pytest.raises(ValueError, match="thresholds: found shape"):
        label_report(Y, said, thresholds=np.zeros(6))


@given(truth_and_top())
def test_label_report_counts_what_is_there(given_: Top) -> None:
    Y_true, ids, _ = given_
    n, L = Y_true.shape
    said = np.zeros((n, L), bool)
    for row, label in zip(*np.nonzero(ids >= 0), strict=True):
        said[row, ids[row, label]] = True
    true = Y_true.toarray() != 0
    found = {q.label: q for q in label_report(Y_true, ids)}
    for form in (sp.csr_array(said), [np.flatnonzero(row).tolist() for row in said]):
        if not said.any() or (isinstance(form, list) and not n):
            continue
        again = label_report(Y_true, form, labels=range(L)) if isinstance(form, list) else label_report(Y_true, form)
        assert {q.label: q[:4] for q in again} == {label: q[:4] for label, q in found.items()}
    for label in range(L):
        counts = int(true[:, label].sum()), int(said[:, label].sum()), int((true & said)[:, label].sum())
        assert (tuple(found[label][1:4]) if label in found else (0, 0, 0)) == counts
        missed = true[:, label] & ~said[:, label]
        instead = (said & ~true)[missed].sum(axis=0)
        if label in found:
            assert found[label].confused == instead.max(initial=0)


def test_a_label_report_is_written_as_csv() -> None:
    file = io.StringIO()
    write_label_report(file, label_report([["a"], ["b"], ["b"]], [["b"], ["b"], []]))
    head, *lines = file.getvalue().splitlines()
    assert head == "label,support,predicted,right,precision,recall,f1,threshold,confused_with,confused"
    assert lines == ["b,2,2,1,0.5,0.5,0.5,,,0", "a,1,0,0,,0,0,,b,1"]


def test_psp_by_hand() -> None:
    weights = [1.0, 2.0, 4.0, 8.0, 16.0]
    assert psp_at_k(Y, IDS, weights, 1) == pytest.approx(4 / (4 + 2 + 8))
    assert psp_at_k(Y, IDS, weights, k=2) == pytest.approx((4 + 0 + 1) / ((4 + 1) + 2 + (8 + 4)))
    assert psp_at_k(Y, IDS, weights, k=3) == pytest.approx((5 + 2 + 1) / (5 + 2 + 14))


def test_psndcg_by_hand() -> None:
    weights = [1.0, 2.0, 4.0, 8.0, 16.0]
    second, third = 1 / math.log2(3), 1 / math.log2(4)
    two, three = 1 + second, 1 + second + third
    assert psndcg_at_k(Y, IDS, weights, 1) == psp_at_k(Y, IDS, weights, 1) == pytest.approx(4 / (4 + 2 + 8))
    gained = (4 + third) / two + 2 * third / 1 + 0 + second / three
    best = (4 + second) / two + 2 / 1 + 0 + (8 + 4 * second + 2 * third) / three
    assert psndcg_at_k(Y, IDS, weights, k=3) == pytest.approx(gained / best)
    assert psndcg_at_k(Y, [[2, 0], [1, -1], [0, 1], [3, 2]], weights, k=2) == 1
    assert psndcg_at_k(Y, [[0, 2], [1, -1], [0, 1], [2, 3]], weights, k=2) < 1


def test_psndcg_of_equal_weights_is_ndcg_over_rows_with_labels() -> None:
    assert psndcg_at_k(Y, IDS, np.full(5, 3.0), k=2) == pytest.approx(ndcg_at_k(Y, IDS, k=2) * 4 / 3)
    Y_train = sp.csr_array(np.eye(7, 5))
    assert psndcg_at_k(Y, IDS, Y_train=Y_train, k=2) == psndcg_at_k(Y, IDS, inverse_propensity(Y_train), 2)


# -- pairs that are left out -------------------------------------------------------------------------------------------


def test_pairs_are_neither_true_nor_predicted() -> None:
    pairs = [[0, 2], [1, 3], [1, 4], [3, 0]]
    truth, ids = without_pairs(Y, IDS, pairs)
    assert ids.tolist() == [[4, 0, -1], [-1, 1, -1], [0, 1, 2], [4, -1, -1]]
    assert truth.toarray().tolist() == [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0] * 5, [0, 1, 1, 1, 0]]
    assert recall_at_k(truth, ids, k=2) == pytest.approx((1 + 1 + 0 + 0) / 4)
    assert evaluate(Y, IDS, Y, (2,), filter_labels=pairs) == evaluate(truth, ids, Y, (2,))
    np.testing.assert_array_equal(IDS[0], [2, 4, 0])


@pytest.mark.parametrize("none", [[], np.zeros((0, 2), int)])
def test_no_pairs_leave_everything_as_it_is(none: Any) -> None:
    truth, ids = without_pairs(Y, IDS, none)
    np.testing.assert_array_equal(ids, IDS)
    np.testing.assert_array_equal(truth.toarray(), Y.toarray())


@given(truth_and_top(), st.data())
def test_pairs_against_brute_force(given_top: Top, data: st.DataObject) -> None:
    truth, ids, _ = given_top
    n, L = truth.shape
    pairs = data.draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, L - 1)), max_size=8))
    dense, expected = truth.toarray(), []
    for row, label in pairs:
        dense[row, label] = 0
    for row, predicted in enumerate(ids.tolist()):
        kept = [i for i in predicted if (row, i) not in pairs]
        expected.append(kept + [-1] * (len(predicted) - len(kept)))
    found = without_pairs(truth, ids, pairs)
    np.testing.assert_array_equal(found[0].toarray(), dense)
    assert found[1].tolist() == expected


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        ([[0, 5]], "found row 0 and label 5, wanted rows under 4 and labels under 5"),
        ([[0, 0], [4, 0]], "found row 4 and label 0"),
        ([[-1, 0]], "found row -1"),
        ([[0, 1, 2]], r"found shape \(1, 3\)"),
        ([[0.5, 1]], "dtype float64"),
        ("filter_labels.txt", "wanted whole numbers"),
    ],
)
def test_pairs_that_make_no_sense(pairs: Any, told: str) -> None:
    with pytest.raises(ValueError, match=f"pairs: .*{told}"):
        without_pairs(Y, IDS, pairs)


def test_inverse_propensity_by_the_formula() -> None:
    Y_train = sp.csr_array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0]])
    C = (math.log(4) - 1) * 2.5**0.55
    expected = [1 + C * (count + 1.5) ** -0.55 for count in (3, 1, 0)]
    np.testing.assert_allclose(inverse_propensity(Y_train), expected, rtol=1e-12)
    C = (math.log(4) - 1) * 3.6**0.6
    np.testing.assert_allclose(inverse_propensity(Y_train, A=0.6, B=2.6)[0], 1 + C * 5.6**-0.6, rtol=1e-12)
    # The paper writes the propensity itself, p = 1 / (1 + C exp(-A log(N_l + B))).
    p = 1 / (1 + (math.log(4) - 1) * 2.5**0.55 * math.exp(-0.55 * math.log(3 + 1.5)))
    assert inverse_propensity(Y_train)[0] == pytest.approx(1 / p)


def test_inverse_propensity_of_very_few_rows_is_one() -> None:
    assert inverse_propensity(sp.csr_array([[1, 0], [0, 0]])).tolist() == [1, 1]


def test_psp_takes_training_labels() -> None:
    Y_train = sp.csr_array(np.eye(7, 5))
    assert psp_at_k(Y, IDS, Y_train=Y_train, k=2, A=0.6, B=2.6) == pytest.approx(
        psp_at_k(Y, IDS, inverse_propensity(Y_train, 0.6, 2.6), 2)
    )


def test_perfect_predictions_score_one() -> None:
    truth = sp.csr_array([[1, 1, 0], [0, 1, 1]])
    scores = evaluate(truth, [[1, 0], [1, 2]], Y_train=truth, ks=(2,))
    assert scores == pytest.approx({"p@2": 1, "ndcg@2": 1, "recall@2": 1, "psp@2": 1, "psndcg@2": 1})


def test_rare_labels_count_more() -> None:
    Y_train = sp.csr_array([[1, 0], [1, 0], [1, 0], [1, 1]])
    truth = sp.csr_array([[1, 1]])
    assert psp_at_k(truth, [[1]], Y_train=Y_train, k=1) == 1
    assert psp_at_k(truth, [[0]], Y_train=Y_train, k=1) < 1


def test_nothing_to_find_scores_zero() -> None:
    scores = evaluate(sp.csr_array((2, 3)), [[0], [1]], Y_train=sp.csr_array(np.eye(3)), ks=(1,))
    assert set(scores.values()) == {0.0}


# -- brute force -------------------------------------------------------------------------------------------------------


def brute(truth: sp.csr_array, ids: np.ndarray[Any, Any], k: int, weights: list[float]) -> list[float]:
    """Precision, nDCG, recall, PSP, PSnDCG, row by row in plain Python."""
    precision = ndcg = recall = gained = best = discounted = most = 0.0
    for row, predicted in zip(truth.toarray(), ids, strict=True):
        true = {i for i, value in enumerate(row) if value}
        hits = [int(i) in true for i in predicted[:k]]
        precision += sum(hits) / k
        if true:
            recall += sum(hits) / len(true)
            ideal = sum(1 / math.log2(r + 2) for r in range(min(k, len(true))))
            ndcg += sum(1 / math.log2(r + 2) for r, hit in enumerate(hits) if hit) / ideal
            discounted += sum(weights[predicted[r]] / math.log2(r + 2) for r, hit in enumerate(hits) if hit) / ideal
            heaviest = sorted((weights[i] for i in true), reverse=True)[:k]
            most += sum(weight / math.log2(r + 2) for r, weight in enumerate(heaviest)) / ideal
        gained += sum(weights[i] for i, hit in zip(predicted[:k], hits, strict=True) if hit)
        best += sum(sorted((weights[i] for i in true), reverse=True)[:k])
    n = len(ids)
    weighted = [gained / best, discounted / most] if best else [0.0, 0.0]
    return [precision / n, ndcg / n, recall / n, *weighted]


@given(truth_and_top(), st.lists(st.floats(0.1, 100), min_size=9, max_size=9))
def test_against_brute_force(given_top: Top, weights: list[float]) -> None:
    truth, ids, k = given_top
    weights = weights[: truth.shape[1]]
    found = [
        precision_at_k(truth, ids, k),
        ndcg_at_k(truth, ids, k),
        recall_at_k(truth, ids, k),
        psp_at_k(truth, ids, weights, k),
        psndcg_at_k(truth, ids, weights, k),
    ]
    np.testing.assert_allclose(found, brute(truth, ids, k, weights), rtol=1e-12, atol=1e-15)
    assert all(0 <= value <= 1 + 1e-12 for value in found)


@given(truth_and_top(), st.data())
def test_evaluate_gathers_the_functions(given_top: Top, data: st.DataObject) -> None:
    truth, ids, k = given_top
    Y_train = data.draw(indicator(st.integers(1, 9), st.just(truth.shape[1])))
    ks = sorted({1, k})
    scores = evaluate(truth, ids, Y_train, ks)
    functions: dict[str, Callable[..., Any]] = {
        "p": precision_at_k,
        "ndcg": ndcg_at_k,
        "recall": recall_at_k,
        "psp": lambda *a, **b: psp_at_k(*a, Y_train=Y_train, **b),
        "psndcg": lambda *a, **b: psndcg_at_k(*a, Y_train=Y_train, **b),
    }
    assert set(scores) == {f"{name}@{k}" for name in functions for k in ks}
    for name, function in functions.items():
        several = function(truth, ids, k=ks)
        assert several.shape == (len(ks),)
        for k, value in zip(ks, several, strict=True):
            assert scores[f"{name}@{k}"] == pytest.approx(value)
            assert function(truth, ids, k=k) == pytest.approx(value)
    assert not any(name.startswith("ps") for name in evaluate(truth, ids, ks=ks))
    assert all(type(value) is float for value in scores.values())


def test_no_dense_matrix_is_made() -> None:
    """A million rows and labels would be a terabyte."""
    n = 1_000_000
    truth = sp.csr_array((np.ones(n), (np.arange(n), np.arange(n))), shape=(n, n))
    ids = np.stack([np.arange(n) + 1, np.arange(n)], axis=1) % n
    assert evaluate(truth, ids, truth, ks=(1, 2)) == pytest.approx(
        {"p@1": 0, "p@2": 0.5, "ndcg@1": 0, "ndcg@2": 1 / math.log2(3), "recall@1": 0, "recall@2": 1}
        | {"psp@1": 0, "psp@2": 1, "psndcg@1": 0, "psndcg@2": 1 / math.log2(3)}
    )


def test_input_is_left_alone_and_need_not_be_canonical() -> None:
    truth = sp.csr_array((np.ones(4), np.array([3, 0, 0, 1]), np.array([0, 2, 4])), shape=(2, 4))
    before = truth.indices.tolist(), truth.data.tolist()
    assert precision_at_k(truth, np.array([[0, 3], [2, 1]], np.uint8), 2) == 0.75
    assert (truth.indices.tolist(), truth.data.tolist()) == before
    explicit_zero = sp.csr_array((np.array([0.0, 1.0]), np.array([0, 1]), np.array([0, 2])), shape=(1, 2))
    assert precision_at_k(explicit_zero, [[0]], 1) == 0
    assert precision_at_k(np.array([[True, False]]), [[0]], 1) == 1


def weighted_alike(truth: Any, ids: Any, k: Any) -> Any:
    return psp_at_k(truth, ids, np.ones(5), k)


BAD = {
    "one dimension": (Y, [1, 2], 1, r"found 4 and 2 rows"),
    "rows": (Y, IDS[:2], 1, r"found 4 and 2 rows"),
    "no rows": (Y[:0], IDS[:0], 1, r"found no rows"),
    "floats": (Y, IDS * 1.0, 1, r"ids: found dtype float64"),
    "k zero": (Y, IDS, 0, r"k: found 0, wanted a whole number, 1 to 3"),
    "k too large": (Y, IDS, 4, r"k: found 4, wanted a whole number, 1 to 3"),
    "k a float": (Y, IDS, 1.0, r"k: found 1\.0"),
    "k a bool": (Y, IDS, True, r"k: found True"),
    "no k": (Y, IDS, [], r"k: found none"),
    "one k of several": (Y, IDS, [1, 5], r"k: found 5"),
    "label too large": (Y, np.where(IDS == 4, 5, IDS), 1, r"ids: found 5 in row 0, wanted 0 to 4, or -1"),
    "label negative": (Y, np.where(IDS == -1, -2, IDS), 1, r"ids: found -2 in row 1"),
    "twice": (Y, [[0, 1], [2, 2], [0, 1], [0, 1]], 1, r"ids: found label 2 twice in row 1"),
    "dense truth of one dimension": ([1, 0], IDS, 1, r"found 2 and 4 rows"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("metric", [precision_at_k, ndcg_at_k, recall_at_k, weighted_alike])
def test_bad_arguments(metric: Callable[..., Any], case: str) -> None:
    truth, ids, k, words = BAD[case]
    with pytest.raises(ValueError, match=words):
        metric(truth, ids, k)


def test_bad_propensities() -> None:
    with pytest.raises(ValueError, match="found neither, wanted one"):
        psp_at_k(Y, IDS, k=1)
    with pytest.raises(ValueError, match="found both, wanted one"):
        psp_at_k(Y, IDS, np.ones(5), 1, Y_train=Y)
    with pytest.raises(ValueError, match=r"found shape \(4,\), wanted \(5,\)"):
        psp_at_k(Y, IDS, np.ones(4), 1)
    with pytest.raises(ValueError, match="not finite and positive"):
        psp_at_k(Y, IDS, [1, 1, 0, 1, 1], 1)
    with pytest.raises(ValueError, match="A: found 0, wanted a positive number"):
        inverse_propensity(Y, A=0)
    with pytest.raises(ValueError, match="B: found nan"):
        inverse_propensity(Y, B=float("nan"))
    with pytest.raises(ValueError, match="found no rows"):
        inverse_propensity(Y[:0])


def test_examples_in_the_documentation() -> None:
    for module in (ranking, propensity, summary, pairs, calibration, labels):
        tried = doctest.testmod(module)
        assert tried.attempted > 0
        assert tried.failed == 0


def test_label_0_twice_is_refused_as_any_other() -> None:
    Y = sp.csr_array(np.ones((1, 3), np.float32))
    with pytest.raises(ValueError, match="found label 0 twice"):
        precision_at_k(Y, np.array([[0, 0]]), k=2)
