"""What is no number in X is refused by its column and row, whatever the table is; what hides numbers is opened."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp

import slide
from slide.checks import check_X
from slide.frames import as_row

N = 12
NAMES = ["height", "width", "depth"]
VALUES = np.random.default_rng(0).random((N, 3))
BASE = pd.DataFrame(VALUES, columns=NAMES)
MISSING = BASE.convert_dtypes()
MISSING.loc[7, "depth"] = pd.NA
GAP = BASE.copy()
GAP.loc[3, "width"] = np.nan


def with_column(values: Any) -> pd.DataFrame:
    return BASE.assign(extra=values)


REFUSED = {
    "a missing value": (MISSING, "found nan in column 'depth' in row 7, wanted finite"),
    "a missing whole number": (with_column(pd.array([1] * 11 + [None], "Int64")), "nan in column 'extra' in row 11"),
    "a missing truth value": (
        with_column(pd.array([True] * 11 + [None], "boolean")),
        "nan in column 'extra' in row 11",
    ),
    "NaN": (GAP, "found nan in column 'width' in row 3, wanted finite"),
    "infinity": (BASE.replace(VALUES[5, 2], np.inf), "found inf in column 'depth' in row 5, wanted finite"),
    "categories": (
        with_column(pd.Categorical(["red", "blue"] * 6)),
        "found 'red' in column 'extra' in row 0, wanted a n",
    ),
    "texts": (with_column("x"), "found 'x' in column 'extra' in row 0, wanted a number"),
    "one text": (with_column(["1.5"] * 11 + ["n/a"]), "found 'n/a' in column 'extra' in row 11, wanted a number"),
    "dates": (with_column(pd.Timestamp("2024-01-01")), "found column 'extra' of dates"),
    "dates with zones": (with_column(pd.Timestamp("2024-01-01", tz="UTC")), "found column 'extra' of dates"),
    "durations": (with_column(pd.Timedelta("1D")), "found column 'extra' of durations"),
    "days": (with_column(datetime.date(2024, 1, 1)), "found datetime.date(2024, 1, 1) in column 'extra' in row 0"),
    "complex numbers": (with_column(1j), "found column 'extra' of dtype complex128, wanted real numbers"),
    "objects": (with_column([{}] * N), "found {} in column 'extra' in row 0, wanted a number"),
    "lists": (with_column([[1]] * N), "found [1] in column 'extra' in row 0, wanted a number"),
    "the second of a name": (
        pd.concat([BASE, BASE.assign(height="a")], axis=1),
        "found 'a' in column 'height' in row 0",
    ),
    "a gap among sparse columns": (GAP.astype(pd.SparseDtype("float64", np.nan)), "nan in column 'width' in row 3"),
    "Arrow with a gap": (pa.Table.from_pandas(MISSING), "found nan in column 'depth' in row 7"),
    "Arrow of texts": (pa.table({"a": ["u"] * N}), "found 'u' in column 'a' in row 0"),
    "Arrow of dates": (pa.Table.from_pandas(with_column(pd.Timestamp("2024-01-01"))), "found column 'extra' of dates"),
    "lists of two lengths": ([[1, 2], [1, 2, 3]], "found 3 values in row 1, wanted 2, as many as row 0 has"),
    "a number among rows": ([[1, 2], 3], "found one value and no row in row 1, wanted 2"),
    "arrays of two lengths": ([np.ones(2), np.ones(3)], "found 3 values in row 1, wanted 2"),
    "None": ([[1, 2], [1, None]], "found nan in column 1 in row 1"),
    "an object": (
        np.array([[1, object]], object),
        "column 1 in row 0, wanted a number (float() argument must be a string",
    ),
    "words in an array": (np.array([["1", "y"]]), "found 'y' in column 1 in row 0, wanted a number"),
    "a number beyond floats": ([[10**400, 1]], "column 0 in row 0, wanted a number (int too large"),
    "rows of texts": (["some text", "another"], "Texts are what SlideTextClassifier reads"),
    "a mask": (np.ma.array(VALUES, mask=VALUES[5, 1] == VALUES), "found a masked value in column 1 in row 5"),
    "rows that are dicts": ([{"a": 1}], "Rows that are dicts become one by"),
    "one number": (5, "X: found int, wanted a two-dimensional matrix"),
    "nothing": (None, "X: found NoneType, wanted a two-dimensional matrix"),
    "a dict": ({"a": 1}, "X: found dict, wanted a two-dimensional matrix"),
    "a generator": ((i for i in range(3)), "X: found generator, wanted a two-dimensional matrix"),
    "a series": (BASE["height"], "X: found Series of shape (12,) and dtype float64, wanted a two-dimensional matrix"),
}


@pytest.mark.parametrize(("X", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_number_is_refused_by_column_and_row(X: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        check_X(X)
    assert str(caught.value).startswith("X: found ")
    assert message in str(caught.value)


TAKEN = {
    "nullable": BASE.convert_dtypes(),
    "sparse, filled with NaN": BASE.astype(pd.SparseDtype("float64", np.nan)),
    "sparse, filled with 0": BASE.astype(pd.SparseDtype("float64", 0)),
    "one sparse column": BASE.astype({"width": pd.SparseDtype("float64", np.nan)}),
    "Arrow": pa.Table.from_pandas(BASE),
    "objects": BASE.astype(object),
    "decimals": BASE.map(decimal.Decimal),
    "digits": BASE.astype(str),
    "lists": VALUES.tolist(),
    "rows in a list": list(VALUES),
}


@pytest.mark.parametrize("X", TAKEN.values(), ids=TAKEN)
def test_numbers_in_any_table_are_those_numbers(X: Any) -> None:
    np.testing.assert_array_equal(check_X(X).toarray(), VALUES.astype(np.float32))


def test_categories_and_truth_values_that_are_numbers() -> None:
    X = with_column(pd.Categorical([1, 0] * 6)).assign(truth=True)
    np.testing.assert_array_equal(check_X(X).toarray()[:, 3:], np.tile([[1, 1], [0, 1]], (6, 1)))


# -- one row -----------------------------------------------------------------------------------------------------------


class Column:
    """As Polars has them: with a shape, but without the number of its dimensions."""

    def __init__(self, values: Any) -> None:
        self.to_numpy, self.shape = lambda: values, values.shape

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.to_numpy()


ROWS = {
    "array": VALUES[0],
    "list": VALUES[0].tolist(),
    "tuple": tuple(VALUES[0]),
    "series": BASE.iloc[0],
    "a column without dimensions": Column(VALUES[0]),
    "two dimensions": VALUES[:1],
}
if (one := sp.coo_array(VALUES[0])).ndim == 1:  # from SciPy 1.13 on
    ROWS["sparse"] = one


@pytest.fixture(scope="module")
def fitted() -> slide.SlideClassifier:
    return slide.SlideClassifier(hidden=4, epochs=1, n_threads=1).fit(VALUES, np.arange(N) % 3)


@pytest.mark.parametrize("x", ROWS.values(), ids=ROWS)
def test_explain_takes_one_row_of_any_kind(x: Any, fitted: slide.SlideClassifier) -> None:
    assert as_row(x).shape == (1, 3)
    assert fitted.explain(x, 1).score == fitted.explain(VALUES[:1], 1).score


@pytest.mark.parametrize("verb", ["predict", "predict_topk", "predict_proba", "decision_function"])
@pytest.mark.parametrize("name", [name for name in ROWS if name != "two dimensions"])
def test_predictions_are_of_tables(verb: str, name: str, fitted: slide.SlideClassifier) -> None:
    with pytest.raises(ValueError, match="Reshape your data"):
        getattr(fitted, verb)(ROWS[name])


def test_columns_of_arrow_tables_have_names_too() -> None:
    """In another order they are other numbers, and were taken for the same."""
    table = pa.Table.from_pandas(BASE)
    clf = slide.SlideClassifier(hidden=4, epochs=1, n_threads=1).fit(table, np.arange(N) % 3)
    assert clf.feature_names_in_.tolist() == NAMES
    np.testing.assert_array_equal(clf.predict(BASE), clf.predict(table))
    for other in (table.select(NAMES[::-1]), BASE[NAMES[::-1]]):
        with pytest.raises(ValueError, match="same order"):
            clf.predict(other)


# -- more labels than there are ----------------------------------------------------------------------------------------


def test_k_over_the_number_of_labels_is_all_of_them(fitted: slide.SlideClassifier) -> None:
    ids, scores = fitted.predict_topk(VALUES, k=50)
    assert ids.shape == scores.shape == (N, 3)
    np.testing.assert_array_equal(ids, fitted.predict_topk(VALUES, k=3)[0])
    assert fitted.network_.shortlist(sp.csr_array(VALUES), 50)[0].shape == (N, 3)
    assert fitted.predict_topk(VALUES, k=50, names=True)[0].shape == (N, 3)
