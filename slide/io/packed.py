"""How data files are packed when they are written: as the ending of their name says. Reading: slide/io/content.py."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from slide.io.content import ENDINGS


@contextmanager
def packed(file: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """What is written is packed as the ending of a file's name says: .gz, .bz2, .xz, or not at all.

    Raises
    ------
    ValueError
        For an ending of another packing.
    """
    ending = Path(name.lower()).suffix
    if ending == ".gz":  # neither name nor time in it: equal data give equal files
        stream: Any = gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=6, mtime=0)
    elif ending == ".bz2":
        stream = bz2.BZ2File(file, "wb")
    elif ending == ".xz":
        stream = lzma.LZMAFile(file, "wb")  # noqa: SIM115
    elif ending in ENDINGS:
        raise ValueError(f"{name}: found the ending {ending!r}, wanted none of a compression, or .gz, .bz2 or .xz")
    else:
        yield file
        return
    with stream:
        yield stream
