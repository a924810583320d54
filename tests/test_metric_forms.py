"""Every metric on every form of truth and of predictions: the values are those of the plain indicator and its ids."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp

from slide import metrics

POLARS = importlib.util.find_spec("polars") is not None
NAMES = ["ant", "bee", "cow", "dog", "eel"]
DENSE = np.array([[1, 0, 1, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 0, 1, 0]])
TRAIN = np.array([[1, 0, 0, 0, 0], [1, 1, 0, 0, 1], [1, 0, 1, 0, 0], [0, 1, 0, 1, 0], [1, 1, 1, 1, 1]])
IDS = np.array([[2, 4, 0], [3, 0, 1], [0, 1, 2], [4, 0, -1]])
RANKS = np.array([[3.0, 2, 1], [3.0, 2, 1], [3.0, 2, 1], [3.0, 2, -np.inf]])
PAIRS = np.array([[0, 4], [3, 0]])


def named(ids: np.ndarray[Any, Any]) -> list[list[str]]:
    return [[NAMES[i] for i in row if i >= 0] for row in ids.tolist()]


def lists(Y: np.ndarray[Any, Any]) -> list[list[str]]:
    return [[NAMES[i] for i in np.flatnonzero(row)] for row in Y]


def objects(rows: list[Any]) -> np.ndarray[Any, Any]:
    array = np.empty(len(rows), object)
    array[:] = rows
    return array


def scores() -> np.ndarray[Any, Any]:
    matrix = np.full((4, 5), -np.inf)
    for row, column in np.argwhere(IDS >= 0):
        matrix[row, IDS[row, column]] = RANKS[row, column]
    return matrix


def sparse_scores() -> sp.csr_array:
    matrix = scores()
    there = np.isfinite(matrix)
    return sp.csr_array((matrix[there], np.nonzero(there)), shape=matrix.shape)


def backwards(Y: np.ndarray[Any, Any]) -> pd.DataFrame:
    return pd.DataFrame(Y, columns=NAMES).iloc[:, ::-1]


def polars(make: Callable[[Any], Any]) -> Any:
    if not POLARS:
        pytest.skip("polars is not installed")
    import polars as pl

    return make(pl)


#: Forms of truth (and training labels) whose columns have no names, and those that have.
COLUMNS: dict[str, Callable[[Any], Any]] = {
    "sparse": sp.csr_array,
    "csc": sp.csc_array,
    "dense": lambda Y: Y,
    "bool": lambda Y: Y.astype(bool),
    "rows": lambda Y: Y.tolist(),
    "frame without names": pd.DataFrame,
}
BY_NAME: dict[str, Callable[[Any], Any]] = {
    "lists": lists,
    "tuples": lambda Y: tuple(map(tuple, lists(Y))),
    "sets": lambda Y: list(map(set, lists(Y))),
    "array of lists": lambda Y: objects(lists(Y)),
    "series of lists": lambda Y: pd.Series(lists(Y)),
    "arrow lists": lambda Y: pa.array(lists(Y)),
    "arrow column": lambda Y: pa.table({"tags": lists(Y)}),
    "frame of lists": lambda Y: pd.DataFrame({"tags": lists(Y)}),
    "polars lists": lambda Y: polars(lambda pl: pl.Series(lists(Y))),
    "frame": backwards,
    "nullable frame": lambda Y: backwards(Y).astype("Int8"),
    "sparse frame": lambda Y: backwards(Y).astype(pd.SparseDtype(int, 0)),
    "arrow table": lambda Y: pa.table(backwards(Y)),
    "polars frame": lambda Y: polars(lambda pl: pl.DataFrame({n: Y[:, i] for i, n in enumerate(NAMES)})),
}
#: Forms of predictions: columns, or names.
AS_COLUMNS: dict[str, Callable[[], Any]] = {
    "ids": lambda: IDS,
    "unsigned": lambda: np.where(IDS < 0, 3, IDS).astype(np.uint8),  # label 3 in place of none: a row more to find
    "ids and scores": lambda: (IDS.astype(np.int32), RANKS.astype(np.float32)),
    "ids and scores, worst first": lambda: (IDS[:, ::-1], RANKS[:, ::-1]),
    "lists of ids": lambda: [[i for i in row if i >= 0] for row in IDS.tolist()],
    "score matrix": scores,
    "nan scores": lambda: np.where(np.isfinite(scores()), scores(), np.nan),
    "sparse scores": sparse_scores,
    "frame of ids": lambda: pd.DataFrame(IDS, columns=["first", "second", "third"]),
}
AS_NAMES: dict[str, Callable[[], Any]] = {
    "ranked names": lambda: named(IDS),
    "array of names": lambda: np.append(np.array(NAMES, object), None)[IDS],
    "names and scores": lambda: (np.append(np.array(NAMES, object), None)[IDS], RANKS),
    "pairs": lambda: [[(n, -i) for i, n in enumerate(row)][::-1] for row in named(IDS)],
    "dicts": lambda: [{n: -i for i, n in reversed(list(enumerate(row)))} for row in named(IDS)],
    "series of lists": lambda: pd.Series(named(IDS)),
    "arrow lists": lambda: pa.array(named(IDS)),
    "polars lists": lambda: polars(lambda pl: pl.Series(named(IDS))),
    "frame of names": lambda: pd.DataFrame(
        np.append(np.array(NAMES, object), None)[IDS], columns=["1st", "2nd", "3rd"]
    ),
    "score frame": lambda: pd.DataFrame(scores(), columns=NAMES).iloc[:, ::-1],
    "arrow scores": lambda: pa.table(pd.DataFrame(scores(), columns=NAMES)),
    "polars scores": lambda: polars(lambda pl: pl.DataFrame({n: scores()[:, i] for i, n in enumerate(NAMES)})),
}

Metric = Callable[..., Any]
METRICS: dict[str, Metric] = {
    "precision": lambda Y, ids, train, **o: metrics.precision_at_k(Y, ids, [1, 2, 3], **o),
    "ndcg": lambda Y, ids, train, **o: metrics.ndcg_at_k(Y, ids, [1, 2, 3], **o),
    "recall": lambda Y, ids, train, **o: metrics.recall_at_k(Y, ids, [1, 2, 3], **o),
    "psp": lambda Y, ids, train, **o: metrics.psp_at_k(Y, ids, k=[1, 2, 3], Y_train=train, **o),
    "psndcg": lambda Y, ids, train, **o: metrics.psndcg_at_k(Y, ids, k=[1, 2, 3], Y_train=train, **o),
    "evaluate": lambda Y, ids, train, **o: list(metrics.evaluate(Y, ids, train, (1, 3), **o).values()),
    "by_frequency": lambda Y, ids, train, **o: metrics.by_frequency(Y, ids, train, 3, (1, 3, 5), **o),
}


def plain(metric: Metric, ids: Any = IDS) -> Any:
    return metric(sp.csr_array(DENSE), ids, sp.csr_array(TRAIN))


@pytest.mark.parametrize("form", [*COLUMNS, *BY_NAME])
@pytest.mark.parametrize("metric", METRICS)
def test_truth(metric: str, form: str) -> None:
    make = {**COLUMNS, **BY_NAME}[form]
    predicted, options = (IDS, {}) if form in COLUMNS else (named(IDS), {})
    found = METRICS[metric](make(DENSE), predicted, make(TRAIN), **options)
    np.testing.assert_allclose(found, plain(METRICS[metric]), rtol=1e-12)
    found = METRICS[metric](make(DENSE), IDS, make(TRAIN), labels=NAMES)  # which are columns of these
    np.testing.assert_allclose(found, plain(METRICS[metric]), rtol=1e-12)


@pytest.mark.parametrize("form", [*AS_COLUMNS, *AS_NAMES])
@pytest.mark.parametrize("metric", METRICS)
def test_predictions(metric: str, form: str) -> None:
    predicted = {**AS_COLUMNS, **AS_NAMES}[form]()
    ids = predicted.astype(np.int64) if form == "unsigned" else IDS
    truth = (DENSE, TRAIN) if form in AS_COLUMNS else (lists(DENSE), lists(TRAIN))
    found = METRICS[metric](truth[0], predicted, truth[1])
    np.testing.assert_allclose(found, plain(METRICS[metric], ids), rtol=1e-12)
    found = METRICS[metric](lists(DENSE), predicted, backwards(TRAIN), labels=NAMES)
    np.testing.assert_allclose(found, plain(METRICS[metric], ids), rtol=1e-12)


@pytest.mark.parametrize("form", [*COLUMNS, *BY_NAME])
def test_what_comes_of_labels_alone(form: str) -> None:
    make = {**COLUMNS, **BY_NAME}[form]
    weights = metrics.inverse_propensity(sp.csr_array(TRAIN))
    np.testing.assert_allclose(metrics.inverse_propensity(make(TRAIN), labels=NAMES), weights, rtol=1e-12)
    in_order = (
        weights[::-1]
        if isinstance(make(TRAIN), pd.DataFrame | pa.Table) and form in BY_NAME and "tags" not in str(make(TRAIN))
        else weights
    )
    if form != "polars frame":
        np.testing.assert_allclose(metrics.inverse_propensity(make(TRAIN)), in_order, rtol=1e-12)
    expected = metrics.psp_at_k(DENSE, IDS, weights, 3)
    assert metrics.psp_at_k(make(DENSE), IDS, weights, 3, labels=NAMES) == pytest.approx(expected)


@pytest.mark.parametrize("form", [*COLUMNS, *BY_NAME])
def test_pairs(form: str) -> None:
    make = {**COLUMNS, **BY_NAME}[form]
    truth, ids = metrics.without_pairs(sp.csr_array(DENSE), IDS, PAIRS)
    pairs = PAIRS if form in COLUMNS else [(row, NAMES[i]) for row, i in PAIRS]
    labels = {} if form in COLUMNS else {"labels": NAMES}
    found = metrics.without_pairs(make(DENSE), IDS if form in COLUMNS else named(IDS), pairs, **labels)
    np.testing.assert_array_equal(found[0].toarray(), truth.toarray())
    np.testing.assert_array_equal(found[1], ids)
    expected = metrics.evaluate(DENSE, IDS, TRAIN, (1, 2), filter_labels=PAIRS)
    predicted = IDS if form in COLUMNS else named(IDS)
    assert metrics.evaluate(make(DENSE), predicted, make(TRAIN), (1, 2), filter_labels=pairs) == pytest.approx(expected)


@pytest.mark.parametrize("metric", [name for name in METRICS if name != "by_frequency"])
def test_a_weight_of_two_is_the_row_twice(metric: str) -> None:
    twice = [0, 1, 1, 3]
    expected = METRICS[metric](DENSE[twice], IDS[twice], TRAIN)
    for weights in ([1, 2, 0, 1], np.array([0.5, 1, 0, 0.5]), pd.Series([1, 2, 0, 1])):
        np.testing.assert_allclose(METRICS[metric](DENSE, IDS, TRAIN, sample_weight=weights), expected, rtol=1e-12)
    for weights, told in [([1, 2], r"shape \(2,\)"), ([1, 2, -1, 0], "-1.0 in row 2"), ([0] * 4, "zero for every row")]:
        with pytest.raises(ValueError, match=f"sample_weight: found .*{told}"):
            METRICS[metric](DENSE, IDS, TRAIN, sample_weight=weights)


# -- one label a row, and labels of other types ------------------------------------------------------------------------


@pytest.mark.parametrize("make", [list, np.array, pd.Series, pa.array, lambda v: pd.DataFrame({"label": v})])
def test_one_label_a_row(make: Callable[[Any], Any]) -> None:
    for true, best in [(["a", "b", "c", "a"], ["a", "c", "c", "b"]), ([7, -1, 9, 7], [7, 9, 9, -1])]:
        assert metrics.precision_at_k(make(true), make(best), k=1) == 0.5
        assert metrics.evaluate(make(true), make(best), make(true), ks=[1])["recall@1"] == 0.5
    proba = np.array([[0.9, 0.1, 0], [0, 0.2, 0.8], [0.3, 0.3, 0.4], [0.5, 0.4, 0.1]])
    assert metrics.recall_at_k(make([0, 1, 2, 0]), proba, k=[1, 2]).tolist() == [0.75, 1]
    assert metrics.precision_at_k(make(["a", "b", "c", "a"]), proba, k=1, labels=["a", "b", "c"]) == 0.75


def test_indicators_as_predictions() -> None:
    """What is 0 is not predicted, so it is nothing that is wrong, and nothing that is found."""
    predicted = np.array([[0, 0, 1, 0, 1], [1, 0, 0, 1, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]])
    for form in (predicted, predicted.astype(bool), predicted.astype(np.float32), sp.csr_array(predicted)):
        assert metrics.recall_at_k(DENSE, form, k=5) == pytest.approx((1 / 2 + 0 + 0 + 1 / 3) / 4)
    assert metrics.recall_at_k(lists(DENSE), backwards(predicted), k=5) == pytest.approx((1 / 2 + 1 / 3) / 4)


def test_numbers_and_their_text_are_one() -> None:
    assert metrics.precision_at_k([["10", "20"], ["30"]], [[10], [20]], k=1) == 0.5
    dates = np.array(["2024-01-01", "2024-01-02"], "M8[D]")
    assert metrics.precision_at_k(dates, dates[::-1], k=1) == 0
    assert metrics.precision_at_k(dates, pd.Series(dates), k=1) == 1


# -- unknown labels ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("truth", "predicted", "options"),
    [
        ([["ant"], ["owl"]], [[0], [1]], {"labels": NAMES}),
        (pd.DataFrame({"ant": [1, 0], "owl": [0, 1]}), [["ant"], ["bee"]], {"labels": NAMES}),
        ([["ant"], ["owl"]], pd.DataFrame([[1.0, 0], [0, 1]], columns=["ant", "bee"]), {}),
        ([[0], [7]], np.array([[0.9, 0.1], [0.1, 0.9]]), {}),
        ([["ant"], ["owl"]], [["ant"], ["bee"]], {"Y_train": [["ant"], ["bee"], ["bee"]]}),
    ],
)
def test_unknown_labels_are_missed_and_said(truth: Any, predicted: Any, options: Any) -> None:
    with pytest.warns(UserWarning, match=r"found a label that is unknown to what predicted, .* in 1 of 2 rows"):
        found = metrics.evaluate(truth, predicted, ks=[1], **options)
    assert (found["p@1"], found["recall@1"]) == (0.5, 0.5)


def test_unknown_labels_weigh_as_the_rarest() -> None:
    with pytest.warns(UserWarning, match="counted as missed"):
        found = metrics.psp_at_k([["ant"], ["owl"]], [["ant"], ["bee"]], [1.0, 3.0], k=1, labels=["ant", "bee"])
    assert found == 1 / (1 + 3)
    train = [["ant"], ["ant"], ["ant"], ["bee"], ["bee"]]
    weights = metrics.inverse_propensity(train, labels=["ant", "bee", "owl"])
    with pytest.warns(UserWarning, match="counted as missed"):
        found = metrics.psp_at_k([["ant"], ["owl"]], [["ant"], ["bee"]], Y_train=train, k=1)
    assert found == pytest.approx(weights[0] / (weights[0] + weights[2]))


def test_a_prediction_that_no_row_has_is_wrong_and_no_news() -> None:
    assert metrics.precision_at_k([["ant"], ["bee"]], [["ant", "owl"], ["fox", "bee"]], k=2) == 0.5


@pytest.mark.parametrize(
    ("truth", "predicted", "options", "told"),
    [
        (lists(DENSE), IDS, {}, "ids: found labels that are numbers, .* wanted text as in Y_true .labels= says"),
        (DENSE, named(IDS), {}, "ids: found names, like 'cow', wanted numbers of the 5 columns of Y_true: labels="),
        (DENSE, scores()[:, :4], {}, "ids: found dtype float64 and 4 columns, wanted whole numbers"),
        (DENSE, IDS, {"labels": NAMES[:4]}, "Y_true: found '5 columns', wanted 4 as in labels"),
        (DENSE, pd.DataFrame(scores(), columns=NAMES), {}, "Y_true: found an indicator without names"),
        (lists(DENSE), [["ant", "ant"]] * 4, {}, "found label 'ant' twice in row 0"),
        (lists(DENSE), [{"ant"}] * 4, {}, "ids: found set in row 0, wanted labels in an order"),
        (lists(DENSE), "ant", {}, "ids: found str, wanted labels for each row"),
        (lists(DENSE), named(IDS)[:2], {}, "found 4 and 2 rows"),
        (DENSE, IDS + 3, {"labels": NAMES}, "wanted 0 to 4, or -1 for none"),
        ([], [], {}, "found no rows"),
    ],
)
def test_what_makes_no_sense(truth: Any, predicted: Any, options: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        metrics.precision_at_k(truth, predicted, k=1, **options)


def test_lists_may_be_shorter_than_k() -> None:
    assert metrics.precision_at_k(lists(DENSE), [["cow"], [], None, ["ant", "dog"]], k=4) == pytest.approx(3 / 16)
    assert metrics.precision_at_k([[0], [1]], [[0], [2]], k=3) == pytest.approx(1 / 6)
