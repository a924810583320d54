"""Predictions as files that programs read: csv, tsv, JSON lines, Parquet, written a block of rows at a time.

csv and tsv have a line for each label of a row: id, rank from 1, label, score; a cell with a delimiter, a quotation
mark or a line break is quoted as RFC 4180 says, in tsv too. JSON lines and Parquet have a row for each row, with a list
of labels and one of scores, so a row without labels is there as well. What is no Unicode text (half of a surrogate
pair) is written as its escape.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from slide.io.delimited import row_as_line
from slide.io.packages import pyarrow
from slide.labels.stored_names import as_texts

FORMATS = ("csv", "tsv", "jsonl", "parquet")
ROWS_AT_ONCE = 65_536  # of a row group

ESCAPED = "backslashreplace"  # which in JSON too is how a lone surrogate is written

Values = npt.NDArray[Any]


class PredictionWriter(Protocol):
    """Takes blocks of predictions, in the order of the rows."""

    def write(self, ids: Sequence[Any], columns: Values, scores: Values) -> None:
        """ids : of the rows; columns int [n, k], best first, -1 for none; scores [n, k]."""


@contextmanager
def prediction_writer(
    file: BinaryIO, kind: str, classes: Values, id_name: str, ids: Sequence[Any]
) -> Iterator[PredictionWriter]:
    """A writer into a binary file, which stays open.

    Parameters
    ----------
    kind : one of FORMATS
    classes : [n_labels] what labels are called; whole numbers stay numbers, anything else becomes text
    id_name : what the column of ids is called
    ids : of all rows, which say what type that column has
    """
    names = classes if classes.dtype.kind in "iu" else np.array(as_texts(classes), object)
    if kind == "parquet":
        with _parquet(file, names, id_name, ids) as writer:
            yield writer
        return
    text = io.TextIOWrapper(file, encoding="utf-8", errors=ESCAPED, newline="", write_through=True)
    try:
        writer = _Json(text, names, id_name) if kind == "jsonl" else _Csv(text, kind, names, id_name)
        yield writer
        text.flush()
    finally:
        text.detach()


def short(score: float) -> float:
    """A float32 in as many digits as it is good for."""
    return float(f"{score:.6g}")


class _Csv:
    def __init__(self, file: io.TextIOWrapper, kind: str, names: Values, id_name: str) -> None:
        self._file, self._kind, self._names = file, kind, names
        self._head = row_as_line([id_name, "rank", "label", "score"], kind)

    def write(self, ids: Sequence[Any], columns: Values, scores: Values) -> None:
        self._file.write(self._head)  # with the first block: what cannot be predicted leaves no output
        self._head = ""
        for row, best, values in zip(ids, columns.tolist(), scores.tolist(), strict=True):
            kept = [(i, s) for i, s in zip(best, values, strict=True) if i >= 0]
            cells = ((row, rank, self._names[i], f"{s:.6g}") for rank, (i, s) in enumerate(kept, 1))
            self._file.writelines(row_as_line(some, self._kind) for some in cells)
        self._file.flush()


class _Json:
    def __init__(self, file: io.TextIOWrapper, names: Values, id_name: str) -> None:
        self._file, self._names, self._keys = file, names.tolist(), (id_name, "labels", "scores")

    def write(self, ids: Sequence[Any], columns: Values, scores: Values) -> None:
        for row, best, values in zip(ids, columns.tolist(), scores.tolist(), strict=True):
            kept = [(self._names[i], short(s)) for i, s in zip(best, values, strict=True) if i >= 0]
            cells = (row, [name for name, _ in kept], [s for _, s in kept])
            self._file.write(
                json.dumps(dict(zip(self._keys, cells, strict=True)), ensure_ascii=False, default=str) + "\n"
            )
        self._file.flush()


@contextmanager
def _parquet(file: BinaryIO, names: Values, id_name: str, ids: Sequence[Any]) -> Iterator[PredictionWriter]:
    pa = pyarrow("Parquet files")
    try:
        of_ids = pa.array(ids).type
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeError):  # of several types
        of_ids = pa.string()
    label = pa.int64() if names.dtype.kind in "iu" else pa.string()
    fields = [(id_name, of_ids), ("labels", pa.list_(label)), ("scores", pa.list_(pa.float32()))]
    schema = pa.schema(fields)
    with pa.parquet.ParquetWriter(file, schema) as written:
        writer = _Parquet(pa, written, schema, names)
        yield writer
        writer.flush()


class _Parquet:
    def __init__(self, pa: Any, file: Any, schema: Any, names: Values) -> None:
        self._pa, self._file, self._schema, self._names = pa, file, schema, names
        self._blocks: list[Any] = []
        self._n = 0

    def write(self, ids: Sequence[Any], columns: Values, scores: Values) -> None:
        pa, kept = self._pa, columns >= 0
        at = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.int32)
        of_ids, labels, values = (field.type for field in self._schema)
        given = _sound([str(v) for v in ids]) if of_ids == pa.string() else list(ids)
        cells = [
            pa.array(given, of_ids),
            pa.ListArray.from_arrays(at, pa.array(_sound(self._names[columns[kept]].tolist()), labels.value_type)),
            pa.ListArray.from_arrays(at, pa.array(scores[kept].astype(np.float32), values.value_type)),
        ]
        self._blocks.append(pa.record_batch(cells, schema=self._schema))
        self._n += len(ids)
        if self._n >= ROWS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Writes what was gathered as one row group."""
        if self._blocks:
            self._file.write_table(self._pa.Table.from_batches(self._blocks, self._schema))
        self._blocks, self._n = [], 0


def _sound(texts: list[Any]) -> list[Any]:
    """Texts that UTF-8 has; numbers as they are."""
    return [t.encode("utf-8", ESCAPED).decode() if isinstance(t, str) else t for t in texts]
