"""All hash families by name. A new one is listed here, and nowhere else in Python."""

from __future__ import annotations

from slide.lsh.euclidean import EuclideanHash
from slide.lsh.family import HashFamily
from slide.lsh.minhash import MinHash
from slide.lsh.query_cells import QueryCells
from slide.lsh.simhash import SimHash
from slide.lsh.wta import DWTA, WTA

#: Families by the name under which they are stored.
FAMILIES: dict[str, type[HashFamily]] = {c.kind: c for c in (SimHash, WTA, DWTA, MinHash, EuclideanHash, QueryCells)}
