"""Features in one file and labels in another, as the extreme classification repository's newer sets come.

Each is text with a header of two numbers (rows columns) and then "index:value index:value ..." a row, or a sparse
matrix that SciPy saved (.npz). Where only the features are named, the labels are looked for under names that sets use.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from slide.checks import check_X
from slide.engine.threads import resolve_threads, usable_threads
from slide.engine.xmc_fault import Fault
from slide.errors import DataFormatError
from slide.io.content import Content, Source, damaged, label_of, opened
from slide.io.xmc import Pair, describe, matrices, parse

HEADER = re.compile(rb"[ \t\r]*(\d+)[ \t]+(\d+)[ \t\r]*")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
WANTED = "a header of two whole numbers (rows columns) and rows index:value index:value ..."
#: Parts of the names of features and of their labels: trn_X_Xf.txt and trn_X_Y.txt, X.trn.npz and Y.trn.npz, ...
NAMES = (("_Xf", "_Y"), ("_X_Xf", "_Y"), ("X.", "Y."), ("_X.", "_Y."), ("features", "labels"), ("_ft_", "_lbl_"))


def read_xmc_pair(features: Source, labels: Source | None = None, *, n_threads: int | None = None) -> Pair:
    """Read features and labels from two files, as the extreme classification repository's newer sets have them.

    Parameters
    ----------
    features, labels : path, or binary file
        Text with a header "rows columns", then "index:value index:value ..." a row, a blank line where there is none;
        packed or not, as for read_xmc. Or a sparse matrix as ``scipy.sparse.save_npz`` writes it. labels None: beside
        the features, under the name that goes with theirs: trn_X_Y.txt with trn_X_Xf.txt, Y.trn.npz with X.trn.npz.
    n_threads : int, optional
        Threads that parse; None for as many as this process may use.

    Returns
    -------
    X : csr_array of float32, shape [rows, n_features]
    Y : csr_array of float32, shape [rows, n_labels]
        1 where a row has the label.

    Raises
    ------
    FileNotFoundError
        There is no such file, or no file of labels beside that of the features.
    DataFormatError
        A file is malformed, the numbers of rows differ, or a label's value is neither 0 nor 1.

    Examples
    --------
    >>> import tempfile, pathlib, slide
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "trn_X_Xf.txt").write_text("2 4\\n0:0.5 3:2\\n1:1\\n")
    >>> _ = (folder / "trn_X_Y.txt").write_text("2 3\\n0:1 2:1\\n1:1\\n")
    >>> X, Y = slide.read_xmc_pair(folder / "trn_X_Xf.txt", folder / "trn_X_Y.txt")
    >>> Y.toarray()
    array([[1., 0., 1.],
           [0., 1., 0.]], dtype=float32)
    """
    with opened(features) as content:
        X = read_part(content, n_threads)
    return with_labels(features, X, labels, n_threads)


def with_labels(features: Source, X: sp.csr_array, labels: Source | None, n_threads: int | None = None) -> Pair:
    """X, which was read from features, and its labels."""
    if labels is None:
        labels = beside(features)
    with opened(labels) as content:
        Y = read_part(content, n_threads)
    if X.shape[0] != Y.shape[0]:
        found = f"{Y.shape[0]:,} rows of labels"
        raise DataFormatError(f"{label_of(labels)}: found {found}, wanted the {X.shape[0]:,} of {label_of(features)}")
    odd = np.flatnonzero((Y.data != 0) & (Y.data != 1))
    if odd.size:
        row = int(np.searchsorted(Y.indptr, odd[0], side="right")) - 1
        found = f"{Y.data[odd[0]]:g} for label {Y.indices[odd[0]]:,} in row {row:,}"
        raise DataFormatError(f"{label_of(labels)}: found {found}, wanted 1 for a label that a row has, or 0")
    Y.eliminate_zeros()
    return X, Y


def is_part(head: bytes) -> bool:
    """Whether a file begins as those of two do."""
    return HEADER.fullmatch(head.partition(b"\n")[0]) is not None


def read_part(content: Content, n_threads: int | None = None) -> sp.csr_array:
    """One of the two files, CSR float32 [rows, columns]."""
    if content.head().startswith(b"PK\x03\x04"):
        return _scipy_part(content)
    text = bytes(content.buffer()).removeprefix(BYTE_ORDER_MARK)
    header, _, rows = text.partition(b"\n")
    if not HEADER.fullmatch(header):
        found = repr(header[:40].decode("utf-8", "backslashreplace"))
        raise DataFormatError(f"{content.label}, line 1: found {found}, wanted {WANTED}")
    text = header.rstrip() + b" 0\n" + rows  # no labels: what XMC text says of features alone
    try:
        return matrices(parse(text, usable_threads(resolve_threads(n_threads))))[0]
    except Fault as fault:
        raise DataFormatError(describe(fault, content.label, text)) from None


def _scipy_part(content: Content) -> sp.csr_array:
    with damaged(content.label):
        matrix = sp.csr_array(sp.load_npz(content.file), dtype=np.float32)
        matrix.check_format(full_check=True)
        return check_X(matrix, keep_zeros=True)


def beside(features: Source) -> str:
    """The labels' file under the name that goes with the features'.

    Raises
    ------
    FileNotFoundError
        There is none; says which names were tried.
    """
    path = Path(label_of(features))
    tried = [path.name.replace(ours, theirs) for ours, theirs in NAMES if ours in path.name]
    for name in tried:
        if path.with_name(name).exists():
            return os.fspath(path.with_name(name))
    names = f"found no {' or '.join(dict.fromkeys(tried))} beside it" if tried else "found no file of labels named"
    raise FileNotFoundError(f"{path}: holds features alone (a header of two numbers): {names}, wanted their labels too")
