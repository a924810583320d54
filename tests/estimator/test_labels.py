"""What y means: read in whatever it comes, refused where it is none of that, held to by name after the first fit."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp

import slide
from slide.estimator.labels import Labels
from slide.metrics import precision_at_k

NAMES = ["ant", "bee", "cow", "dog"]
X, Y = slide.datasets.synthetic(200, 60, 4, nnz=8, labels_per_row=1)
DENSE = Y.toarray().astype(np.int64)
FRAME = pd.DataFrame(DENSE, columns=NAMES)
BACKWARDS = FRAME[NAMES[::-1]]
RENAMED = FRAME.rename(columns={"dog": "eel"})


def classifier(**options: Any) -> slide.SlideClassifier:
    return slide.SlideClassifier(**{"hidden": (8,), "epochs": 3, "n_threads": 1} | options)


@pytest.fixture(scope="module")
def fitted() -> slide.SlideClassifier:
    """With columns by name."""
    return classifier().fit(X, FRAME)


# -- what is neither 0 nor 1 -------------------------------------------------------------------------------------------

WRONG = {
    "signs": (np.where(DENSE, 1, -1), "found -1 in row .* Y > 0"),
    "shares": (DENSE * 0.75, "found 0.75 in row .* Y > 0.5"),
    "counts": (DENSE * 3, "found 3 in row .* of counts"),
    "nearly 1": (DENSE * 0.9999999, "found 0.9999999 in row .* Y > 0.5"),
    "gaps": (np.where(DENSE, np.nan, 0), "found nan in row"),
    "bytes": ((DENSE * 255).astype(np.uint8), "found 255 in row"),
}
CONTAINERS: dict[str, Callable[[Any], Any]] = {
    "dense": np.asarray,
    "csr": sp.csr_matrix,
    "coo": sp.coo_array,
    "csc": sp.csc_array,
    "lil": sp.lil_matrix,
    "objects": lambda Y: Y.astype(object),
    "frame": lambda Y: pd.DataFrame(Y, columns=NAMES),
    "Arrow table": lambda Y: pa.table(dict(zip(NAMES, Y.T, strict=True))),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("container", CONTAINERS)
def test_values_of_an_indicator_are_0_or_1(wrong: str, container: str) -> None:
    values, told = WRONG[wrong]
    given = CONTAINERS[container](values)
    with pytest.raises(ValueError, match=f"Y: {told}"):
        Labels.of(given).encode(given)


def test_a_wrong_value_is_named_by_row_and_column() -> None:
    values = DENSE.copy()
    values[7, 2] = 2
    with pytest.raises(ValueError, match="found 2 in row 7, column 'cow', wanted 0 or 1"):
        classifier().fit(X, pd.DataFrame(values, columns=NAMES))
    with pytest.raises(ValueError, match="found 2 in row 7, column 2, wanted 0 or 1"):
        classifier().fit(X, sp.csc_matrix(values))


def test_no_verb_takes_signs_for_labels(fitted: slide.SlideClassifier) -> None:
    signs = np.where(DENSE, 1, -1)
    net = slide.Network([slide.SparseInput(60, 4), slide.Sampled(4, n_active=4, n_random=1)])
    calls: list[Callable[[], Any]] = [
        lambda: classifier().fit(X, signs),
        lambda: classifier().partial_fit(X, signs),
        lambda: classifier().fit_blocks([(X, sp.csr_array(signs))]),
        lambda: classifier().fit(X, Y, eval_set=(X, signs)),
        lambda: fitted.score(X, signs),
        lambda: net.fit(X, signs),
        lambda: net.fit(X, Y, eval_set=(X, signs)),
        lambda: precision_at_k(signs, np.zeros((200, 1), int), k=1),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="found -1 in row"):
            call()


@pytest.mark.parametrize("values", [np.where(DENSE, 1, -1), DENSE * 2, DENSE * 0.5])
def test_an_indicator_of_other_values_is_no_list_of_labels(values: Any) -> None:
    """Rows of -1 and 1 would be lists of two labels, of which each row has both."""
    with pytest.raises(ValueError, match="rows of one length"):
        Labels.of(values.tolist())


def test_rows_of_0_and_1_for_other_labels_are_refused() -> None:
    """By their number, where they name no label once: they raised StopIteration."""
    wanted = "Y: found rows of 3 numbers that are 0 or 1, wanted 5 as there are labels"
    rows, names = [[1, 0, 0], [0, 1, 0]], list("abcde")
    with pytest.raises(ValueError, match=wanted):
        slide.metrics.precision_at_k(rows, [[0], [1]], k=1, labels=names)
    for learn in (slide.SlideClassifier.fit, slide.SlideClassifier.partial_fit):
        with pytest.raises(ValueError, match=wanted):
            learn(slide.SlideClassifier(hidden=4, epochs=1), np.eye(2), rows, classes=names)


def test_complex_numbers_are_no_indicator() -> None:
    for given in (DENSE + 0j, (DENSE + 0j).astype(object), pd.DataFrame(DENSE + 0j)):
        with pytest.raises(ValueError, match=r"dtype complex|dtype object|found 0j"):
            Labels.of(given)


def test_names_of_columns_have_an_order() -> None:
    for classes in (set(NAMES), (name for name in NAMES)):
        with pytest.raises(ValueError, match=r"classes: found .* wanted"):
            Labels.of(Y, classes)
    assert Labels.of([["bee"], ["dog"]], frozenset(NAMES)).classes.tolist() == NAMES
    assert Labels.of(Y, dict.fromkeys(NAMES).keys()).classes.tolist() == NAMES
    with pytest.raises(ValueError, match="classes: found None as a label"):
        Labels.of(Y, ["ant", None, "cow", "dog"])


def test_numbers_that_are_labels_stay_lists_of_labels() -> None:
    assert Labels.of([[3, 0], [0, 2]]).classes.tolist() == [0, 2, 3]
    assert Labels.of([[-1], [1]]).classes.tolist() == [-1, 1]
    with pytest.raises(ValueError, match=r"continuous. y: found 0.5 as a label in row 1"):
        Labels.of([[1.0], [0.5, 2.0]])


def test_an_entry_that_is_stored_twice_counts_once() -> None:
    twice = sp.coo_array(([1.0, 1.0, 1.0, 0.0], ([0, 0, 1, 1], [2, 2, 0, 1])), shape=(2, 4))
    for given in (twice, sp.csr_array(([1, 1, 1], [2, 2, 0], [0, 2, 3]), shape=(2, 4))):
        Y = Labels.of(given).encode(given)
        assert Y.toarray().tolist() == [[0, 0, 1, 0], [1, 0, 0, 0]]
        assert Y.nnz == 2


def test_the_matrix_that_was_handed_in_stays_as_it_was() -> None:
    given = sp.csr_array(([1, 0, 1, 1], [2, 1, 2, 2], [0, 2, 4]), shape=(2, 4), dtype=np.float32)
    Labels.of(given).encode(given)
    assert given.data.tolist() == [1, 0, 1, 1]


# -- containers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["Int8", "boolean", "Float32", "UInt16", "bool[pyarrow]", "int8[pyarrow]", object])
def test_nullable_columns_are_an_indicator(dtype: Any) -> None:
    given = FRAME.astype(dtype)
    labels = Labels.of(given)
    assert labels.kind == "dense"
    assert labels.classes.tolist() == NAMES
    np.testing.assert_array_equal(labels.encode(given).toarray(), DENSE)


def test_frames_of_other_kinds_are_an_indicator() -> None:
    tables = [
        pa.table(dict(zip(NAMES, DENSE.T, strict=True))),
        pa.RecordBatch.from_pydict({n: pa.array(c.astype(bool)) for n, c in zip(NAMES, DENSE.T, strict=True)}),
        FRAME.astype({"ant": "bool", "bee": "Int8", "cow": "float32"}),
        FRAME.astype("Sparse[int8]"),
    ]
    kinds = []
    for given in tables:
        labels = Labels.of(given)
        kinds.append(labels.kind)
        assert labels.classes.tolist() == NAMES
        np.testing.assert_array_equal(labels.encode(given).toarray(), DENSE)
    assert kinds == ["dense", "dense", "dense", "sparse"]


def test_what_is_missing_is_named_by_its_place() -> None:
    gaps = FRAME.astype("Int8")
    gaps.iloc[3, 1] = pd.NA
    for given, told in [
        (gaps, "in row 3, column 'bee'"),
        (FRAME.astype({"bee": str}), "column 'bee': found '.' in row 0, wanted a number"),
        (pa.array(["a", None]), "found None as a label in row 1"),
        (pd.Series([1, None], dtype="Int8"), "nan in row 1"),
        (np.array(["2020-01-01", "NaT"], "M8[D]"), "found NaT in row 1"),
        (np.ma.array([1, 2], mask=[False, True]), "masked value in row 1"),
        ([["a"], "b"], "found 'b' in row 1, wanted a list"),
        (["b", ["a"]], r"found \['a'\] as a label in row 1"),
    ]:
        with pytest.raises(ValueError, match=told):
            Labels.of(given).encode(given)


CLASSES = np.array([1, 2, 2, 3])


@pytest.mark.parametrize(
    "y",
    [
        pd.Series(CLASSES, dtype="Int8"),
        pd.Series(CLASSES, dtype="Float32"),
        pd.array(CLASSES, dtype="Int64"),
        pd.Series(CLASSES, dtype="int64[pyarrow]"),
        pa.array(CLASSES),
        pa.chunked_array([CLASSES[:1], CLASSES[1:]]),
        pa.table({"y": CLASSES})["y"],
    ],
    ids=["Int8", "Float32", "array", "pandas of Arrow", "Arrow", "chunks", "column"],
)
def test_columns_of_numbers_are_classes(y: Any) -> None:
    labels = Labels.of(y)
    assert labels.classes.dtype.kind in "if"
    assert labels.classes.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(labels.encode(y).indices, CLASSES - 1)


def test_columns_of_bools_and_text_are_classes() -> None:
    for y in (pd.Series([True, False], dtype="boolean"), pa.array([True, False]), np.array([True, False])):
        assert Labels.of(y).classes.dtype == bool
    text = ["b", "a", "b"]
    for y in (pa.array(text), pa.array(text).dictionary_encode(), pd.Series(text, dtype="category"), pd.Index(text)):
        assert Labels.of(y).classes.tolist() == ["a", "b"]
        assert Labels.of(y).encode(y).indices.tolist() == [1, 0, 1]


ROWS: list[list[str]] = [["bee", "ant"], ["cow"], [], ["ant"]]


@pytest.mark.parametrize(
    "y",
    [
        pa.array(ROWS),
        pa.array(ROWS, pa.large_list(pa.string())),
        pa.chunked_array([ROWS[:1], ROWS[1:]]),
        pa.table({"tags": ROWS})["tags"],
        pa.table({"tags": ROWS}),
        pd.Series(ROWS),
        pd.Series(ROWS, dtype=pd.ArrowDtype(pa.list_(pa.string()))),
        pd.DataFrame({"tags": ROWS}),
        pa.array([ROWS[0], ROWS[1], None, ROWS[3]]),
        [pd.Index(row) for row in ROWS],
        iter(ROWS),
    ],
    ids=[
        "Arrow",
        "large",
        "chunks",
        "column",
        "table",
        "pandas",
        "pandas of Arrow",
        "frame",
        "null",
        "index",
        "iterator",
    ],
)
def test_columns_of_lists_are_lists_of_labels(y: Any) -> None:
    clf = classifier().fit(X[:4], y)
    assert clf.classes_.tolist() == ["ant", "bee", "cow"]
    assert isinstance(clf.predict(X[:4]), list)
    assert clf.card_.data["labels_per_row"] == 1


def test_polars_columns_and_frames() -> None:
    pl = pytest.importorskip("polars", reason="polars is not installed")
    assert Labels.of(pl.Series(ROWS)).classes.tolist() == ["ant", "bee", "cow"]
    assert Labels.of(pl.Series(CLASSES)).classes.tolist() == [1, 2, 3]
    given = pl.DataFrame(dict(zip(NAMES[::-1], DENSE[:, ::-1].T.astype(bool), strict=True)))
    np.testing.assert_array_equal(Labels.of(FRAME).encode(given).toarray(), DENSE)


# -- by name -----------------------------------------------------------------------------------------------------------


def test_columns_are_found_by_name(fitted: slide.SlideClassifier) -> None:
    base = fitted.score(X, FRAME)
    assert base > 0.6
    others = [BACKWARDS, BACKWARDS.astype("Int8"), FRAME.assign(eel=0), pa.table(BACKWARDS), DENSE, pd.DataFrame(DENSE)]
    assert [fitted.score(X, given) for given in others] == [base] * len(others)
    again = classifier().fit(X, FRAME).partial_fit(X, BACKWARDS)
    np.testing.assert_array_equal(again.predict(X), classifier().fit(X, FRAME).partial_fit(X, FRAME).predict(X))
    history = classifier(epochs=1).fit(X, FRAME, eval_set=(X, BACKWARDS)).history_
    assert history[-1]["p@1"] == classifier(epochs=1).fit(X, FRAME, eval_set=(X, FRAME)).history_[-1]["p@1"]


def test_numbers_of_columns_are_names_too() -> None:
    clf = classifier().fit(X, DENSE)
    assert clf.score(X, pd.DataFrame(DENSE)[[2, 0, 3, 1]]) == clf.score(X, DENSE)
    with pytest.warns(UserWarning, match="they are taken in their order"):
        assert clf.score(X, FRAME) == clf.score(X, DENSE)


def test_blocks_are_held_to_the_columns_of_the_first() -> None:
    blocks = [(X[:100], FRAME[:100]), (X[100:], BACKWARDS[100:])]
    in_order = [(X[:100], FRAME[:100]), (X[100:], FRAME[100:])]
    ids = [classifier().fit_blocks(given).predict_topk(X, 2)[0] for given in (blocks, in_order)]
    np.testing.assert_array_equal(*ids)
    with pytest.raises(ValueError, match="block 2: y: found 'eel', which the first training did not have"):
        classifier().fit_blocks([in_order[0], (X[100:], RENAMED[100:])])


def test_training_refuses_other_columns(fitted: slide.SlideClassifier) -> None:
    for given, told in [
        (RENAMED, "found 'eel', which the first training did not have"),
        (FRAME[NAMES[:3]], "found no column for 'dog'"),
        (FRAME.assign(eel=0), "found 'eel'"),
        (pd.DataFrame(DENSE, columns=["a", "b", "a", "c"]), "columns: found 'a' twice"),
    ]:
        with pytest.raises(ValueError, match=f"y: {told}"):
            fitted.partial_fit(X, given)


def test_classes_put_a_frames_columns_in_order() -> None:
    assert Labels.of(BACKWARDS, NAMES).encode(BACKWARDS).toarray().tolist() == DENSE.tolist()
    assert Labels.of(pd.DataFrame(DENSE), NAMES).encode(pd.DataFrame(DENSE)).toarray().tolist() == DENSE.tolist()
    with pytest.raises(ValueError, match="classes: found 'ant', 'bee', 'cow' and 1 more, and columns of y"):
        Labels.of(RENAMED, NAMES)


def test_what_lists_of_0_and_1_are_is_decided_by_the_first_fit() -> None:
    labels = Labels.of([[0, 1], [2], [1, 7]])
    assert labels.encode([[0, 1], [1, 0]]).toarray().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0]]
    assert labels.encode(pa.array([[1], [0]])).toarray().tolist() == [[0, 1, 0, 0], [1, 0, 0, 0]]
    assert labels.encode([]).shape == (0, 4)
    assert Labels.of(np.eye(2)).encode([[0, 1], [1, 0]]).toarray().tolist() == [[0, 1], [1, 0]]
    assert Labels.of([[0, 1], [1, 0]], classes=[0, 1, 2]).kind == "lists"
    assert Labels.of([[0, 1], [1, 0]], classes=["no", "yes"]).kind == "dense"


def test_one_column_is_an_indicator_where_the_model_knows_one() -> None:
    assert Labels.of(sp.csr_array([[1], [0]])).encode(np.array([[0], [1]])).toarray().tolist() == [[0], [1]]


# -- labels that the model does not know -------------------------------------------------------------------------------


def test_unknown_labels_are_missed_and_said() -> None:
    clf = classifier().fit(X, ROWS * 50)
    rows = [["ant", "eel"], ["fox", "eel"], ["cow"]]
    with pytest.warns(
        UserWarning, match="2 labels that are unknown to the model, 'eel', 'fox', in 2 of 3 rows"
    ) as said:
        assert clf.score(X[:3], rows) <= 2 / 3
    assert [warning.filename for warning in said] == [__file__]
    truth = clf._labels.truth(rows)
    assert truth.Y.toarray().tolist() == [[1, 0, 0, 1, 0], [0, 0, 0, 1, 1], [0, 0, 1, 0, 0]]
    best = [[0, 1, 2]] * 3
    assert slide.metrics.recall_at_k(truth.Y, best, k=3) == pytest.approx((1 / 2 + 0 + 1) / 3)
    with pytest.warns(UserWarning, match="unknown to the model"):
        last = clf.fit(X, ROWS * 50, eval_set=(X[:3], rows)).history_[-1]
    assert last["recall@5"] == pytest.approx((1 / 2 + 0 + 1) / 3)
    assert 0 < last["psp@5"] < 0.5  # a label of no training row weighs most


def test_unknown_and_missing_columns_are_missed_and_said(fitted: slide.SlideClassifier) -> None:
    with pytest.warns(UserWarning, match="unknown to the model, 'eel'.*found no column for 'dog'"):
        found = fitted.score(X, RENAMED)
    assert found == pytest.approx(np.mean((fitted.predict_topk(X, 1)[0][:, 0] == Y.indices) & (Y.indices != 3)))
    with pytest.warns(UserWarning, match="found no column for 'ant'"):
        fitted.score(X, FRAME[NAMES[1:]])


# -- numbers and their text --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "given"),
    [
        ([1, 2, 3], ["1", "2", "3"]),
        ([1, 2, 3], ["1.0", "2.0", "3.0"]),
        ([1.0, 2.0, 3.0], ["1", "2", "3"]),
        (["1", "2", "3"], [1, 2, 3]),
        (["1", "2", "3"], [1.0, 2.0, 3.0]),
        ([False, True], ["false", "true"]),
        ([False, True], ["False", "True"]),
        ([False, True], [0, 1]),
        (["False", "True"], [False, True]),
        ([b"a", b"b"], ["a", "b"]),
        (np.array(["2020-01-01", "2020-01-02"], "M8[D]"), ["2020-01-01", "2020-01-02"]),
        (np.array(["2020-01-01", "2020-01-02"], "M8[D]"), np.array(["2020-01-01", "2020-01-02"], "M8[ns]")),
        (np.array(["2020-01-01", "2020-01-02"], "M8[s]"), [datetime.datetime(2020, 1, d) for d in (1, 2)]),
    ],
)
def test_a_label_and_its_text_are_one(known: Any, given: Any) -> None:
    labels = Labels.of(known)
    assert labels.encode(given).indices.tolist() == list(range(len(known)))
    if not isinstance(known, np.ndarray):
        lists = Labels.of([known, known[:1]])
        assert lists.encode([given, given[1:]]).toarray()[1].tolist() == [0, *[1] * (len(known) - 1)]


@pytest.mark.parametrize(
    ("known", "given", "told"),
    [
        ([1, 2], ["a", "b"], "labels that are text, 'a', 'b', wanted numbers as in the first training, like 1, 2"),
        (["a", "b"], [1, 2], "labels that are numbers, 1, 2, wanted text"),
        (np.array(["2020-01-01"], "M8[D]"), ["a"], "labels that are text, 'a', wanted dates"),
    ],
)
def test_labels_of_another_type_never_score_0(known: Any, given: Any, told: str) -> None:
    with pytest.raises(ValueError, match=f"y: found {told}"):
        Labels.of(known).truth(given)


def test_new_labels_are_of_the_type_of_the_others() -> None:
    clf = classifier(epochs=1).fit(X, Y.indices + 1)
    with pytest.raises(ValueError, match="labels: found '1', which this model has already"):
        clf.add_labels(["1"])
    with pytest.raises(ValueError, match="labels: found labels that are text, 'new', wanted numbers"):
        clf.add_labels(np.array(["new"]))
    assert clf.add_labels(np.array([7], np.int8)).classes_.tolist() == [1, 2, 3, 4, 7]


# -- explain -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "classes", [[1, 2, 3, 4], [10.0, 20.0, 30.0, 40.0], ["3", "2", "1", "0"], NAMES, [-1, 0, 1, 2]]
)
def test_a_predicted_class_is_explained(classes: list[Any]) -> None:
    clf = classifier(epochs=1).fit(X, np.array(classes)[Y.indices])
    for name in (clf.predict(X[[0]])[0], *clf.classes_, *clf.classes_.tolist()):
        found = clf.explain(X[[0]], name)
        assert found.label_name == name
        assert clf.classes_[found.label] == name


def test_labels_of_indicators_are_explained(fitted: slide.SlideClassifier) -> None:
    assert [fitted.explain(X[[0]], label).label_name for label in ("bee", np.str_("bee"), 1)] == ["bee"] * 3
    unnamed = classifier(epochs=1).fit(X, Y)
    assert [unnamed.explain(X[[0]], label).label_name for label in (3, np.int32(3))] == [3, 3]
    years = classifier(epochs=1).fit(X, FRAME.set_axis([2019, 2020, 2021, 2022], axis=1))
    assert years.explain(X[[0]], 2020).label == 1
    yes = classifier(epochs=1).fit(X, Y.indices > 1)
    assert yes.explain(X[[0]], yes.predict(X[[0]])[0]).label_name == yes.predict(X[[0]])[0]


@pytest.mark.parametrize("label", [0, 5, -1, 1.5, None, [1], "x"])
def test_classes_that_there_are_not_are_not_explained(label: Any) -> None:
    with pytest.raises(ValueError, match="label: found"):
        classifier(epochs=1).fit(X[:50], Y.indices[:50] + 1).explain(X[[0]], label)
