"""Doubts about labels that were read in the wrong way: cells that hold several labels, a column that holds none.

Training on them works, finds what nobody asked for, and takes as long as any other; so the doubt is said before it. It
is only a doubt: "Paris, France" may well be one label.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.estimator.labels import Labels

SEPARATORS = (",", ";", "|", "\t", "/", " ")
STRONG = (";", "|", "\t")  # stand in few names of one label
WEAK = ("/", " ")  # in many: only where splitting leaves far fewer labels
LOOKED_AT = 100_000  # different cells at most
FEW_CELLS = 20  # so many rows with one label each are no surprise


class Split(NamedTuple):
    """What a separator would make of some cells: rows that have it, and different labels once they are split."""

    separator: str
    rows: int
    labels: int
    example: str


def likely_separator(
    cells: Sequence[str], counts: npt.NDArray[np.int64], *, one_each: bool = True, given: str | None = None
) -> Split | None:
    """What probably stands between the labels of these cells, if anything does.

    Parameters
    ----------
    cells : different texts, `counts` rows each
    one_each : whether a row has one of these cells, rather than several
    given : what they were split by already
    """
    step = -(-len(cells) // LOOKED_AT) or 1
    cells, counts = cells[::step], counts[::step]
    total, found = int(counts.sum()), []
    for separator in SEPARATORS:
        with_it = [i for i, cell in enumerate(cells) if separator in cell.strip()]
        rows = int(counts[with_it].sum())
        if separator == given or 20 * rows < total or not rows:
            continue
        labels = len({label.strip() for cell in cells for label in cell.split(separator)} - {""})
        fewer = 2 * labels <= len(cells) if separator in WEAK else labels < len(cells)
        if fewer or (2 * rows > total and (separator in STRONG or (one_each and separator not in WEAK))):
            found.append(Split(separator, rows * step, labels, cells[with_it[0]]))
    return max(found, key=lambda split: split.rows, default=None)


def doubt_separator(cells: Iterable[str], separator: str, where: str) -> None:
    """Warns of cells none of which contains the separator, and says which one most contain.

    where : the beginning of the sentence
    """
    distinct, counts = np.unique(np.asarray([cell for cell in cells if cell.strip()], object), return_counts=True)
    if not len(distinct) or any(separator in cell for cell in distinct):
        return
    total, split = int(counts.sum()), likely_separator(distinct.tolist(), counts, given=separator)
    if split is None and total < FEW_CELLS:
        return
    message = f"{where}no cell contains the separator {separator!r}, so each is taken for one label"
    if split:
        message += f"; {split.rows:,} of {total:,} contain {split.separator!r}, like {_short(split.example)}"
    warnings.warn(message, stacklevel=4)


def doubt_labels(labels: Labels, Y: sp.csr_array, all_there: bool) -> None:
    """Warns of labels that are probably several in one, or lists written as text, or another one in each row.

    Y : indicator CSR [n, n_labels] of the rows, which are all to be trained on, or the first of many
    """
    if labels.kind not in ("classes", "lists") or labels.classes.dtype.kind not in "UO":
        return
    counts = np.bincount(Y.indices, minlength=Y.shape[1])
    names, counts = labels.classes[counts > 0].tolist(), counts[counts > 0]
    if all(isinstance(name, str) for name in names):
        message = _doubt(names, counts, Y.shape[0], Y.nnz, all_there)
        if message:
            warnings.warn(f"y: {message}", stacklevel=4)


def _doubt(names: list[str], counts: npt.NDArray[np.int64], n_rows: int, n_pairs: int, all_there: bool) -> str | None:
    one_each = n_pairs <= 1.05 * n_rows
    in_brackets = np.array([name.startswith("[") or name.endswith("]") for name in names], np.bool_)
    if 2 * counts[in_brackets].sum() > n_pairs:
        example = _short(names[int(np.argmax(in_brackets))])
        return f"found labels like {example}, which look like lists written as text: wanted the lists themselves"
    split = likely_separator(names, counts, one_each=one_each)
    if all_there and one_each and n_rows >= FEW_CELLS and 10 * len(names) >= 9 * n_rows:
        message = f"found {len(names):,} labels in {n_rows:,} rows, nearly all of them once, like {_short(names[0])}"
        message += ": is this the column of labels"
        return message + (f", and does {split.separator!r} stand between them?" if split else "?")
    if split is None:
        return None
    return (
        f"{split.rows:,} of {n_pairs:,} labels have {split.separator!r} in them, like {_short(split.example)}; if it "
        f"separates labels, split them: {split.labels:,} labels instead of {len(names):,} "
        f"(label_separator={split.separator!r} of read_table, --label-separator)"
    )


def _short(name: str) -> str:
    return repr(name if len(name) <= 40 else name[:39] + "…")
