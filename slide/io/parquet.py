"""Parquet files with rows and labels as lists of numbers; by pyarrow, the extra `text`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import scipy.sparse as sp

from slide.errors import DataFormatError
from slide.io.content import Content, Source, damaged, opened
from slide.io.packages import pyarrow
from slide.io.xmc import Pair

COLUMNS = ("indices", "values", "labels")


def read_parquet(content: Content) -> Pair:
    """X and Y, not checked yet."""
    pa = pyarrow("Parquet files")
    with damaged(content.label, pa.ArrowException):
        return _from_table(content.label, pa.parquet.read_table(content.file), pa)


def parquet_blocks(content: Content, rows: int) -> Iterator[tuple[Pair, int]]:
    """X and Y of so many rows at a time, not checked yet, each as wide as it needs be; and how many rows there are."""
    pa = pyarrow("Parquet files")
    with damaged(content.label, pa.ArrowException):
        file = pa.parquet.ParquetFile(content.file)
        seen = 0
        for batch in file.iter_batches(rows):
            table = pa.Table.from_batches([batch], file.schema_arrow)
            yield _from_table(content.label, table, pa, seen), file.metadata.num_rows
            seen += batch.num_rows


def is_matrices(source: Source) -> bool:
    """Whether a Parquet file has the columns of rows and labels, or others: a table of text."""
    pa = pyarrow("Parquet files")
    with opened(source) as content, damaged(content.label, pa.ArrowException):
        return set(COLUMNS) <= set(pa.parquet.ParquetFile(content.file).schema_arrow.names)


def _from_table(label: str, table: Any, pa: Any, first: int = 0) -> Pair:
    for column in COLUMNS:
        if column not in table.column_names:
            wanted = "indices, values and labels; a table with text: slide.read_table, slide train --text"
            raise DataFormatError(f"{label}: found the columns {table.column_names}, wanted {wanted}")
    metadata = table.schema.metadata or {}
    indices, values, labels = (table.column(name).combine_chunks() for name in COLUMNS)
    for name, column in (("indices", indices), ("labels", labels)):
        if hasattr(column, "offsets") and not pa.types.is_integer(column.type.value_type):
            raise DataFormatError(f"{label}: {name}: found {column.type}, wanted lists of whole numbers")
    parts = [(_lists(label, c), _flat(c, d)) for c, d in ((indices, "i8"), (values, "f4"), (labels, "i8"))]
    (at, ids), (at_values, data), (at_labels, label_ids) = parts
    if not np.array_equal(at, at_values):
        row = first + int(np.flatnonzero(at != at_values)[0]) - 1
        raise DataFormatError(f"{label}: row {row:,}: found numbers of indices and values that differ")
    n_features = _width(label, metadata, b"n_features", ids)
    n_labels = _width(label, metadata, b"n_labels", label_ids)
    X = sp.csr_array((data, ids, at), shape=(len(at) - 1, n_features))
    Y = sp.csr_array((np.ones(len(label_ids), np.float32), label_ids, at_labels), shape=(len(at) - 1, n_labels))
    return X, Y


def _lists(label: str, column: Any) -> np.ndarray:
    """Where each row's list begins, and where the last one ends."""
    if column.null_count or not hasattr(column, "offsets") or column.flatten().null_count:
        raise DataFormatError(f"{label}: found {column.type} or missing values, wanted lists of numbers")
    at = column.offsets.to_numpy().astype(np.int64)
    return at - at[0]


def _flat(column: Any, dtype: str) -> np.ndarray:
    return column.flatten().to_numpy(zero_copy_only=False).astype(dtype)


def _width(label: str, metadata: Any, name: bytes, ids: np.ndarray) -> int:
    """As the file says, or as many as are met."""
    met = int(ids.max()) + 1 if len(ids) else 1
    width = int(metadata.get(name, met))
    if len(ids) and ids.min() < 0:
        raise DataFormatError(f"{label}: found the id {ids.min():,}, wanted 0 to {width - 1:,}")
    if width < met:
        raise DataFormatError(f"{label}: found ids up to {met - 1:,}, wanted 0 to {width - 1:,}")
    return width


def write_parquet(file: BinaryIO, X: sp.csr_array, Y: sp.csr_array) -> None:
    """Widths are metadata of the schema."""
    pa = pyarrow("Parquet files")
    lists = [(X.indptr, X.indices.astype("i4")), (X.indptr, X.data), (Y.indptr, Y.indices.astype("i4"))]
    columns = [pa.LargeListArray.from_arrays(np.asarray(at, "i8"), pa.array(flat)) for at, flat in lists]
    sizes = {"n_features": str(X.shape[1]), "n_labels": str(Y.shape[1])}
    table = pa.table(dict(zip(COLUMNS, columns, strict=True))).replace_schema_metadata(sizes)
    pa.parquet.write_table(table, file)
