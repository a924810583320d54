"""Lines of csv and tsv files as they are written: quoted as RFC 4180 says, whatever a cell holds.

Python's csv.writer quotes a line feed but not a carriage return where lines end in a line feed, and its own reader then
takes the return for the end of a row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

DELIMITERS = {"csv": ",", "tsv": "\t"}
TO_QUOTE = {kind: re.compile(f'[{mark}"\r\n]') for kind, mark in DELIMITERS.items()}


def row_as_line(cells: Iterable[Any], kind: str) -> str:
    """A row of a "csv" or "tsv" file; None is an empty cell.

    >>> print(row_as_line(["a", 'a "b" c', "c,d", None, 0.5], "csv").rstrip())
    a,"a ""b"" c","c,d",,0.5
    """
    must = TO_QUOTE[kind].search
    texts = ["" if cell is None else str(cell) for cell in cells]
    quoted = ['"' + text.replace('"', '""') + '"' if must(text) else text for text in texts]
    # A row of one empty cell would be a blank line, which readers skip.
    return (DELIMITERS[kind].join(quoted) if quoted != [""] else '""') + "\n"
