"""Data sets for the harness: find one by name or folder and lay it out once for every competitor.

Each competitor reads the same rows: `train.txt` and `test.txt` in the format of the extreme classification
repository, and the same matrices as SciPy files beside them. Parsing is `slide.read_xmc`'s job, the
embedded set and the synthetic ones are `slide.datasets`'. BlockSource files live under `results/data/`.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness.environment import RESULTS, ROOT

EMBEDDED = ("wordnet-hypernym",)
BESIDE = ROOT.parent / "shared" / "data"  # numbers only, and not ours to pack: the folder lies outside the checkout
OPTIONAL = ("debian-depends", "debian-sources")
HELD_OUT = 10  # one training row in so many
MATRICES = ("X_train", "Y_train", "X_test", "Y_test")
HOW_TO_GET = """\
--data takes one of:
  wordnet-hypernym   comes with slide, nothing to fetch
  debian-depends, debian-sources
                     where ../shared/data beside the checkout holds a folder of that name
  FOLDER             holds train.txt and test.txt (or .txt.gz) in the format of the extreme
                     classification repository: first line 'rows features labels', then
                     'label,label feature:value feature:value ...'
Amazon-670K, Delicious-200K, WikiLSHTC-325K and others: take the bag-of-words features from the
extreme classification repository (Bhatia et al.), unpack them, rename the two files, pass the folder."""


class MissingData(RuntimeError):
    """The data set is not here; the message says how to get it."""


@dataclass(frozen=True)
class Problem:
    """One data set, laid out in `folder` for every competitor."""

    name: str
    folder: Path

    def load(self) -> dict[str, Any]:
        """The four matrices of MATRICES by name: CSR float32 features, CSR indicator labels."""
        import scipy.sparse as sp

        return {name: sp.load_npz(self.folder / f"{name}.npz").tocsr() for name in MATRICES}

    def shape(self) -> dict[str, Any]:
        """Rows, features, labels and the mean numbers of each per row."""
        return json.loads((self.folder / "shape.json").read_text())

    def held_out(self) -> tuple[Any, Any, Any, Any]:
        """X, Y to train on and X, Y to decide by, all from the training rows: `hold_out` of them."""
        matrices = self.load()
        return hold_out(matrices["X_train"], matrices["Y_train"])


def hold_out(X: Any, Y: Any) -> tuple[Any, Any, Any, Any]:
    """Training rows and a tenth of them held out, always the same."""
    import numpy as np

    rows = np.random.default_rng(5).permutation(X.shape[0])
    out, kept = rows[: X.shape[0] // HELD_OUT], rows[X.shape[0] // HELD_OUT :]
    return X[kept], Y[kept], X[out], Y[out]


def resolve(data: str, cache: Path | None = None) -> Problem:
    """Return the data set called `data`, or the one in the folder of that name; prepare it if need be.

    Raises MissingData when it is neither, or when the folder lacks a file.
    """
    cache = cache or RESULTS / "data"
    if data in EMBEDDED:
        return _prepare_embedded(data, cache)
    folder = Path(data)
    if data in OPTIONAL and not folder.is_dir():
        folder = BESIDE / data
        if not folder.is_dir():
            raise MissingData(f"{data!r} is not in ../shared/data beside the checkout.\n{HOW_TO_GET}")
    if not folder.is_dir():
        raise MissingData(f"{data!r} is no data set known by name and no folder.\n{HOW_TO_GET}")
    sources = {part: _source(folder, part) for part in ("train", "test")}
    return _prepare_folder(folder.resolve().name, sources, cache)


def _source(folder: Path, part: str) -> Path:
    for name in (f"{part}.txt", f"{part}.txt.gz"):
        if (folder / name).exists():
            return folder / name
    raise MissingData(f"{folder} has neither {part}.txt nor {part}.txt.gz.\n{HOW_TO_GET}")


def _prepare_folder(name: str, sources: dict[str, Path], cache: Path) -> Problem:
    import slide

    stats = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in sources.values()]
    target = cache / f"{name}-{hashlib.sha256(repr(stats).encode()).hexdigest()[:8]}"
    if not (target / "shape.json").exists():
        target.mkdir(parents=True, exist_ok=True)
        parts = {}
        for part, path in sources.items():
            opener = gzip.open if path.suffix == ".gz" else open
            with opener(path, "rb") as source, open(target / f"{part}.txt", "wb") as plain:
                shutil.copyfileobj(source, plain, 1 << 20)
            parts[part] = slide.read_xmc(target / f"{part}.txt")
        _store(target, *parts["train"], *parts["test"])
    return Problem(name, target)


def _prepare_embedded(name: str, cache: Path) -> Problem:
    import slide
    import slide.datasets

    target = cache / f"{name}-embedded"
    if not (target / "shape.json").exists():
        target.mkdir(parents=True, exist_ok=True)
        matrices = slide.datasets.load(name)
        write_xmc(target / "train.txt", *matrices[:2])
        write_xmc(target / "test.txt", *matrices[2:])
        _store(target, *matrices)
    return Problem(name, target)


def from_matrices(
    name: str, matrices: tuple[Any, Any, Any, Any], cache: Path | None = None, text: bool = False
) -> Problem:
    """Lay out matrices made in memory; `text` for peers that read the text files themselves."""
    target = (cache or RESULTS / "data") / name
    target.mkdir(parents=True, exist_ok=True)
    if text:
        write_xmc(target / "train.txt", *matrices[:2])
        write_xmc(target / "test.txt", *matrices[2:])
    _store(target, *matrices)
    return Problem(name, target)


def _store(target: Path, X_train: Any, Y_train: Any, X_test: Any, Y_test: Any) -> None:
    import scipy.sparse as sp

    for name, matrix in zip(MATRICES, (X_train, Y_train, X_test, Y_test), strict=True):
        sp.save_npz(target / f"{name}.npz", sp.csr_matrix(matrix), compressed=False)
    shape = {
        "train_rows": X_train.shape[0],
        "test_rows": X_test.shape[0],
        "features": X_train.shape[1],
        "labels": Y_train.shape[1],
        "features_per_row": round(X_train.nnz / max(1, X_train.shape[0]), 2),
        "labels_per_row": round(Y_train.nnz / max(1, Y_train.shape[0]), 3),
    }
    (target / "shape.json").write_text(json.dumps(shape) + "\n")


def write_xmc(path: Path, X: Any, Y: Any) -> None:
    """Write features and labels as the repository's text; floats in the shortest form that reads back."""
    values = X.data.astype("float32").astype(str)
    with open(path, "w") as out:
        out.write(f"{X.shape[0]} {X.shape[1]} {Y.shape[1]}\n")
        for row in range(X.shape[0]):
            labels = ",".join(map(str, Y.indices[Y.indptr[row] : Y.indptr[row + 1]]))
            span = slice(X.indptr[row], X.indptr[row + 1])
            pairs = (f"{i}:{v}" for i, v in zip(X.indices[span], values[span], strict=True))
            out.write(f"{labels} {' '.join(pairs)}\n")
