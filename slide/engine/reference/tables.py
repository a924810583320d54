"""L tables of contiguous buckets {number ever inserted, ids...}, and their refill from a layer's rows.

A refill hashes all neurons, then fills each table in the order of the neurons: threads have no influence on the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from slide.engine.layout import BIAS, KINDS, ROW_SCALARS
from slide.engine.reference.hash import hash_vector
from slide.engine.reference.jit import kernel, loop
from slide.engine.reference.rng import BUCKET, ORDER, below, mix64, stream
from slide.engine.reference.transform import neuron_vector

FIFO = KINDS["fifo"]
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing (Knuth, TAOCP 6.4)


@kernel
def bucket_index(lsh: Any, code: Any) -> Any:
    """The code itself where it fits, else its top bits after a multiplication: every bucket can be reached."""
    if lsh.code_bits <= lsh.table_bits:
        return np.int64(code)
    return np.int64((np.uint64(code) * _GOLDEN) >> np.uint64(64 - lsh.table_bits))


@kernel
def bucket_of(lsh: Any, table: Any, code: Any) -> Any:
    """The bucket, a view."""
    return lsh.buckets[table, bucket_index(lsh, code)]


@kernel
def insert(lsh: Any, bucket: Any, neuron: Any, rng: Any) -> None:
    """A full bucket forgets its oldest, or keeps a uniform sample of all it was offered (Vitter, TOMS 1985)."""
    seen = np.int64(bucket[0])
    bucket[0] += 1
    place = seen
    if seen >= lsh.capacity:
        place = seen % lsh.capacity if lsh.policy == FIFO else below(rng, seen + 1)
    if place < lsh.capacity:
        bucket[1 + place] = neuron


@kernel
def row_mark(layer: Any, neuron: Any) -> Any:
    """64 bits that differ for rows that differ, but for one pair in 2^64."""
    row = layer.rows[neuron]
    digest = np.uint64(row[len(row) - ROW_SCALARS + BIAS :][:2].view(np.uint32)[0])
    for word in row[: layer.padded].view(np.uint64):
        digest = mix64(digest ^ word)
    return digest


@loop
def hash_neurons(layer: Any, s: Any, thread: Any, n_threads: Any, codes: Any) -> None:
    """codes[neuron] of this thread's neurons, weights and bias hashed together; of those with new digests."""
    x, digests = s.query[: layer.lsh.dim], layer.lsh.row_digests
    for neuron in range(thread, layer.n, n_threads):
        if len(digests):
            digest = row_mark(layer, neuron)
            if digest == digests[neuron]:
                continue
            digests[neuron] = digest
        neuron_vector(layer, neuron, x)
        hash_vector(layer.lsh, x, s)
        codes[neuron] = s.codes[: layer.lsh.L]


@loop
def fill_tables(seed: Any, layer: Any, generation: Any, codes: Any, thread: Any, n_threads: Any) -> None:
    """Empties and refills this thread's tables, from a random neuron on: FIFO buckets must not favour high ids."""
    lsh = layer.lsh
    start = below(stream(seed, ORDER, generation), layer.n)
    for t in range(thread, lsh.L, n_threads):
        lsh.buckets[t, :, 0] = 0
        rng = stream(seed, BUCKET, generation * np.uint64(lsh.L) + np.uint64(t))
        for i in range(layer.n):
            neuron = (start + i) % layer.n
            insert(lsh, bucket_of(lsh, t, codes[neuron, t]), neuron, rng)


@loop
def hash_vectors(layer: Any, s: Any, vectors: Any, thread: Any, n_threads: Any, codes: Any) -> None:
    """codes[i] of this thread's vectors."""
    for i in range(thread, len(vectors), n_threads):
        hash_vector(layer.lsh, vectors[i], s)
        codes[i] = s.codes[: layer.lsh.L]
