"""Packs a data set for slide/datasets/data: python -m slide.datasets.pack SOURCE [--name NAME] [--out FOLDER].

SOURCE has train.txt.gz and test.txt.gz (extreme classification format, values with four decimals), labels.txt.gz (a
name a line) and train.tsv.gz and test.tsv.gz (columns id, labels, text). The licence file is copied by hand.
embedded.py says what the packed files hold.
"""

from __future__ import annotations

import argparse
import gzip
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.datasets.embedded import VALUE_SCALE
from slide.io.atomic import replacing
from slide.io.xmc import read_xmc


def pack(source: Path, out: Path, name: str) -> None:
    """Writes NAME.npz, NAME.labels.xz and NAME.texts.xz into a folder.

    Raises
    ------
    ValueError
        Values with more than four decimals, or files whose numbers of rows or labels disagree.
    """
    X_train, Y_train = read_xmc(source / "train.txt.gz")
    X_test, Y_test = read_xmc(source / "test.txt.gz")
    X, Y = (sp.vstack(pair, format="csc") for pair in ((X_train, X_test), (Y_train, Y_test)))
    arrays: dict[str, Any] = {
        "n_train": np.int64(X_train.shape[0]),
        "X_shape": np.array(X.shape, np.int64),
        "X_steps": _steps(X),
        "X_values": _split_bytes(_to_integers(X.data)),
        "Y_shape": np.array(Y.shape, np.int64),
        "Y_steps": _steps(Y),
    }
    labels = gzip.decompress((source / "labels.txt.gz").read_bytes())
    if len(labels.decode().splitlines()) != Y.shape[1]:
        raise ValueError(f"labels.txt.gz: found {len(labels.splitlines()):,} names, wanted {Y.shape[1]:,}")
    texts = [_texts(source / "train.tsv.gz", X_train.shape[0]), _texts(source / "test.tsv.gz", X_test.shape[0])]
    with replacing(out / f"{name}.npz") as file:
        np.savez_compressed(file, **arrays)
    for kind, data in (("labels", labels), ("texts", b"".join(texts))):
        with replacing(out / f"{name}.{kind}.xz") as file:
            file.write(_compress(data))


def _to_integers(values: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    scaled = np.rint(values.astype(np.float64) * VALUE_SCALE).astype(np.int64)
    if ((scaled / VALUE_SCALE).astype(np.float32) != values).any() or (scaled < 0).any():
        raise ValueError(f"found values that are no multiples of 1/{VALUE_SCALE:,}, or negative: they would be altered")
    return scaled


def _steps(matrix: sp.csc_matrix) -> npt.NDArray[np.uint8]:
    """Distances between entries, columns laid end to end."""
    matrix.sort_indices()
    n_rows, n_columns = matrix.shape
    column = np.repeat(np.arange(n_columns, dtype=np.int64), np.diff(matrix.indptr))
    return _split_bytes(np.diff(column * n_rows + matrix.indices, prepend=0))


def _split_bytes(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """The bytes of numbers, least significant plane first, as few planes as the largest needs; [bytes, n]."""
    n_bytes = max(1, (int(numbers.max(initial=0)).bit_length() + 7) // 8)
    return np.stack([(numbers >> (8 * i) & 0xFF).astype(np.uint8) for i in range(n_bytes)])


def _texts(path: Path, n_rows: int) -> bytes:
    """Columns labels and text, without the header."""
    lines = gzip.decompress(path.read_bytes()).removesuffix(b"\n").split(b"\n")[1:]
    if len(lines) != n_rows:
        raise ValueError(f"{path.name}: found {len(lines):,} rows, wanted {n_rows:,}")
    return b"".join(b"\t".join(line.split(b"\t")[1:]) + b"\n" for line in lines)


def _compress(data: bytes) -> bytes:
    return lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m slide.datasets.pack", description="Packs a data set.")
    parser.add_argument("source", type=Path)
    parser.add_argument("--name", help="name of the data set; by default that of the folder")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data")
    arguments = parser.parse_args()
    pack(arguments.source, arguments.out, arguments.name or arguments.source.resolve().name)


if __name__ == "__main__":
    main()
