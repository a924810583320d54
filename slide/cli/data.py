"""Where the commands read data from and how they write files: names of embedded data sets, whole files or none."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import scipy.sparse as sp

import slide
from slide.io import formats
from slide.io.atomic import replacing
from slide.training.bars import waiting


class Data(NamedTuple):
    """Rows with labels, and what to call them."""

    name: str
    X: sp.csr_array
    Y: sp.csr_array
    open_ended: bool = False  # the file does not say how many columns there are

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Rows, features, labels."""
        return *self.X.shape, self.Y.shape[1]

    def __str__(self) -> str:
        return f"{self.name}: {_in_words(self.sizes)}"


class InBlocks(NamedTuple):
    """Data that are not in memory."""

    name: str
    blocks: slide.XMCBlocks

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Rows, features, labels."""
        return self.blocks.n_rows, self.blocks.n_features, self.blocks.n_labels

    @property
    def Y(self) -> sp.csr_array:
        """The labels of all rows, read anew."""
        return sp.csr_array(sp.vstack([Y for _, Y in self.blocks], format="csr"))

    def __str__(self) -> str:
        return f"{self.name}: {_in_words(self.sizes)}, {self.blocks.rows:,} rows at once"


def _in_words(sizes: tuple[int, int, int]) -> str:
    return "{:,} rows, {:,} features, {:,} labels".format(*sizes)


def read_data(name: str) -> tuple[Data, Data | None]:
    """A file, or an embedded data set with its test part."""
    known = slide.datasets.names()
    if name in known:
        with waiting(f"unpacking {name} ..."):
            X, Y, X_test, Y_test = slide.datasets.load(name)
        return Data(name, X, Y), Data(f"{name}, test part", X_test, Y_test)
    if not os.path.exists(name) and os.path.basename(name) == name:
        names = ", ".join(known)
        raise FileNotFoundError(f"{name}: no such file, and no embedded data set of that name (there are: {names})")
    with waiting(f"reading {name} ..."):
        return Data(name, *formats.read(name), formats.format_of(name) == "svmlight"), None


def read_blocks(name: str, rows: int) -> InBlocks:
    """A file in XMC text, so many rows at once."""
    if name in slide.datasets.names() or formats.format_of(name) != "xmc":
        kind = "an embedded data set" if name in slide.datasets.names() else formats.format_of(name)
        raise ValueError(f"{name}: found {kind}, wanted a file of XMC text, which alone is read in blocks")
    return InBlocks(name, slide.XMCBlocks(name, rows))


def read_test(name: str) -> Data:
    """A file, or an embedded data set's test part."""
    data, test = read_data(name)
    return test or data


def check_columns(data: Data, n_features: int, n_labels: int, source: str) -> Data:
    """The data, of these widths; refuses what does not fit. Only files that do not say their widths are widened."""
    if data.open_ended:
        X, Y = data.X.copy(), data.Y.copy()
        X.resize(X.shape[0], max(X.shape[1], n_features))
        Y.resize(Y.shape[0], max(Y.shape[1], n_labels))
        data = data._replace(X=X, Y=Y)
    for what, found, wanted in (("features", data.X.shape[1], n_features), ("labels", data.Y.shape[1], n_labels)):
        if found != wanted:
            raise ValueError(f"{data.name}: found {found:,} {what}, wanted the {wanted:,} of {source}")
    return data


def writable(path: str, *inputs: str | None) -> Path:
    """Where to write, refused before any work is done: a missing or read-only folder, a folder, one of the inputs."""
    target = Path(path)
    folder = target.parent
    if target.is_dir():
        raise IsADirectoryError(f"{path}: is a folder, wanted the name of a file")
    if not folder.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{path}: cannot write into the folder {folder}")
    for other in inputs:
        if other and os.path.exists(other) and target.exists() and target.samefile(other):
            raise ValueError(f"{path}: is read by this command, and would be overwritten")
    return target


@contextmanager
def naming(target: Path) -> Iterator[None]:
    """Errors of writing name the file that was asked for, not a temporary one or none."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as e:
        if e.errno is None:
            raise
        raise type(e)(e.errno, e.strerror, str(target)) from e


@contextmanager
def whole_file(target: Path) -> Iterator[IO[str]]:
    """A text file that appears under its name when the body ends without an error, and leaves nothing if not."""
    with naming(target), replacing(target) as binary:
        file = io.TextIOWrapper(binary, encoding="utf-8")
        yield file
        file.flush()
        file.detach()


def size(path: Path) -> str:
    """Of a file, for people."""
    return f"{path.stat().st_size / 1e6:,.1f} MB"
