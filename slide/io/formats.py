"""Data files by their names: XMC text, SVMlight, NumPy's npz, Parquet; read, written, and turned into each other.

XMC text is slide/io/xmc.py's, SVMlight scikit-learn's, Parquet pyarrow's (extras `svmlight` and `text`). Tables of text
are not read here but in slide/text/tables.py.
"""

from __future__ import annotations

import errno
import io
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from slide.checks import check_pair, check_X, check_Y
from slide.engine.xmc_fault import MAX_COLUMNS
from slide.errors import DataFormatError
from slide.io.atomic import replacing
from slide.io.xmc import read_xmc, write_xmc

Pair = tuple[sp.csr_array, sp.csr_array]
COLUMNS = ("indices", "values", "labels")  # of a Parquet file
DAMAGE = (
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    OverflowError,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)  # what readers of other hands say
PARTS = ("data", "indices", "indptr", "shape")


def format_of(path: str | os.PathLike[str]) -> str:
    """The name of a file's format: "xmc", "svmlight", "npz" or "parquet"; by its ending, XMC text for other ones."""
    name = os.fspath(path).lower()
    if name.endswith(tuple(f"{end}.gz" for end in FORMATS["svmlight"].endings)):
        raise ValueError(f"{os.fspath(path)}: found compressed SVMlight, wanted it unpacked: gunzip it")
    return next((kind for kind, how in FORMATS.items() if name.endswith(how.endings)), "xmc")


def read(path: str | os.PathLike[str], kind: str | None = None, *, zero_based: bool | None = None) -> Pair:
    """Rows and labels of a file in any format.

    Parameters
    ----------
    path : path
    kind : {"xmc", "svmlight", "npz", "parquet", None}
        None: by the file's ending.
    zero_based : bool or None
        Whether features of an SVMlight file count from 0, which is what None means: files of one data set must agree,
        and whether a 0 is met says nothing of the others. With False, feature 0 is an error.

    Returns
    -------
    X : CSR float32 [n, n_features]; Y : CSR float32 indicator [n, n_labels]

    Raises
    ------
    DataFormatError
        For what is not of that format; names the file, and the line or row where there is one.
    ImportError
        If the format needs a package that is not installed.
    """
    if zero_based is not None:
        if (kind or format_of(path)) != "svmlight":
            raise ValueError(f"{os.fspath(path)}: features count from 1 or 0 in SVMlight files only")
        return _read_svmlight(path, zero_based)
    return FORMATS[kind or format_of(path)].read(path)


def write(path: str | os.PathLike[str], X: Any, Y: Any, kind: str | None = None) -> None:
    """Writes rows and labels; the file appears under its name when it is complete."""
    X, Y = check_X(X, keep_zeros=True), check_Y(Y)
    check_pair(X, Y)
    FORMATS[kind or format_of(path)].write(path, X, Y)


# -- SVMlight ----------------------------------------------------------------------------------------------------------


def _svmlight() -> Any:
    try:
        from sklearn import datasets
    except ImportError as e:
        raise ImportError("SVMlight files need scikit-learn: pip install 'slide-xmc[svmlight]'") from e
    return datasets


def _read_svmlight(path: str | os.PathLike[str], zero_based: bool | None = None) -> Pair:
    load = _svmlight().load_svmlight_file
    how: dict[str, Any] = {"multilabel": True, "dtype": np.float32}
    with open(path, "rb") as file:
        content = file.read()
    try:
        X, labels = load(io.BytesIO(content), zero_based=zero_based is not False, **how)
    except (ValueError, OverflowError, IndexError) as e:
        raise DataFormatError(f"{os.fspath(path)}:{_bad_line(content, load, how)}: {e}") from e
    if not X.shape[0]:
        raise DataFormatError(f"{os.fspath(path)}: found no row, wanted lines 'label,label feature:value ...'")
    ids = np.array([label for row in labels for label in row], np.float64)
    if ids.size and ((ids < 0) | (ids != np.floor(ids)) | (ids >= 2**31)).any():
        wrong = ids[(ids < 0) | (ids != np.floor(ids)) | (ids >= 2**31)][0]
        raise DataFormatError(f"{os.fspath(path)}: found the label {wrong:g}, wanted whole numbers from 0")
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in labels])])
    n_labels = int(ids.max()) + 1 if ids.size else 1
    Y = sp.csr_array((np.ones(len(ids), np.float32), ids.astype(np.int32), indptr), shape=(X.shape[0], n_labels))
    return _checked(path, sp.csr_array(X), Y)


def _bad_line(content: bytes, load: Callable[..., Any], how: dict[str, Any]) -> int:
    """The first line that is no row by itself; from 1."""
    for number, line in enumerate(content.splitlines(), 1):
        try:
            load(io.BytesIO(line + b"\n"), zero_based=True, **how)
        except (ValueError, OverflowError, IndexError):
            return number
    return len(content.splitlines())


def _write_svmlight(path: str | os.PathLike[str], X: sp.csr_array, Y: sp.csr_array) -> None:
    """Features count from 0."""
    bare = np.flatnonzero((np.diff(X.indptr) == 0) & (np.diff(Y.indptr) == 0))
    if bare.size:
        raise ValueError(f"row {bare[0]:,}: has neither labels nor features, which SVMlight's empty line cannot say")
    with replacing(Path(path)) as file:
        for row in range(X.shape[0]):
            labels = ",".join(map(str, Y.indices[Y.indptr[row] : Y.indptr[row + 1]].tolist()))
            part = slice(X.indptr[row], X.indptr[row + 1])
            pairs = zip(X.indices[part].tolist(), X.data[part], strict=True)
            file.write((labels + "".join(f" {i}:{value!s}" for i, value in pairs) + "\n").encode())


# -- npz ---------------------------------------------------------------------------------------------------------------


def _read_npz(path: str | os.PathLike[str]) -> Pair:
    with _damaged(path):
        _check_size(path)
        with np.load(path, allow_pickle=False) as found:
            return _checked(path, *(_matrix(path, found, name) for name in ("X", "Y")))


def _check_size(path: str | os.PathLike[str]) -> None:
    """Refuses what would not fit before it is unpacked: a small file can claim any size."""
    from slide.engine.memory import available_memory

    with zipfile.ZipFile(path) as packed:
        wanted = sum(info.file_size for info in packed.infolist())
    available = available_memory()
    if available is not None and wanted > available:
        raise MemoryError(f"{os.fspath(path)}: unpacked it has {wanted:,} bytes, available are {available:,}")


def _matrix(path: str | os.PathLike[str], found: Any, name: str) -> sp.csr_array:
    for part in PARTS:
        if f"{name}_{part}" not in found:
            raise DataFormatError(f"{os.fspath(path)}: found no array {name}_{part}, wanted CSR parts of X and Y")
    data, indices, indptr, shape = (found[f"{name}_{part}"] for part in PARTS)
    if any(a.dtype.kind not in "iu" for a in (indices, indptr, shape)) or data.dtype.kind not in "fiub":
        raise DataFormatError(f"{os.fspath(path)}: {name}: found {data.dtype} and {indices.dtype}, wanted numbers")
    matrix = sp.csr_array((data, indices, indptr), shape=tuple(int(n) for n in shape))
    matrix.check_format(full_check=True)
    return matrix


def _write_npz(path: str | os.PathLike[str], X: sp.csr_array, Y: sp.csr_array) -> None:
    parts = {"X": X, "Y": Y}
    arrays = {f"{name}_{part}": np.asarray(getattr(m, part)) for name, m in parts.items() for part in PARTS}
    with replacing(Path(path)) as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


# -- Parquet -----------------------------------------------------------------------------------------------------------


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as e:
        raise ImportError("Parquet files need pyarrow: pip install 'slide-xmc[text]'") from e
    return pyarrow


def _read_parquet(path: str | os.PathLike[str]) -> Pair:
    pa = _pyarrow()
    with _damaged(path, pa.ArrowException):
        return _checked(path, *_from_table(path, pa))


def _from_table(path: str | os.PathLike[str], pa: Any) -> Pair:
    table = pa.parquet.read_table(path)
    for column in COLUMNS:
        if column not in table.column_names:
            wanted = "indices, values and labels; for a table with text say --text and --labels"
            raise DataFormatError(f"{os.fspath(path)}: found the columns {table.column_names}, wanted {wanted}")
    metadata = table.schema.metadata or {}
    indices, values, labels = (table.column(name).combine_chunks() for name in COLUMNS)
    for name, column in (("indices", indices), ("labels", labels)):
        if hasattr(column, "offsets") and not pa.types.is_integer(column.type.value_type):
            raise DataFormatError(f"{os.fspath(path)}: {name}: found {column.type}, wanted lists of whole numbers")
    parts = [(_lists(path, c), _flat(c, d)) for c, d in ((indices, "i8"), (values, "f4"), (labels, "i8"))]
    (at, ids), (at_values, data), (at_labels, label_ids) = parts
    if not np.array_equal(at, at_values):
        row = int(np.flatnonzero(at != at_values)[0]) - 1
        raise DataFormatError(f"{os.fspath(path)}: row {row:,}: found numbers of indices and values that differ")
    n_features = _width(path, metadata, b"n_features", ids)
    n_labels = _width(path, metadata, b"n_labels", label_ids)
    X = sp.csr_array((data, ids, at), shape=(len(at) - 1, n_features))
    Y = sp.csr_array((np.ones(len(label_ids), np.float32), label_ids, at_labels), shape=(len(at) - 1, n_labels))
    return X, Y


def _lists(path: str | os.PathLike[str], column: Any) -> np.ndarray:
    """Where each row's list begins, and where the last one ends."""
    if column.null_count or not hasattr(column, "offsets") or column.flatten().null_count:
        raise DataFormatError(f"{os.fspath(path)}: found {column.type} or missing values, wanted lists of numbers")
    at = column.offsets.to_numpy().astype(np.int64)
    return at - at[0]


def _flat(column: Any, dtype: str) -> np.ndarray:
    return column.flatten().to_numpy(zero_copy_only=False).astype(dtype)


def _width(path: str | os.PathLike[str], metadata: Any, name: bytes, ids: np.ndarray) -> int:
    """As the file says, or as many as are met."""
    met = int(ids.max()) + 1 if len(ids) else 1
    width = int(metadata.get(name, met))
    if len(ids) and ids.min() < 0:
        raise DataFormatError(f"{os.fspath(path)}: found the id {ids.min():,}, wanted 0 to {width - 1:,}")
    if width < met:
        raise DataFormatError(f"{os.fspath(path)}: found ids up to {met - 1:,}, wanted 0 to {width - 1:,}")
    return width


def _write_parquet(path: str | os.PathLike[str], X: sp.csr_array, Y: sp.csr_array) -> None:
    pa = _pyarrow()
    lists = [(X.indptr, X.indices.astype("i4")), (X.indptr, X.data), (Y.indptr, Y.indices.astype("i4"))]
    columns = [pa.LargeListArray.from_arrays(np.asarray(at, "i8"), pa.array(flat)) for at, flat in lists]
    sizes = {"n_features": str(X.shape[1]), "n_labels": str(Y.shape[1])}
    table = pa.table(dict(zip(COLUMNS, columns, strict=True))).replace_schema_metadata(sizes)
    with replacing(Path(path)) as file:
        pa.parquet.write_table(table, file)


# -- all of them -------------------------------------------------------------------------------------------------------


class Format(NamedTuple):
    """How files with some endings are read and written."""

    endings: tuple[str, ...]
    read: Callable[[Any], Pair]
    write: Callable[[Any, sp.csr_array, sp.csr_array], None]


FORMATS: dict[str, Format] = {
    "svmlight": Format((".svm", ".libsvm", ".svmlight"), _read_svmlight, _write_svmlight),
    "npz": Format((".npz",), _read_npz, _write_npz),
    "parquet": Format((".parquet",), _read_parquet, _write_parquet),
    "xmc": Format((".txt", ".txt.gz"), read_xmc, write_xmc),
}


@contextmanager
def _damaged(path: str | os.PathLike[str], *more: Any) -> Iterator[None]:
    """What a reader says of damaged files becomes one error that names the file."""
    try:
        yield
    except DataFormatError:
        raise
    except (OSError, *DAMAGE, *more) as e:
        if isinstance(e, OSError) and e.errno not in (None, errno.EINVAL):
            raise  # the file could not be read; else what was read made no sense
        raise DataFormatError(f"{os.fspath(path)}: not a readable file of its kind: {e}") from e


def _checked(path: str | os.PathLike[str], X: sp.csr_array, Y: sp.csr_array) -> Pair:
    with _damaged(path):
        X, Y = check_X(X, keep_zeros=True), check_Y(Y)
        if X.shape[0] != Y.shape[0]:
            raise ValueError(f"found {X.shape[0]:,} rows and labels of {Y.shape[0]:,}")
        if max(X.shape[1], Y.shape[1]) > MAX_COLUMNS:
            raise ValueError(f"found {max(X.shape[1], Y.shape[1]):,} columns, wanted {MAX_COLUMNS:,} at most")
    return X, Y
