"""npz files: NumPy's archives, with the CSR parts of X and of Y."""

from __future__ import annotations

import zipfile
from typing import Any, BinaryIO

import numpy as np
import scipy.sparse as sp

from slide.engine import memory
from slide.errors import DataFormatError
from slide.io.content import Content, damaged
from slide.io.xmc import Pair

PARTS = ("data", "indices", "indptr", "shape")


def read_npz(content: Content) -> Pair:
    """X and Y, not checked yet."""
    with damaged(content.label):
        _check_size(content)
        with np.load(content.file, allow_pickle=False) as found:
            X, Y = (_matrix(content.label, found, name) for name in ("X", "Y"))
            return X, Y


def is_scipy(content: Content) -> bool:
    """Whether it holds one matrix as SciPy saves it."""
    with damaged(content.label), zipfile.ZipFile(content.file) as archive:
        names = archive.namelist()
    content.rewind()
    return "indptr.npy" in names and "shape.npy" in names


def _check_size(content: Content) -> None:
    """Refuses what would not fit before it is unpacked: a small file can claim any size."""
    with zipfile.ZipFile(content.file) as packed:
        wanted = sum(info.file_size for info in packed.infolist())
    content.rewind()
    available = memory.available_memory()
    if available is not None and wanted > available:
        raise MemoryError(f"{content.label}: unpacked it has {wanted:,} bytes, available are {available:,}")


def _matrix(label: str, found: Any, name: str) -> sp.csr_array:
    for part in PARTS:
        if f"{name}_{part}" not in found:
            raise DataFormatError(f"{label}: found no array {name}_{part}, wanted CSR parts of X and Y")
    data, indices, indptr, shape = (found[f"{name}_{part}"] for part in PARTS)
    if any(a.dtype.kind not in "iu" for a in (indices, indptr, shape)) or data.dtype.kind not in "fiub":
        raise DataFormatError(f"{label}: {name}: found {data.dtype} and {indices.dtype}, wanted numbers")
    matrix = sp.csr_array((data, indices, indptr), shape=tuple(int(n) for n in shape))
    matrix.check_format(full_check=True)
    return matrix


def write_npz(file: BinaryIO, X: sp.csr_array, Y: sp.csr_array) -> None:
    """CSR parts, compressed."""
    parts = {"X": X, "Y": Y}
    arrays = {f"{name}_{part}": np.asarray(getattr(m, part)) for name, m in parts.items() for part in PARTS}
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
