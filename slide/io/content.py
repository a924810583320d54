"""What a data file holds, whatever it is packed in: files, pipes and open files become one stream of plain bytes.

How a file is packed is told by its first bytes, not by its name: gzip, bzip2, xz, zstd, and zip archives of one file.
Text in UTF-16 or UTF-32 becomes UTF-8. What cannot be unpacked is named. Which format the bytes are in is not asked
here: slide/io/formats.py and slide/text/table_files.py.
"""

from __future__ import annotations

import bz2
import codecs
import errno
import gzip
import io
import lzma
import mmap
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from slide.engine import memory
from slide.engine.xmc_fault import IN_BLOCKS, Buffer
from slide.errors import DataFormatError
from slide.io.packages import pyarrow

Source = str | os.PathLike[str] | BinaryIO
HEAD = 1 << 13  # bytes that a file's kind is told by
PIECE = 1 << 20  # read at a time
SHARE_TEXT = 0.5  # of the available memory that text may take: the matrices need the rest
SHARE_READ = 0.25  # plain text up to this share is read, more is mapped
LAYERS = 3  # an archive may hold what is packed again
ENDINGS = (".gz", ".bz2", ".xz", ".lzma", ".zst", ".zstd", ".zip")
PACKINGS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"]\x00\x00": "xz",  # of lzma's first format
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",  # without a file
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!": "rar",
    b"\x1f\x9d": "compress (.Z)",
    b"\x04\x22\x4d\x18": "lz4",
}
DAMAGE = (
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    OverflowError,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)  # what readers of other hands say
MARKS = (  # the longer ones first: that of UTF-32 begins as that of UTF-16 does
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass
class Content:
    """The plain bytes of a data file.

    Attributes
    ----------
    label : str
        What messages call it.
    name : str
        Its name in lower case, without the endings of what it was packed in; of a zip archive, the name of the file
        in it: formats are told by its ending.
    file : binary file
        Can be rewound to `start`.
    whole : bool
        Nothing had to be unpacked and it is a regular file: its bytes may be mapped.
    """

    label: str
    name: str
    file: BinaryIO
    whole: bool = False
    start: int = 0

    def head(self) -> bytes:
        """The first bytes, without a mark of UTF-8; the file is where it was, at the start."""
        head = self.file.read(HEAD)
        self.rewind()
        return head.removeprefix(codecs.BOM_UTF8)

    def rewind(self) -> None:
        """To its first byte."""
        self.file.seek(self.start)

    def buffer(self) -> Buffer:
        """All bytes at once; a map only of a file that would take much of the memory: it can be cut short by others."""
        free = memory.available_memory()
        if self.whole:
            size = os.fstat(self.file.fileno()).st_size
            if free is not None and size > free * SHARE_READ:
                return _map(self.file, self.label, size, free)
            text = np.empty(size, np.uint8).data  # faster than bytes, whose pages are small
            return text[: self.file.readinto(text)]  # type: ignore[attr-defined]
        if isinstance(self.file, io.BytesIO):
            return self.file.getbuffer()[self.start :]
        return read_pieces(self.file, self.label, free)


def label_of(source: Source) -> str:
    """What messages call a path or an open file."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else type(source).__name__


def inner_name(name: str) -> str:
    """A file's name in lower case, without the endings of compressions: "Train.SVM.bz2" is "train.svm"."""
    name = os.path.basename(name).lower()
    while name.endswith(ENDINGS):
        name = name.rpartition(".")[0]
    return name


@contextmanager
def opened(source: Source) -> Iterator[Content]:
    """The plain bytes of a path or of an open binary file; what goes wrong while it is read names it.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    DataFormatError
        It is packed in a way that is not read, cut short, or altered.
    ImportError
        For zstd where neither Python nor pyarrow reads it.
    MemoryError
        For a pipe that brings more than half of the available memory.
    """
    is_path = isinstance(source, str | os.PathLike)
    raw = content = _opened_path(source) if is_path else _opened_object(source)  # type: ignore[arg-type]
    packing = ""
    try:
        for _ in range(LAYERS):
            with _naming(content.label, packing):
                inner = _packing(content)
            if not inner:
                break
            packing = inner
            with _naming(content.label, packing):
                content = UNPACK.get(packing, _refused)(content)
        with _naming(content.label, packing):
            yield _as_utf8(content)
    finally:
        if raw.whole:
            raw.file.close()


@contextmanager
def _naming(label: str, packing: str) -> Iterator[None]:
    """What unpackers say becomes one error that names the file; without a packing nothing does."""
    if not packing:
        yield
        return
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, zipfile.BadZipFile) as e:
        raise DataFormatError(f"{label}: truncated or altered {packing} file ({e})") from e
    except OSError as e:
        if e.errno is None and not e.filename:  # as bzip2 and zstd say it
            raise DataFormatError(f"{label}: truncated or altered {packing} file ({e})") from e
        raise


@contextmanager
def damaged(label: str, *more: Any) -> Iterator[None]:
    """What a reader of other hands says of damaged files becomes one error that names the file."""
    try:
        yield
    except DataFormatError:
        raise
    except (OSError, *DAMAGE, *more) as e:
        if isinstance(e, OSError) and e.errno not in (None, errno.EINVAL):
            raise  # the file could not be read; else what was read made no sense
        raise DataFormatError(f"{label}: not a readable file of its kind: {e}") from e


# -- what is opened ----------------------------------------------------------------------------------------------------


def check_there(path: Path) -> None:
    """Raises FileNotFoundError, which says what was wanted."""
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, "no such data file", str(path))


def _opened_path(path: str | os.PathLike[str]) -> Content:
    check_there(Path(path))
    label = os.fspath(path)
    file = open(path, "rb")  # noqa: SIM115
    try:
        regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        if regular and os.fstat(file.fileno()).st_size:
            return Content(label, inner_name(label), file, whole=True)
        with file:  # files of /proc say that they are empty
            return Content(label, inner_name(label), _in_memory(file, label))
    except BaseException:
        file.close()
        raise


def _opened_object(source: Any) -> Content:
    """An open file: of text, its bytes; one that cannot be rewound is read whole."""
    label = label_of(source)
    if not hasattr(source, "read"):
        raise ValueError(f"source: found {type(source).__name__}, wanted a path or a file")
    if isinstance(source, io.TextIOBase):
        inner = getattr(source, "buffer", None)
        source = io.BytesIO(source.read().encode()) if inner is None else inner
    rewinds = hasattr(source, "seekable") and source.seekable()
    file = source if rewinds else _in_memory(source, label)
    return Content(label, inner_name(label), file, start=file.tell())


def _in_memory(file: Any, label: str) -> io.BytesIO:
    """All that a stream brings; no copy is made of it."""
    text, free = io.BytesIO(), memory.available_memory()
    for piece in _pieces(file, label, free):
        text.write(piece)
    text.seek(0)
    return text


def read_pieces(stream: Any, label: str, free: int | None) -> bytearray:
    """All of a stream, in pieces: how long a packed file or a pipe is shows only at its end."""
    text = bytearray()
    for piece in _pieces(stream, label, free):
        text += piece
    return text


def _pieces(stream: Any, label: str, free: int | None) -> Iterator[bytes]:
    size = 0
    while piece := stream.read(PIECE):
        size += len(piece)
        if free is not None and size > free * SHARE_TEXT:
            found = f"found more than {size:,} bytes, too many for the {free:,} available"
            raise MemoryError(f"{label}: {found}: {IN_BLOCKS}")
        yield piece


def _map(file: BinaryIO, label: str, size: int, free: int) -> mmap.mmap:
    try:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as e:
        if e.errno != errno.ENOMEM:
            raise
        raise MemoryError(f"{label}: the text needs {size:,} bytes, available are {free:,}: {IN_BLOCKS}") from e


# -- what it is packed in ----------------------------------------------------------------------------------------------


def _packing(content: Content) -> str:
    """Empty where there is nothing to unpack."""
    head = content.file.read(8)
    content.rewind()
    found = next((name for mark, name in PACKINGS.items() if head.startswith(mark)), "")
    return "" if found == "zip" and _is_npz(content) else found


def _is_npz(content: Content) -> bool:
    """NumPy's own archives, which are read as they are; and what is no archive after all."""
    if content.name.endswith(".npz"):
        return True
    try:
        with zipfile.ZipFile(content.file) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False
    finally:
        content.rewind()


def _refused(content: Content) -> Content:
    raise DataFormatError(
        f"{content.label}: found {_packing(content)} data, wanted it unpacked, or .gz, .bz2, .xz or .zip"
    )


def _from_zip(content: Content) -> Content:
    archive = zipfile.ZipFile(content.file)
    files = [info for info in archive.infolist() if not info.is_dir() and not info.filename.startswith("__MACOSX/")]
    names = [info.filename for info in files]
    if "xl/workbook.xml" in names:
        raise DataFormatError(f"{content.label}: found an Excel workbook, wanted its sheet saved as .csv or .tsv")
    if len(files) != 1:
        some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        raise DataFormatError(f"{content.label}: found a zip archive of {len(files)} files ({some}), wanted one file")
    if files[0].flag_bits & 1:
        raise DataFormatError(f"{content.label}: found a zip archive with a password, wanted one without")
    try:
        file = archive.open(files[0])
    except NotImplementedError as e:
        raise DataFormatError(f"{content.label}: found a zip archive that cannot be unpacked ({e})") from e
    return Content(content.label, inner_name(names[0]), file)  # type: ignore[arg-type]


def _from_zstd(content: Content) -> Content:
    try:  # Python reads it from 3.14 on
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]

        file: Any = zstd.ZstdFile(content.file)
    except ImportError:
        pa = pyarrow(f"{content.label}: files compressed by zstd")
        file = _in_memory(pa.CompressedInputStream(pa.PythonFile(content.file, mode="r"), "zstd"), content.label)
    return Content(content.label, content.name, file)


def _by(unpacker: Callable[[Any], Any]) -> Callable[[Content], Content]:
    def unpack(content: Content) -> Content:
        found = Content(content.label, content.name, unpacker(content.file))
        if found.file.read(512)[257:262] == b"ustar":
            raise DataFormatError(f"{content.label}: found a tar archive, wanted one file: unpack it")
        found.rewind()
        return found

    return unpack


UNPACK: dict[str, Callable[[Content], Content]] = {
    "gzip": _by(lambda file: gzip.GzipFile(fileobj=file, mode="rb")),  # which else the file is asked for
    "bzip2": _by(bz2.BZ2File),
    "xz": _by(lzma.LZMAFile),
    "zstd": _from_zstd,
    "zip": _from_zip,
}


# -- what text is written in -------------------------------------------------------------------------------------------


def _as_utf8(content: Content) -> Content:
    """Text of two or four bytes a character as UTF-8, in memory; everything else as it is."""
    head = content.file.read(64)
    content.rewind()
    encoding = next((name for mark, name in MARKS if head.startswith(mark)), None) or _unmarked(head)
    if encoding is None:
        return content
    raw = read_pieces(content.file, content.label, memory.available_memory())
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as e:
        found = f"byte {e.start:,} is no {encoding.upper()} text"
        raise DataFormatError(f"{content.label}: {found} as its beginning has it ({e.reason})") from e
    return Content(content.label, content.name, io.BytesIO(text.encode("utf-8", "surrogatepass")))


def _unmarked(head: bytes) -> str | None:
    """UTF-16 without its mark, as ASCII text shows: every second byte is 0 and no other is."""
    pairs = head[: len(head) // 2 * 2]
    if len(pairs) >= 8:
        for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
            if not any(pairs[first::2]) and all(pairs[1 - first :: 2]):
                return encoding
    return None
