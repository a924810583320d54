"""Sparse matrices that are none: arrays altered after SciPy has looked at them, in every call that takes a matrix.

A forgery that is not refused makes the kernels read and write anywhere. Stored zeros and entries in pieces, which are
no mistake, change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from strategies import sparse_rows

import slide
from slide.checks import check_X, check_Y
from slide.io import formats

N, D, L = 40, 12, 5


def rows(seed: int = 0) -> sp.csr_array:
    rng = np.random.default_rng(seed)
    return sparse_rows(N, D, 0.3, rng)


def labels() -> sp.csr_array:
    return sp.csr_array((np.ones(N, np.float32), np.arange(N) % L, np.arange(N + 1)), shape=(N, L))


def altered(form: str, **arrays: Callable[[Any], Any]) -> Any:
    """A matrix of this format whose arrays were replaced behind SciPy's back."""
    M = rows().asformat(form)
    for name, change in arrays.items():
        setattr(M, name, change(getattr(M, name).copy()))
    return M


def put(place: int, value: int, dtype: Any = None) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        array = array.astype(dtype or array.dtype)
        array[place] = value
        return array

    return change


FORGERIES: dict[str, tuple[Callable[[], Any], str]] = {
    "column past the width": (
        lambda: altered("csr", indices=put(0, D)),
        "X: found column 12 in row 0, wanted columns 0 to 11",
    ),
    "column far out": (lambda: altered("csr", indices=put(-1, 10**8)), "X: found column 100000000 in row 39"),
    "negative column": (lambda: altered("csr", indices=put(5, -1)), "X: found column -1 in row"),
    "int64 column": (
        lambda: altered("csr", indices=put(5, 2**32, np.int64), indptr=lambda a: a.astype(np.int64)),
        "X: found column 4294967296 in row",
    ),
    "unsigned column": (lambda: altered("csr", indices=put(5, 2**40, np.uint64)), "X: found column 1099511627776"),
    "row past the height": (
        lambda: altered("csc", indices=put(0, N)),
        "X: found row 40 in column 0, wanted rows 0 to 39",
    ),
    "negative row": (lambda: altered("csc", indices=put(-1, -7)), "X: found row -7 in column 11"),
    "block past the width": (lambda: altered("bsr", indices=put(0, D)), "X: found block 12 in row of blocks 0"),
    "COO column": (lambda: altered("coo", col=put(0, D)), "X: found an entry in column 12, wanted columns 0 to 11"),
    "COO row": (lambda: altered("coo", row=put(0, -1)), "X: found an entry in row -1, wanted rows 0 to 39"),
    "COO lengths": (
        lambda: altered("coo", data=lambda a: a[:-1]),
        "X: found .* columns? for 143|X: found .* rows for 143",
    ),
    "indptr falls": (lambda: altered("csr", indptr=put(4, 10**6)), "X: found an indptr that falls from 1000000 to"),
    "indptr negative": (lambda: altered("csr", indptr=put(1, -3)), "X: found an indptr that falls from 0 to -3"),
    "indptr begins late": (lambda: altered("csr", indptr=put(0, 1)), "X: found an indptr that begins with 1, wanted 0"),
    "indptr ends early": (
        lambda: altered("csr", indptr=put(-1, 140)),
        "X: found an indptr that ends with 140, wanted 144",
    ),
    "indptr ends late": (
        lambda: altered("csr", indptr=put(-1, 145)),
        "X: found an indptr that ends with 145, wanted 144",
    ),
    "indptr too short": (lambda: altered("csr", indptr=lambda a: a[:-1]), "X: found an indptr of length 40, wanted 41"),
    "CSC indptr falls": (lambda: altered("csc", indptr=put(4, 10**6)), "X: found an indptr that falls .* its columns"),
    "fewer indices": (lambda: altered("csr", indices=lambda a: a[:-1]), "X: found 143 indices for 144 values"),
    "fewer values": (lambda: altered("csr", data=lambda a: a[:-1]), "X: found 144 indices for 143 values"),
    "indices of floats": (lambda: altered("csr", indices=lambda a: a * 1.0), "X: found an array of float64 as indices"),
    "indptr of floats": (lambda: altered("csr", indptr=lambda a: a * 1.0), "X: found an array of float64 as indptr"),
}
if sp.coo_array([1.0]).ndim == 1:  # from SciPy 1.13 on
    FORGERIES |= {
        "one dimension": (lambda: sp.coo_array(np.ones(D, np.float32)), r"X: found a sparse array of shape \(12,\)"),
        "three dimensions": (lambda: sp.coo_array(np.ones((2, 2, 2))), r"X: found a sparse array of shape \(2, 2, 2\)"),
    }


@pytest.mark.parametrize("forged", FORGERIES)
def test_what_is_no_matrix_is_refused_with_what_was_found(forged: str) -> None:
    make, sentence = FORGERIES[forged]
    with pytest.raises(ValueError, match=sentence):
        check_X(make())
    with pytest.raises(ValueError, match=sentence.replace("X:", "Y:")):
        check_Y(make())


def test_lists_of_lists_that_disagree() -> None:
    M = rows().tolil()
    M.rows[3] = [1, 2, 99]
    M.data[3] = [1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="X: found an entry in column 99"):
        check_X(M)
    M.data[3] = [1.0]
    with pytest.raises(ValueError, match="X: found a sparse matrix of format 'lil'"):
        check_X(M)


def bad_X() -> sp.csr_array:
    return altered("csr", indices=put(3, 10**7))


def bad_Y() -> sp.csr_array:
    Y = labels()
    Y.indices[2] = 10**7
    return Y


@pytest.fixture(scope="module")
def clf() -> slide.SlideClassifier:
    return classifier().fit(rows(), labels())


def classifier() -> slide.SlideClassifier:
    return slide.SlideClassifier(hidden=(4,), epochs=1, n_threads=1)


@pytest.mark.parametrize("part", ["X", "Y"])
def test_every_way_to_train_refuses_it(part: str) -> None:
    X, Y = (bad_X(), labels()) if part == "X" else (rows(), bad_Y())
    net = slide.Network([slide.SparseInput(D, 4), slide.Sampled(L, n_active=4, n_random=2)], n_threads=1)
    calls: list[Callable[[], Any]] = [
        lambda: classifier().fit(X, Y),
        lambda: classifier().partial_fit(X, Y),
        lambda: classifier().fit(rows(), labels()).partial_fit(X, Y),
        lambda: classifier().fit_blocks([(X, Y)]),
        lambda: classifier().fit_blocks([(rows(), labels()), (X, Y)]),
        lambda: classifier().fit(rows(), labels(), eval_set=(X, Y)),
        lambda: net.fit(X, Y),
        lambda: net.fit_blocks([(rows(), labels()), (X, Y)]),
        lambda: net.fit(rows(), labels(), eval_set=(X, Y)),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=f"{part}: found column 10000000 in row"):
            call()


def test_every_answer_refuses_it(clf: slide.SlideClassifier, tmp_path: Path) -> None:
    X, Y, net, ids = bad_X(), bad_Y(), clf.network_, np.zeros((N, 1), np.int64)
    calls: list[Callable[[], Any]] = [
        lambda: clf.predict(X),
        lambda: clf.predict_topk(X, 2),
        lambda: clf.predict_proba(X),
        lambda: clf.decision_function(X),
        lambda: clf.score(X, labels()),
        lambda: clf.score(rows(), Y),
        lambda: net.predict_topk(X, 2),
        lambda: net.shortlist(X, 2),
        lambda: net.hidden(X),
        lambda: slide.metrics.evaluate(Y, ids, ks=(1,)),
        lambda: slide.metrics.evaluate(labels(), ids, Y, ks=(1,)),
        lambda: slide.write_xmc(tmp_path / "a.txt", X, labels()),
        *(lambda kind=kind: formats.write(tmp_path / "a", rows(), Y, kind) for kind in formats.FORMATS),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="found column 10000000 in row"):
            call()
    one = rows()[:1]
    one.indices[0] = D
    with pytest.raises(ValueError, match="X: found column 12 in row 0"):
        clf.explain(one, 0)
    assert list(tmp_path.iterdir()) == []


# -- what is no mistake ------------------------------------------------------------------------------------------------


def in_pieces(X: sp.csr_array) -> sp.csr_array:
    """The same matrix, each value as two halves, columns in any order; it says of itself that it is sorted."""
    order = np.concatenate([np.random.default_rng(i).permutation(2 * n) for i, n in enumerate(np.diff(X.indptr))])
    order += np.repeat(2 * X.indptr[:-1], 2 * np.diff(X.indptr))
    indices, data = np.repeat(X.indices, 2)[order], np.repeat(X.data / 2, 2)[order]
    M = sp.csr_array((data, indices, 2 * X.indptr), shape=X.shape)
    M.has_sorted_indices = M.has_canonical_format = True
    return M


def with_zeros(X: sp.csr_array) -> sp.csr_array:
    """The same matrix with every entry stored."""
    M = sp.csr_array(np.full(X.shape, 1, np.float32))
    M.data[:] = X.toarray().ravel()
    return M


def other_indices(dtype: Any) -> Callable[[sp.csr_array], sp.csr_array]:
    def change(X: sp.csr_array) -> sp.csr_array:
        M = X.copy()
        M.indices = M.indices.astype(dtype)  # and indptr as it was
        return M

    return change


SAME: dict[str, Callable[[sp.csr_array], Any]] = {
    "in pieces": in_pieces,
    "zeros": with_zeros,
    "pieces that cancel": lambda X: in_pieces(X) + sp.csr_array(X.shape) + (with_zeros(X) - with_zeros(X)),
    "int64": other_indices(np.int64),
    "uint32": other_indices(np.uint32),
    "big-endian": other_indices(">i4"),
    **{form: lambda X, form=form: X.asformat(form) for form in ("csc", "coo", "bsr", "lil", "dok", "dia")},
    "blocks": lambda X: sp.bsr_array(X, blocksize=(4, 1)),
    "float64": lambda X: X.astype(np.float64),
    "csr_matrix": sp.csr_matrix,
}


@pytest.mark.parametrize("normalize", ["auto", True, False])
def test_another_way_to_store_the_same_matrix_gives_the_same_model(normalize: Any) -> None:
    X, Y = rows(), labels()
    made = classifier().set_params(normalize=normalize)
    expected = made.fit(X, Y).decision_function(X)
    for name, change in SAME.items():
        found = classifier().set_params(normalize=normalize).fit(change(X), change(Y)).decision_function(change(X))
        np.testing.assert_array_equal(found, expected, err_msg=name)
        scores = made.network_.predict_topk(change(X), 2)[1]
        np.testing.assert_array_equal(scores, made.network_.predict_topk(X, 2)[1], err_msg=name)


def test_values_in_pieces_are_added_in_a_type_that_holds_them() -> None:
    M = sp.coo_array((np.array([200, 100, 7], np.uint8), ([0, 0, 1], [1, 1, 0])), shape=(2, 2))
    assert check_X(M).toarray().tolist() == [[0, 300], [7, 0]]
    M = sp.csr_array((np.array([200, 100], np.uint8), np.array([1, 1]), np.array([0, 2])), shape=(1, 2))
    assert check_X(M).toarray().tolist() == [[0, 300]]
    M = sp.csr_array((np.array([1e30, 1, -1e30]), np.array([1, 1, 1]), np.array([0, 3])), shape=(1, 2))
    assert check_X(M).nnz == 0


def test_what_is_checked_stays_the_callers() -> None:
    for change in SAME.values():
        given = change(rows())
        before = given.copy()
        check_X(given)
        if given.format in ("csr", "csc", "bsr"):
            for name in ("data", "indices", "indptr"):
                np.testing.assert_array_equal(getattr(given, name), getattr(before, name))


def test_zeros_of_a_file_stay_in_it(tmp_path: Path) -> None:
    X = rows()
    X.data[4] = 0
    for name in ("a.txt", "a.npz"):
        formats.write(tmp_path / name, X, labels())
        assert formats.read(tmp_path / name)[0].nnz == X.nnz
