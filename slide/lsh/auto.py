"""The family and its sizes for a number of neurons: what lsh="auto" stands for."""

from __future__ import annotations

from slide.checks import require
from slide.engine.layout import MAX_PROBES
from slide.lsh.family import HashFamily
from slide.lsh.query_cells import DEFAULT_MEMORY, QueryCells
from slide.lsh.simhash import SimHash


def auto(n: int, n_active: int, n_random: int, *, query: str = "input", memory: int | None = None) -> HashFamily:
    """The tables for n neurons of which n_active take part in a sample, n_random of them drawn at random.

    QueryCells, which found more than all hashes of neurons wherever both were measured (docs/retrieval.md), with lists
    long enough for the set; they go on tuning themselves during training. SimHash where the query is a label, since
    QueryCells do not hash neurons.

    Parameters
    ----------
    query : {"input", "label"}
        As in slide.Sampled.
    memory : int or None
        Bytes of tables at most. None: what the family takes by itself.
    """
    require(memory is None or memory >= 2**16, "auto(memory=)", memory, "65,536 bytes or more")
    if query == "label":
        return _simhash_within(n, memory)
    family = QueryCells(memory=memory or DEFAULT_MEMORY)
    wanted = min(n, n_active - n_random)
    return family if family.resolved_capacity(n) >= wanted else QueryCells(capacity=wanted, memory=family.memory)


def _simhash_within(n: int, memory: int | None) -> SimHash:
    """Fewer tables where the usual ones would not fit, and as many more buckets of each: docs/retrieval.md, Tuning."""
    tables, buckets, stride = SimHash().slots_shape(n)
    fewer = max(1, min(tables, (memory or 2**62) // (4 * buckets * stride)))
    return SimHash(L=fewer, probes=min(round(tables / fewer), MAX_PROBES))
