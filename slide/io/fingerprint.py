"""A fingerprint of rows and labels: what a model was trained on, and whether a checkpoint belongs to these data."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

BLOCK = 1 << 20  # entries converted at once


def fingerprint(X: sp.csr_array, Y: sp.csr_array) -> str:
    """32 hexadecimal digits (BLAKE2b) of canonical CSR matrices: shapes, places and values of X, places of Y.

    >>> import slide
    >>> X, Y = slide.datasets.synthetic(20, 10, 5, nnz=3, labels_per_row=1)
    >>> fingerprint(X, Y) == fingerprint(X.copy(), Y.copy()) != fingerprint(X * 2, Y)
    True
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(np.array([*X.shape, *Y.shape], "<i8").tobytes())
    for array, dtype in ((X.indptr, "<i8"), (X.indices, "<i8"), (X.data, "<f4"), (Y.indptr, "<i8"), (Y.indices, "<i8")):
        _add(digest, array, dtype)
    return digest.hexdigest()


def _add(digest: hashlib.blake2b, array: npt.NDArray[np.generic], dtype: str) -> None:
    """Index arrays are int32 or int64 as the matrix is large: the digest must not depend on it."""
    for first in range(0, len(array), BLOCK):
        digest.update(np.ascontiguousarray(array[first : first + BLOCK], dtype).data)
