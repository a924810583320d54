"""Data files whatever they are packed in, by path, pipe or open file; what cannot be read is named."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import slide
from slide.engine import memory
from slide.io import formats
from slide.io.content import opened
from slide.text.tables import read_texts

XMC = b"3 4 3\n0,2 1:0.5 3:2\n1 0:1\n2\n"
SVM = b"0,2 1:0.5 3:2\n1 0:1\n2\n"
CSV = b"text,label\na cat,pet\na dog,pet\n"


def zipped(data: bytes, *names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names or ("rows",):
            archive.writestr(name, data)
    return file.getvalue()


def zstd(data: bytes) -> bytes:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    packed: bytes = pa.compress(data, "zstd", asbytes=True)
    return packed


#: What packs data under the name that they have inside, which only zip keeps.
PACKED: dict[str, Callable[[bytes, str], bytes]] = {
    "": lambda data, _: data,
    ".gz": lambda data, _: gzip.compress(data),
    ".BZ2": lambda data, _: bz2.compress(data),
    ".bz2 of two streams": lambda data, _: bz2.compress(data[:9]) + bz2.compress(data[9:]),
    ".xz": lambda data, _: lzma.compress(data),
    ".lzma": lambda data, _: lzma.compress(data, lzma.FORMAT_ALONE),
    ".zst": lambda data, _: zstd(data),
    ".zip": lambda data, name: zipped(data, f"folder/{name}"),
    ".zip.gz": lambda data, name: gzip.compress(zipped(data, name)),
}
WRITTEN: dict[str, Callable[[bytes], bytes]] = {
    "as it is": bytes,
    "with the mark of UTF-8": lambda data: b"\xef\xbb\xbf" + data,
    "in UTF-16": lambda data: data.decode().encode("utf-16"),
    "in UTF-16, big end first": lambda data: "\ufeff".encode("utf-16-be") + data.decode().encode("utf-16-be"),
    "in UTF-16 without a mark": lambda data: data.decode().encode("utf-16-le"),
    "in UTF-32": lambda data: data.decode().encode("utf-32"),
    "with CRLF": lambda data: data.replace(b"\n", b"\r\n"),
    "with blank lines at the end": lambda data: data + b"\n \n\r\n",
    "without its last line's end": lambda data: data[:-1],
}


def same(pair: Any) -> None:
    X, Y = pair
    assert X.toarray()[:, :4].tolist() == [[0, 0.5, 0, 2], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert Y.toarray().tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize("how", PACKED)
@pytest.mark.parametrize(("name", "data"), [("a.txt", XMC), ("a.SVM", SVM), ("rows.csv", CSV)])
def test_every_packing_of_every_text_format(name: str, data: bytes, how: str, tmp_path: Path) -> None:
    path = tmp_path / (name + how.partition(" ")[0])
    path.write_bytes(PACKED[how](data, name))
    if name == "rows.csv":
        assert slide.read_table(path, "text", "label") == (["a cat", "a dog"], ["pet", "pet"])
        return
    same(formats.read(path))
    assert formats.format_of(path) == ("xmc" if data is XMC else "svmlight")
    if data is XMC:
        same(slide.read_xmc(path))
        ((X, Y),) = slide.XMCBlocks(path)
        same((X, Y))


@pytest.mark.parametrize("how", WRITTEN)
@pytest.mark.parametrize(
    ("name", "data"), [("a.txt", XMC), ("a.svm", SVM), ("a.csv", CSV), ("lines", b"a cat\na dog\n")]
)
def test_text_is_read_however_it_is_written(name: str, data: bytes, how: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(WRITTEN[how](data))
    if name == "lines":
        assert read_texts(path, None)[:2] == ["a cat", "a dog"]
    elif name == "a.csv":
        assert slide.read_table(path, "text", "label") == (["a cat", "a dog"], ["pet", "pet"])
    else:
        same(formats.read(path))


class OneWay(io.RawIOBase):
    """A stream that cannot be rewound, as a socket's."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


@pytest.mark.parametrize(
    "source", [io.BytesIO, OneWay, lambda data: io.StringIO(data.decode()), lambda d: io.BytesIO(zipped(d))]
)
def test_open_files_are_sources(source: Callable[[bytes], Any]) -> None:
    same(slide.read_xmc(source(XMC)))
    same(formats.read(source(XMC)))
    same(formats.read(source(SVM)))
    assert slide.read_table(source(CSV), "text").texts == ["a cat", "a dog"]
    with pytest.raises(slide.DataFormatError, match=r"(BytesIO|OneWay|StringIO), line 2, column 5: found 'x'"):
        slide.read_xmc(source(b"1 2 3\n0 1:x\n"))


def test_an_open_file_stays_open_and_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(CSV)
    with open(path, "rb") as file:
        assert slide.read_table(file, "text").texts == ["a cat", "a dog"]
        file.seek(0)
        with pytest.raises(ValueError, match=r"a\.csv: found no column 'words'"):
            slide.read_table(file, "words")
        assert not file.closed


@pytest.mark.skipif(os.name != "posix", reason="pipes as POSIX has them")
@pytest.mark.parametrize("data", [XMC, SVM, gzip.compress(XMC)], ids=["xmc", "svmlight", "gzip"])
def test_a_pipe_is_read_once(data: bytes, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[data])
    writer.start()
    try:
        same(formats.read(tmp_path / "pipe"))
    finally:
        writer.join()


CANNOT = [
    ("a.zip", zipped(b"x", "a.txt", "b.txt"), r"found a zip archive of 2 files \(a.txt, b.txt\), wanted one file"),
    ("a.zip", zipped(b"x", "xl/workbook.xml", "b"), "found an Excel workbook, wanted its sheet saved as .csv"),
    ("a.zip", zipped(XMC)[:-40], "truncated or altered zip file"),
    ("a.txt.gz", gzip.compress(XMC)[:-9], "truncated or altered gzip file"),
    ("a.txt.bz2", bz2.compress(XMC)[:-9], "truncated or altered bzip2 file"),
    ("a.txt.bz2", bz2.compress(XMC)[:20] + b"x" * 40, "truncated or altered bzip2 file"),
    ("a.txt.xz", lzma.compress(XMC)[:-9], "truncated or altered xz file"),
    ("a.tar.gz", gzip.compress(bytes(257) + b"ustar" + bytes(300)), "found a tar archive, wanted one file"),
    ("a.7z", b"7z\xbc\xaf\x27\x1c....", "found 7z data, wanted it unpacked"),
    ("a.rar", b"Rar!....", "found rar data"),
    ("a.lz4", b"\x04\x22\x4d\x18....", "found lz4 data"),
    ("a.txt", "1 2 3\n".encode("utf-16") + b"\n", "no UTF-16 text"),
]


@pytest.mark.parametrize(("name", "data", "says"), CANNOT, ids=[f"{name}: {says}" for name, _, says in CANNOT])
def test_what_cannot_be_unpacked_is_named(name: str, data: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    for read in (slide.read_xmc, formats.read, lambda p: slide.read_table(p, "text"), slide.XMCBlocks):
        with pytest.raises(slide.DataFormatError, match=rf"{name}: .*{says}"):
            read(path)


def test_zstd_names_what_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt.zst"
    path.write_bytes(zstd(XMC))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "compression", None)
    with pytest.raises(ImportError, match=r"a\.txt\.zst: files compressed by zstd need pyarrow: pip install"):
        slide.read_xmc(path)


@pytest.mark.parametrize("how", [".gz", ".xz", ".BZ2", ".zst"])
def test_what_unpacks_to_too_much_is_left(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bomb").write_bytes(PACKED[how](b"1 1 1\n" + bytes(1 << 22), ""))
    monkeypatch.setattr(memory, "available_memory", lambda: 1 << 20)
    for read in (slide.read_xmc, lambda p: formats.read(p, "svmlight")):
        with pytest.raises(MemoryError, match="bomb: found more than"):
            read(tmp_path / "bomb")


@pytest.mark.parametrize("ending", [".txt.gz", ".txt.BZ2", ".svm.xz", ".svm.gz"])
def test_what_is_written_is_packed_as_its_name_says(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    formats.write(path, *slide.read_xmc(io.BytesIO(XMC)))
    assert not path.read_bytes().startswith((b"3 4", b"0,2"))
    same(formats.read(path))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("a.txt.zst", "found the ending '.zst', wanted none of a compression, or .gz"),
        ("a.npz.gz", "found '.gz', wanted no such ending: npz files are compressed already"),
        ("a.csv", "found the ending of a table of text"),
    ],
)
def test_endings_that_nothing_is_written_under(name: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=says):
        formats.write(tmp_path / name, *slide.read_xmc(io.BytesIO(XMC)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("data", "kind"),
    [(XMC, "xmc"), (SVM, "svmlight"), (b"+1 3:0.5 7:1\n", "svmlight"), (b"2 3\n0:1\n\n", "pair"), (b"", "xmc")],
)
def test_names_without_an_ending_are_told_by_content(data: bytes, kind: str, tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(data)
    assert formats.format_of(tmp_path / "rows") == kind
    (tmp_path / "rows.txt").write_bytes(data)
    assert formats.format_of(tmp_path / "rows.txt") == ("pair" if kind == "pair" else "xmc")


def test_npz_files_are_not_unpacked(tmp_path: Path) -> None:
    formats.write(tmp_path / "a.npz", *slide.read_xmc(io.BytesIO(XMC)))
    (tmp_path / "rows").write_bytes((tmp_path / "a.npz").read_bytes())
    for name in ("a.npz", "rows"):
        same(formats.read(tmp_path / name))
    with opened(tmp_path / "a.npz") as content:
        assert content.whole


# -- features and labels in two files ----------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    (tmp_path / "trn_X_Xf.txt").write_bytes(b"3 4\n1:0.5 3:2\n0:1\n\n")
    (tmp_path / "trn_X_Y.txt").write_bytes(b"3 3\n0:1 2:1.000 1:0\n1:1\n2:1\n")
    return tmp_path


def test_features_and_labels_in_two_files(pair: Path) -> None:
    features, labels = pair / "trn_X_Xf.txt", pair / "trn_X_Y.txt"
    same(slide.read_xmc_pair(features, labels))
    same(slide.read_xmc_pair(features))
    same(formats.read(features))
    (pair / "l.gz").write_bytes(gzip.compress(labels.read_bytes()))
    with open(features, "rb") as file:
        same(slide.read_xmc_pair(file, pair / "l.gz"))
    with pytest.raises(slide.DataFormatError, match=r"line 1, column 1: found '3 4'.*in two files.*read_xmc_pair"):
        slide.read_xmc(features)


def test_matrices_that_scipy_saved_are_such_files(tmp_path: Path) -> None:
    import scipy.sparse as sp

    X, Y = slide.read_xmc(io.BytesIO(XMC))
    sp.save_npz(tmp_path / "X.trn.npz", X)
    sp.save_npz(tmp_path / "Y.trn.npz", sp.csc_array(Y.astype(np.int64)))
    same(slide.read_xmc_pair(tmp_path / "X.trn.npz", tmp_path / "Y.trn.npz"))
    same(formats.read(tmp_path / "X.trn.npz"))


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("trn_X_Y.txt", "2 3\n0:1\n1:1\n", r"trn_X_Y\.txt: found 2 rows of labels, wanted the 3 of .*trn_X_Xf\.txt"),
        ("trn_X_Y.txt", "3 3\n0:1\n1:0.5\n2:1\n", "found 0.5 for label 1 in row 1, wanted 1"),
        ("trn_X_Y.txt", "3 3\n0:1\n3:1\n2:1\n", r"trn_X_Y\.txt, line 3, column 1: found feature '3', wanted 0 to 2"),
        ("trn_X_Y.txt", "3 3\n0:1\n1:1\n", "found 2 rows, wanted the 3 that the header"),
        ("trn_X_Y.txt", "0:1\n", r"trn_X_Y\.txt, line 1: found '0:1', wanted a header of two whole numbers"),
        ("trn_X_Xf.txt", "3 4\n1:x\n\n\n", r"trn_X_Xf\.txt, line 2, column 3: found 'x', wanted a feature value"),
    ],
)
def test_files_of_a_pair_that_do_not_fit(name: str, text: str, says: str, pair: Path) -> None:
    (pair / name).write_text(text)
    with pytest.raises(slide.DataFormatError, match=says):
        formats.read(pair / "trn_X_Xf.txt")


def test_features_without_their_labels_say_what_is_missing(pair: Path) -> None:
    (pair / "trn_X_Y.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"trn_X_Xf\.txt: holds features alone .*found no trn_X_Y\.txt"):
        formats.read(pair / "trn_X_Xf.txt")
