"""Files of pairs of a row and a label that are not scored, as the extreme classification repository has them."""

from __future__ import annotations

import codecs
import re

import numpy as np
import numpy.typing as npt

from slide.errors import DataFormatError
from slide.io.content import Source, opened

PAIR = re.compile(rb"\s*(\d{1,18})\s+(\d{1,18})\s*")


def read_filter_labels(path: Source) -> npt.NDArray[np.int64]:
    """The pairs of a file like filter_labels_test.txt: a line for each, a row and a label, both from 0.

    The repository's sets whose labels have texts come with such files: where a row and a label are the same thing, the
    label is to be scored neither as true nor as predicted. Any packing and encoding of ``slide.formats.read`` is read.

    Returns
    -------
    int64 array [pairs, 2], for ``slide.metrics.evaluate(filter_labels=)`` and ``slide.metrics.without_pairs``

    Raises
    ------
    DataFormatError
        For a line that is no pair; names file and line.

    Examples
    --------
    >>> import slide, tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
    ...     print("0 7", "3 12", sep="\\n", file=file, flush=True)
    ...     slide.read_filter_labels(file.name).tolist()
    [[0, 7], [3, 12]]
    """
    with opened(path) as content:
        lines = bytes(content.buffer()).removeprefix(codecs.BOM_UTF8).splitlines()
        label = content.label
    pairs = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        found = PAIR.fullmatch(line)
        if found is None:
            shown = line[:40].decode("utf-8", "backslashreplace")
            raise DataFormatError(f"{label}, line {number:,}: found {shown!r}, wanted a row and a label, like 12 345")
        pairs.append((int(found[1]), int(found[2])))
    return np.array(pairs, np.int64).reshape(-1, 2)
