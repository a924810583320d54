"""What the two parsers of XMC text give back and what they can find wrong.

The twin of slide_xmc_error in csrc/parse/xmc.h; slide/io/xmc.py makes a sentence of a fault.
"""

from __future__ import annotations

import enum
import mmap

import numpy as np
import numpy.typing as npt

Buffer = bytes | bytearray | memoryview | mmap.mmap
Parsed = tuple[
    npt.NDArray[np.int64],
    npt.NDArray[np.int32],
    npt.NDArray[np.float32],
    npt.NDArray[np.int64],
    npt.NDArray[np.int32],
    int,
    int,
    int,
]
MAX_COLUMNS = 2**31 - 1
IN_BLOCKS = "read it in blocks (slide.XMCBlocks, slide train --rows-at-once)"


class Kind(enum.IntEnum):
    """What can be wrong with a file; the numbers of slide_xmc_status in csrc/parse/xmc.h."""

    EMPTY = 1
    HEADER = 2
    HEADER_RANGE = 3
    ROWS = 4
    LABEL = 5
    LABEL_RANGE = 6
    FEATURE = 7
    FEATURE_RANGE = 8
    VALUE = 9
    NOT_FINITE = 10
    SUM = 11


class Fault(Exception):
    """The first error of a file, as a parser saw it; read_xmc turns it into a DataFormatError."""

    def __init__(
        self, kind: int, line: int, column: int, offset: int, length: int, found: int = 0, wanted: int = 0
    ) -> None:
        super().__init__(kind, line, column, offset, length, found, wanted)
        self.kind = Kind(kind)
        self.line, self.column = line, column
        self.offset, self.length = offset, length
        self.found, self.wanted = found, wanted
