"""Models into and out of file objects: memory, files, compressed streams, pipes, objects with one method."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tempfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import slide
from slide.io import formats

X, Y = slide.datasets.synthetic(60, 30, 3, nnz=6, labels_per_row=1)
CLF = slide.SlideClassifier(hidden=(4,), epochs=1, n_threads=1).fit(X, Y)
ROWS = CLF._rows(X)
SCORES = CLF.predict_topk(X, 3)[1]


class Takes:
    """Only write, which returns nothing and keeps what it was given."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.parts.append(data)


class Gives:
    """Only read, a little at a time."""

    def __init__(self, data: bytes) -> None:
        self._left = io.BytesIO(data)

    def read(self, n: int) -> bytes:
        return self._left.read(min(n, 777))


class Slow(io.RawIOBase):
    """Takes a part of what it is given, as an unbuffered pipe does."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        taken = bytes(data[:1000])
        self.data += taken
        return len(taken)


def assert_same(model: Any) -> None:
    found = model.predict_topk(X if isinstance(model, slide.SlideClassifier) else ROWS, 3)[1]
    np.testing.assert_array_equal(found, SCORES)


def saved(model: Any = CLF) -> bytes:
    box = io.BytesIO()
    model.save(box)
    return box.getvalue()


@pytest.mark.parametrize("model", [CLF, CLF.network_], ids=["classifier", "network"])
def test_it_is_what_a_file_would_hold(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "m.slide")
    assert saved(model) == (tmp_path / "m.slide").read_bytes()
    assert_same(slide.load(io.BytesIO(saved(model))))


def test_several_in_a_row_from_where_it_stands() -> None:
    box = io.BytesIO(b"before")
    box.seek(6)
    CLF.save(box)
    CLF.network_.save(box)
    box.write(b"after")
    box.seek(6)
    assert_same(slide.load(box))
    assert isinstance(slide.load(box), slide.Network)
    assert box.read() == b"after"


@pytest.mark.parametrize("opening", [open, gzip.open, bz2.open, lzma.open])
def test_files_and_compressed_ones(opening: Callable[..., Any], tmp_path: Path) -> None:
    with opening(tmp_path / "m", "wb") as file:
        CLF.save(file)
    with opening(tmp_path / "m", "rb") as file:
        assert_same(slide.load(file))


def test_other_objects(tmp_path: Path) -> None:
    with open(tmp_path / "raw", "wb", buffering=0) as raw:
        CLF.save(raw)
    with open(tmp_path / "raw", "rb", buffering=0) as raw:
        assert_same(slide.load(raw))
    with tempfile.SpooledTemporaryFile() as file:
        CLF.save(file)
        file.seek(0)
        assert_same(slide.load(file))
    with zipfile.ZipFile(tmp_path / "z", "w") as archive, archive.open("m", "w") as member:
        CLF.save(member)
    with zipfile.ZipFile(tmp_path / "z") as archive, archive.open("m") as member:
        assert_same(slide.load(member))
    takes, slow = Takes(), Slow()
    CLF.save(takes)
    CLF.save(slow)
    assert b"".join(takes.parts) == bytes(slow.data) == saved()
    assert_same(slide.load(Gives(saved())))


def test_a_pipe() -> None:
    reading, writing = os.pipe()

    def save() -> None:
        with open(writing, "wb") as file:
            CLF.save(file)

    thread = threading.Thread(target=save)
    thread.start()
    with open(reading, "rb") as file:
        assert_same(slide.load(file))
    thread.join()


def test_what_an_object_kept_does_not_change_with_the_model() -> None:
    clf = slide.SlideClassifier(hidden=(4,), epochs=1, n_threads=1).fit(X, Y)
    takes = Takes()
    clf.save(takes)
    before = [bytes(part) for part in takes.parts]
    clf.partial_fit(X, Y)
    assert takes.parts == before


def test_data_and_graphs_too(tmp_path: Path) -> None:
    for kind in ("xmc", "npz"):
        box = io.BytesIO()
        formats.write(box, X, Y, kind)
        (tmp_path / kind).write_bytes(box.getvalue())
        assert (formats.read(tmp_path / kind, kind)[0] != X).nnz == 0
    pytest.importorskip("onnx", reason="onnx is not installed")
    box = io.BytesIO()
    CLF.export_onnx(box, k=2)
    CLF.export_onnx(tmp_path / "m.onnx", k=2)
    assert box.getvalue() == (tmp_path / "m.onnx").read_bytes()


@pytest.mark.parametrize("cut", [0, 4, 50, -1])
def test_what_ends_early_is_no_model(cut: int) -> None:
    with pytest.raises(slide.errors.ModelFormatError, match="<BytesIO>: "):
        slide.load(io.BytesIO(saved()[:cut]))


def test_what_is_altered_is_no_model() -> None:
    data = bytearray(saved())
    data[-1] ^= 1
    with pytest.raises(slide.errors.ModelFormatError, match=r"<BytesIO>: array .* was altered"):
        slide.load(io.BytesIO(data))
    for pack, opening in ((gzip.compress, gzip.open), (bz2.compress, bz2.open), (lzma.compress, lzma.open)):
        packed: Any = opening(io.BytesIO(pack(saved())[:500]))  # type: ignore[operator]
        with pytest.raises(slide.errors.ModelFormatError, match=r"compressed data|no slide model"):
            slide.load(packed)


def test_what_cannot_be_written_to_or_read_from(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with pytest.raises(TypeError, match="<StringIO>: found a file opened for text, wanted one for bytes: mode 'wb'"):
        CLF.save(io.StringIO())
    with pytest.raises(TypeError, match="<StringIO>: found a file opened for text, wanted one for bytes: mode 'rb'"):
        slide.load(io.StringIO("{}"))
    with tempfile.NamedTemporaryFile("w") as file, pytest.raises(TypeError, match="found a file opened for text"):
        CLF.save(file)
    with open(path, "wb") as file, pytest.raises(ValueError, match="a: found a file that can only be written"):
        slide.load(file)
    with open(path, "rb") as other, pytest.raises(ValueError, match="a: found a file that can only be read"):
        CLF.save(other)
    with pytest.raises(ValueError, match="closed file"):
        CLF.save(file)
    with pytest.raises(ValueError, match="mmap: found True, wanted False: a file object cannot be mapped"):
        slide.load(io.BytesIO(saved()), mmap=True)
    with pytest.raises(TypeError, match=r"wanted a model in memory as io\.BytesIO"):
        slide.load(saved())
