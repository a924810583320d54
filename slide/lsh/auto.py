"""The family and its sizes for a number of neurons: what lsh="auto" stands for."""

from __future__ import annotations

from slide.checks import require
from slide.engine.layout import MAX_PROBES
from slide.lsh.family import HashFamily
from slide.lsh.query_cells import DEFAULT_MEMORY, QueryCells
from slide.lsh.simhash import SimHash

#: Neurons of a list that training alone asks, at least. Debian's sources, 120,824 labels, defaults, one thread: epochs
#: take 15.3 processor seconds and P@1 is 84.8; with 2,048, which predictions would want, 21.7 seconds and 84.7.
LEAST_LIST = 512


def auto(
    n: int,
    n_active: int,
    n_random: int,
    *,
    query: str = "input",
    memory: int | None = None,
    training_only: bool = False,
) -> HashFamily:
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
    training_only : bool
        Whether nobody else asks them, as where predictions ask leaves (slide.model.leaves): lists are shorter then.
    """
    require(memory is None or memory >= 2**16, "auto(memory=)", memory, "65,536 bytes or more")
    if query == "label":
        return _simhash_within(n, memory)
    family = QueryCells(memory=memory or DEFAULT_MEMORY)
    wanted, capacity = min(n, n_active - n_random), family.resolved_capacity(n)
    enough = max(2 * wanted, LEAST_LIST)
    if training_only and capacity > enough:
        return QueryCells(capacity=enough, memory=family.memory)
    return family if capacity >= wanted else QueryCells(capacity=wanted, memory=family.memory)


def _simhash_within(n: int, memory: int | None) -> SimHash:
    """Fewer tables where the usual ones would not fit, and as many more buckets of each: docs/retrieval.md, Tuning."""
    tables, buckets, stride = SimHash().slots_shape(n)
    fewer = max(1, min(tables, (memory or 2**62) // (4 * buckets * stride)))
    return SimHash(L=fewer, probes=min(round(tables / fewer), MAX_PROBES))
