"""Sparse matrices from outside as CSR: what SciPy takes on trust is checked once, before anything follows an index.

SciPy compares the lengths of a matrix's arrays when it is made and never looks at the indices, and it believes a
matrix that says of itself that its entries are sorted and met once. The kernels believe CSR arrays; so whatever is
handed in comes through here, by way of check_X and check_Y in slide/checks.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

Array = npt.NDArray[Any]
INDEX_TYPES = (np.dtype(np.int32), np.dtype(np.int64))  # that SciPy's own functions take


def canonical_csr(M: Any, name: str) -> sp.csr_array:
    """A sparse matrix of real numbers as CSR float32, sorted, each entry once: M itself where it is so.

    Entries that are met several times are added, as SciPy does. Stored zeros stay.

    Raises
    ------
    ValueError
        For a dtype that is no real number, and for arrays that are no matrix of this shape: an index outside it, an
        indptr that falls or does not end at the number of entries, lengths that disagree. `name` begins the sentence.
    """
    if len(M.shape) != 2:
        advice = ". Reshape your data: array.reshape(1, -1) makes it one row" if len(M.shape) == 1 else ""
        raise ValueError(f"{name}: found a sparse array of shape {M.shape}, wanted a two-dimensional matrix{advice}")
    if M.dtype.kind not in "fiub":
        complex_data = ". Complex data not supported" if M.dtype.kind == "c" else ""
        raise ValueError(f"{name}: found dtype {M.dtype}, wanted real numbers{complex_data}")
    if M.format not in _CHECKS:
        M = _coo(M, name)
    M = _CHECKS[M.format](M, name)
    if M.format != "csr":  # which adds what COO has several times, in its own type
        M = sp.csr_array(M if M.dtype == np.float32 else M.astype(np.float64))
    if not _is_canonical(M.indptr, M.indices):
        M = _summed(M)
    if M.dtype == np.float32:
        return M if type(M) is sp.csr_array else sp.csr_array(M)
    with np.errstate(over="ignore"):  # what is too large for float32 is refused as infinite
        return sp.csr_array(M, dtype=np.float32)


def csr_of_dense(array: npt.NDArray[np.float32]) -> sp.csr_array:
    """A float32 array [n, m] as CSR without its zeros; with none it shares the array's memory.

    SciPy goes by way of COO, which takes several times as long and twice the memory.
    """
    n, m = array.shape
    filled = array != 0
    index_type = np.int32 if array.size < 2**31 else np.int64
    indptr = np.concatenate([[0], np.cumsum(np.count_nonzero(filled, axis=1))]).astype(index_type)
    columns = np.broadcast_to(np.arange(m, dtype=index_type), array.shape)
    if indptr[-1] == array.size:
        entries = np.ascontiguousarray(array).reshape(-1), columns.reshape(-1)
    else:
        entries = array[filled], columns[filled]
    return sp.csr_array((*entries, indptr), shape=(n, m))


def without_zeros(M: sp.csr_array) -> sp.csr_array:
    """The matrix itself, or a copy without the zeros that it stores: they say nothing."""
    if np.count_nonzero(M.data) == len(M.data):
        return M
    M = M.copy()
    M.eliminate_zeros()
    return M


def _is_canonical(indptr: Array, indices: Array) -> bool:
    """Whether columns rise within each row. SciPy knows too, but what it was told once it believes for ever."""
    rises = indices[1:] > indices[:-1]
    if len(indptr) > 2:
        starts = indptr[1:-1]
        rises[starts[(starts > 0) & (starts < len(indices))] - 1] = True  # a row may begin anywhere
    return np.count_nonzero(rises) == len(rises)  # which is faster than all()


def _summed(M: sp.csr_array) -> sp.csr_array:
    """Sorted, and what is met several times added in the widest type: two times 200 are 400 in uint8 too."""
    found = sp.csr_array(M.astype(M.dtype if M.dtype == np.float32 else np.float64, copy=True))
    found.has_canonical_format = found.has_sorted_indices = False  # whatever it says of itself
    found.sum_duplicates()
    return found


# -- one check for each format -----------------------------------------------------------------------------------------


def _check_compressed(M: Any, name: str) -> Any:
    """CSR, CSC and BSR: indptr runs along rows (CSC: columns), indices are columns (CSC: rows) or blocks of them."""
    rows, columns = M.shape
    n, width = (columns, rows) if M.format == "csc" else (rows, columns)
    if M.format == "bsr":
        n, width = n // M.blocksize[0], width // M.blocksize[1]
    indptr, indices, n_data = M.indptr, M.indices, len(M.data)
    sound = _is_index(indptr) and _is_index(indices) and len(indptr) == n + 1 and len(indices) == n_data
    if not sound or indptr[0] != 0 or indptr[-1] != n_data or (n > 1 and (indptr[1:] < indptr[:-1]).any()):
        raise ValueError(f"{name}: {_broken(M, n)}")
    if not _within(indices, width, rising=n == 1 and _is_canonical(indptr, indices)):
        at = int(np.flatnonzero((indices < 0) | (indices >= width))[0])
        line = int(np.searchsorted(indptr, at, side="right")) - 1
        across, along = {"csr": ("column", "row"), "csc": ("row", "column")}.get(M.format, ("block", "row of blocks"))
        raise ValueError(
            f"{name}: found {across} {indices[at]} in {along} {line}, wanted {across}s 0 to {width - 1}, as its shape "
            f"{M.shape} says"
        )
    if indices.dtype != indptr.dtype or indices.dtype not in INDEX_TYPES:  # SciPy wants them alike
        return type(M)((M.data, indices.astype(np.int64), indptr.astype(np.int64)), shape=M.shape)
    return M


def _broken(M: Any, n: int) -> str:
    """What is wrong with the arrays of a compressed matrix of n rows, or columns."""
    indptr, indices, n_data = M.indptr, M.indices, len(M.data)
    for what, array in (("indptr", indptr), ("indices", indices)):
        if not _is_index(array):
            return f"found {_described(array)} as {what}, wanted a vector of whole numbers"
    lines = "columns" if M.format == "csc" else "rows"
    if len(indices) != n_data:
        return f"found {len(indices)} indices for {n_data} values, wanted equal numbers"
    if len(indptr) != n + 1:
        return f"found an indptr of length {len(indptr)}, wanted {n + 1} for {n} {lines}"
    if indptr[0] != 0:
        return f"found an indptr that begins with {indptr[0]}, wanted 0"
    if indptr[-1] != n_data:
        return f"found an indptr that ends with {indptr[-1]}, wanted {n_data}, the number of its indices and values"
    fall = int(np.flatnonzero(indptr[1:] < indptr[:-1])[0])
    return (
        f"found an indptr that falls from {indptr[fall]} to {indptr[fall + 1]}, wanted one that rises along its {lines}"
    )


def _check_coo(M: Any, name: str) -> Any:
    places = {"row": M.row, "column": M.col}
    for (what, place), width in zip(places.items(), M.shape, strict=True):
        if not _is_index(place) or len(place) != len(M.data):
            found = f"{_described(place)} of {len(place)} {what}s for {len(M.data)} values"
            raise ValueError(f"{name}: found {found}, wanted a whole number for each")
        if not _within(place, width):
            wrong = place[(place < 0) | (place >= width)][0]
            wanted = f"{what}s 0 to {width - 1}, as its shape {M.shape} says"
            raise ValueError(f"{name}: found an entry in {what} {wrong}, wanted {wanted}")
    return M


_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    **dict.fromkeys(("csr", "csc", "bsr"), _check_compressed),
    "coo": _check_coo,
}


def _coo(M: Any, name: str) -> sp.coo_array:
    """Other formats, whose arrays SciPy goes through itself; it trusts LIL's lists, so they are put together here."""
    try:
        if M.format != "lil":
            return sp.coo_array(M)
        lengths = [len(row) for row in M.rows]
        if len(lengths) != M.shape[0] or lengths != [len(row) for row in M.data]:
            raise ValueError("found rows with different numbers of columns and values")
        columns = np.array([column for row in M.rows for column in row], np.int64)
        values = np.array([value for row in M.data for value in row], M.dtype)
        return _unchecked_coo(values, np.repeat(np.arange(M.shape[0]), lengths), columns, M.shape)
    except (ValueError, TypeError, IndexError, OverflowError) as e:
        raise ValueError(f"{name}: found a sparse matrix of format {M.format!r} that cannot be read ({e})") from e


def _unchecked_coo(values: Array, rows: Array, columns: Array, shape: tuple[int, int]) -> sp.coo_array:
    """SciPy refuses some wrong entries here in words of its own; the sentence is to be ours."""
    matrix = sp.coo_array(shape, dtype=values.dtype)
    matrix.data = values
    if hasattr(matrix, "coords"):  # from SciPy 1.13 on, whose row and col keep the type that they had
        matrix.coords = rows, columns
    else:
        matrix.row, matrix.col = rows, columns
    return matrix


def _is_index(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.ndim == 1 and array.dtype.kind in "iu"


def _described(array: Any) -> str:
    return f"an array of {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__


def _within(indices: Array, width: int, *, rising: bool = False) -> bool:
    """Whether all are 0 to width - 1; of those that rise, the first and the last say it."""
    if not len(indices):
        return True
    least, most = (indices[0], indices[-1]) if rising else (indices.min(), indices.max())
    return bool(least >= 0 and most < width)
