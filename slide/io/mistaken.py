"""Files that are handed in for others: what one is by its first bytes, so that an error says what was found.

What packings are (gzip and the like) is slide/io/content.py's; what data files are, slide/io/formats.py's.
"""

from __future__ import annotations

import re

HEAD = 512  # bytes that are enough
#: By their first bytes; whether texts could begin so too.
KINDS: tuple[tuple[bytes, str, bool], ...] = (
    (rb".{8}\{.{0,300}\"format\": *\"slide\"", "a model of slide", False),
    (rb".{8}\{\"", "a safetensors file", False),
    (rb"\x80[\x02-\x05]", "a pickle", False),
    (rb"\x93NUMPY", "a NumPy array (.npy)", False),
    (rb"\x89HDF", "an HDF5 file", False),
    (rb"MATLAB 5\.0 MAT-file", "a MATLAB file", False),
    (rb"SQLite format 3\0", "an SQLite database", False),
    (rb"%PDF-", "a PDF", False),
    (rb"\xd0\xcf\x11\xe0", "an Excel or Word file", False),
    (rb"PAR1", "a Parquet file", False),
    (rb"PK\x03\x04.{26}[\w./-]{1,100}\.npy", "rows of features (npz)", False),
    (rb"PK\x03\x04", "a zip archive", False),
    (rb"\x1f\x8b", "a gzip file", False),
    (rb"BZh|\xfd7zXZ\0|\x28\xb5\x2f\xfd|7z\xbc\xaf", "a compressed file", False),
    (rb"version https://git-lfs", "a pointer of Git LFS, not the file itself (git lfs pull)", True),
    (rb"\s*<(?:!doctype|html|\?xml)", "a page of HTML or XML", True),
    (rb"\s*[\[{]", "JSON", True),
)
DATA = rb"\s*\d+[ \t]+\d+(?:[ \t]+\d+)?[ \t]*\r?(?:\n|$)|[+-]?[\d.]+(?:,[\d.]+)*[ \t]+\d+:\S"


def taken_for(head: bytes, *, may_be_text: bool = True) -> str | None:
    """What a file that begins like this is, where it is plainly no data of numbers; None where it may be.

    may_be_text : False leaves out what a text might begin with too
    """
    for mark, name, is_text in KINDS:
        if (may_be_text or not is_text) and re.match(mark, head[:HEAD], re.DOTALL | re.IGNORECASE):
            return name
    return None


def no_model(head: bytes) -> str:
    """What a file is that is no model, for the error that says so; "" where nothing is known of it."""
    found = "rows of features" if re.match(DATA, head[:HEAD]) else taken_for(head)
    return found or ""
