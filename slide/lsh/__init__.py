"""Hash families: what addresses the tables of a layer.

`family` has what they share and what a family of one's own implements, `registry` lists them, `auto` chooses one.
"""

from slide.lsh.auto import auto
from slide.lsh.euclidean import EuclideanHash
from slide.lsh.family import APPENDED, MAX_CODE_BITS, MAX_TABLES, SELECTIONS, HashFamily, LearnContext
from slide.lsh.minhash import MinHash
from slide.lsh.query_cells import QueryCells
from slide.lsh.registry import FAMILIES
from slide.lsh.simhash import SimHash
from slide.lsh.wta import DWTA, WTA

__all__ = [
    "APPENDED",
    "DWTA",
    "FAMILIES",
    "MAX_CODE_BITS",
    "MAX_TABLES",
    "SELECTIONS",
    "WTA",
    "EuclideanHash",
    "HashFamily",
    "LearnContext",
    "MinHash",
    "QueryCells",
    "SimHash",
    "auto",
]

Lesson = LearnContext  # its name in 0.1
