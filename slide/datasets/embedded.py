"""Data sets that come with the package, unpacked: matrices, label names and texts. pack.py writes what this reads.

DATA/NAME.npz holds two matrices, training rows over test rows, column by column: the distance from each entry to the
next (as if columns were laid end to end), its bytes sorted by significance, and values in 1/10,000. What such columns
compress to is two thirds of the usual row by row form. DATA/NAME.labels.xz has a label name a line, DATA/NAME.texts.xz
an example a line: names of its labels with ";" between, a tab, its text.
"""

from __future__ import annotations

import lzma
from importlib.resources import files
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

VALUE_SCALE = 10_000
NAMES = ("wordnet-hypernym",)


class Text(NamedTuple):
    """Raw examples: one text a row, and for each row the names of its labels."""

    train_texts: list[str]
    train_labels: list[list[str]]
    test_texts: list[str]
    test_labels: list[list[str]]


def names() -> tuple[str, ...]:
    """The data sets that ``load`` knows."""
    return NAMES


def load(name: str) -> tuple[sp.csr_array, sp.csr_array, sp.csr_array, sp.csr_array]:
    """Features and labels of a data set that comes with the package.

    "wordnet-hypernym": 80,896 training and 14,182 test rows, 88,306 features (words of a WordNet 3.0 gloss, tf-idf),
    12,702 labels (the synset's hypernyms and theirs). Its licence is slide/datasets/data/LICENSE.wordnet.

    Returns
    -------
    X_train, Y_train, X_test, Y_test : csr_array of float32
        Features have rows of length 1; labels are 0 or 1.

    Raises
    ------
    ValueError
        There is no such data set; the message names those there are.

    Examples
    --------
    >>> import slide
    >>> X_train, Y_train, X_test, Y_test = slide.datasets.load("wordnet-hypernym")
    >>> X_train.shape, Y_test.shape
    ((80896, 88306), (14182, 12702))
    """
    with _open(name, "npz") as file, np.load(file, allow_pickle=False) as packed:
        n_train = int(packed["n_train"])
        X = _unpack(packed["X_shape"], packed["X_steps"], packed["X_values"])
        Y = _unpack(packed["Y_shape"], packed["Y_steps"], None)
    return _rows(X, 0, n_train), _rows(Y, 0, n_train), _rows(X, n_train, None), _rows(Y, n_train, None)


def load_label_names(name: str) -> list[str]:
    """One name for each column of the label matrices, for instance "n00001740:entity"; errors as ``load``."""
    with _open(name, "labels.xz") as file:
        return lzma.decompress(file.read()).decode().splitlines()


def load_text(name: str) -> Text:
    """The rows of ``load`` as text: glosses, and the names of their labels; errors as ``load``.

    Some names are of labels too rare to be a column.
    """
    with _open(name, "npz") as file, np.load(file, allow_pickle=False) as packed:
        n_train = int(packed["n_train"])
    with _open(name, "texts.xz") as file:
        lines = lzma.decompress(file.read()).decode().removesuffix("\n").split("\n")
    texts, labels = [], []
    for line in lines:
        label_names, _, text = line.partition("\t")
        texts.append(text)
        labels.append(label_names.split(";") if label_names else [])
    return Text(texts[:n_train], labels[:n_train], texts[n_train:], labels[n_train:])


def _open(name: str, kind: str) -> IO[bytes]:
    if name not in NAMES:
        raise ValueError(f"name: found {name!r}, wanted one of {', '.join(map(repr, NAMES))}")
    return files("slide.datasets").joinpath("data").joinpath(f"{name}.{kind}").open("rb")


def _join_bytes(planes: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Numbers from their bytes, least significant plane first; planes [bytes, n]."""
    number = np.zeros(planes.shape[1], np.int64)
    for i, plane in enumerate(planes):
        number |= plane.astype(np.int64) << (8 * i)
    return number


def _unpack(
    shape: npt.NDArray[np.int64], steps: npt.NDArray[np.uint8], values: npt.NDArray[np.uint8] | None
) -> sp.csr_array:
    n_rows, n_columns = (int(n) for n in shape)
    column, row = np.divmod(np.cumsum(_join_bytes(steps)), n_rows)
    number = np.ones(len(row)) if values is None else _join_bytes(values) / VALUE_SCALE
    indptr = np.searchsorted(column, np.arange(n_columns + 1)).astype(np.int32)
    return sp.csr_array(
        sp.csc_array((number.astype(np.float32), row.astype(np.int32), indptr), shape=(n_rows, n_columns))
    )


def _rows(matrix: sp.csr_array, start: int, stop: int | None) -> sp.csr_array:
    part = matrix[start:stop]
    part.has_canonical_format = True  # from sorted columns without repetition
    return part
