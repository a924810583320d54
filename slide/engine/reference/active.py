"""Active sets: labels, then what the tables return, by one of three rules, uniform negatives. As csrc/lsh/active.c.

Where the C core counts in a small hash table, this has one counter for every neuron and zeroes what it touched.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from slide.engine.layout import KINDS, MAX_PROBES
from slide.engine.reference.hash import find_probes, hash_vector
from slide.engine.reference.jit import kernel, loop
from slide.engine.reference.network import Vector
from slide.engine.reference.query_cells import QUERY_CELLS, settle_labels
from slide.engine.reference.rng import LAYERS_APART, NEGATIVES, below, stream
from slide.engine.reference.tables import bucket_index, bucket_of
from slide.engine.reference.transform import neuron_vector, query_vector

VANILLA, THRESHOLD = KINDS["vanilla"], KINDS["threshold"]
MEMBER = -1


@kernel
def hash_query(layer: Any, s: Any, x: Any) -> None:
    """s.codes of the vector that enters the layer."""
    query = s.query[: layer.lsh.dim]
    query_vector(layer, x, query)
    hash_vector(layer.lsh, query, s)
    find_probes(layer.lsh, s)


@kernel
def hash_label(layer: Any, s: Any, label: Any) -> None:
    """s.codes of a neuron, so that the tables return those that are like it (Daghaghi et al., ICML 2021)."""
    query = s.query[: layer.lsh.dim]
    neuron_vector(layer, label, query)
    hash_vector(layer.lsh, query, s)
    find_probes(layer.lsh, s)


@kernel
def probed_bucket(lsh: Any, s: Any, t: Any, p: Any) -> Any:
    """The neurons of the p-th bucket of table t that the query looks into; none where an earlier probe led there."""
    code = s.codes[t * lsh.probes + p]
    for q in range(p):
        if bucket_index(lsh, s.codes[t * lsh.probes + q]) == bucket_index(lsh, code):
            return lsh.buckets[t, 0, :0]
    bucket = bucket_of(lsh, t, code)
    return bucket[1 : 1 + min(bucket[0], lsh.capacity)]


@kernel
def join(s: Any, neuron: Any, ids: Any, n: Any) -> Any:
    """Appends the neuron to ids[:n] unless it is a member. Returns the new n."""
    if s.collisions[neuron] == MEMBER:
        return n
    s.collisions[neuron] = MEMBER
    ids[n] = neuron
    return n + 1


@kernel
def count_collisions(layer: Any, s: Any) -> Any:
    """In how many tables each neuron outside the set is in a bucket that the query looks into. Returns how many are."""
    n = 0
    for t in range(layer.lsh.L):
        for p in range(layer.lsh.probes):
            for neuron in probed_bucket(layer.lsh, s, t, p):
                if s.collisions[neuron] == MEMBER:
                    continue
                if s.collisions[neuron] == 0:
                    s.candidates[n] = neuron
                    n += 1
                s.collisions[neuron] += 1
    return n


@kernel
def take_colliding(layer: Any, s: Any, wanted: Any, ids: Any) -> Any:
    """Puts the `wanted` neurons with most collisions into ids, ties in order of first sight. Returns how many."""
    n = count_collisions(layer, s)
    place = s.histogram[: layer.lsh.L + 1]  # how many have that many collisions, then where the next of them goes
    place[:] = 0
    for i in range(n):
        place[s.collisions[s.candidates[i]]] += 1
    above = 0
    for c in range(layer.lsh.L, 0, -1):
        place[c], above = above, above + place[c]
    for i in range(n):
        neuron = s.candidates[i]
        rank = place[s.collisions[neuron]]
        place[s.collisions[neuron]] += 1
        s.collisions[neuron] = 0
        if rank < wanted:
            ids[rank] = neuron
    taken = min(n, wanted)
    for neuron in ids[:taken]:
        s.collisions[neuron] = MEMBER
    return taken


@kernel
def take_above_threshold(layer: Any, s: Any, wanted: Any, ids: Any) -> Any:
    """Puts the first `wanted` neurons with min_count collisions into ids, in order of first sight. Returns how many."""
    n = 0
    for neuron in s.candidates[: count_collisions(layer, s)]:
        is_in = n < wanted and s.collisions[neuron] >= layer.lsh.min_count
        s.collisions[neuron] = 0
        if is_in:
            n = join(s, neuron, ids, n)
    return n


@kernel
def take_vanilla(layer: Any, s: Any, rng: Any, wanted: Any, ids: Any) -> Any:
    """Takes all in the buckets of one random table after the other, until `wanted` are in. Returns how many."""
    order = np.arange(layer.lsh.L)
    n = 0
    for i in range(layer.lsh.L):
        if n == wanted:
            break
        j = i + below(rng, layer.lsh.L - i)
        order[i], order[j] = order[j], order[i]
        for p in range(layer.lsh.probes):
            for neuron in probed_bucket(layer.lsh, s, order[i], p):
                if n < wanted:
                    n = join(s, neuron, ids, n)
    return n


@kernel
def take_from_lists(lsh: Any, s: Any, cells: Any, wanted: Any, ids: Any) -> Any:
    """Takes neurons outside the set from the lists of these cells in turn, best first. Returns how many."""
    n = 0
    for rank in range(lsh.capacity):
        for cell in cells:
            if n < wanted and rank < lsh.buckets[0, cell, 0]:
                n = join(s, lsh.buckets[0, cell, 1 + rank], ids, n)
    return n


@kernel
def take_from_nearest(lsh: Any, s: Any, wanted: Any, ids: Any) -> Any:
    """The same for the query last hashed: from the best lsh.probes cells, then from the next where those are short."""
    nearest = np.argsort(-s.projection[: lsh.buckets.shape[1]], kind="mergesort")
    n = take_from_lists(lsh, s, nearest[: lsh.probes], wanted, ids)
    for probe in range(lsh.probes, MAX_PROBES):
        if n < wanted:
            n += take_from_lists(lsh, s, nearest[probe : probe + 1], wanted - n, ids[n:])
    return n


@kernel
def take_retrieved(layer: Any, s: Any, rng: Any, wanted: Any, ids: Any) -> Any:
    """What the tables return for the query last hashed, most wanted first. Returns how many."""
    if wanted <= 0 or layer.lsh.L == 0:
        return 0
    if layer.lsh.kind == QUERY_CELLS:
        return take_from_nearest(layer.lsh, s, wanted, ids)
    if layer.lsh.selection == VANILLA:
        return take_vanilla(layer, s, rng, wanted, ids)
    if layer.lsh.selection == THRESHOLD:
        return take_above_threshold(layer, s, wanted, ids)
    return take_colliding(layer, s, wanted, ids)


@kernel
def take_uniform(layer: Any, s: Any, rng: Any, ids: Any, sure: Any) -> Any:
    """Appends the uniform tail to ids[:sure] and fills s.neg_log_q. Returns the size of the set."""
    tail = min(max(layer.n_active - sure, layer.n_random), layer.n - sure)
    n = sure
    while n < sure + tail:
        n = join(s, below(rng, layer.n), ids, n)
    of_negatives = np.float32(0)
    if tail > 0:
        of_negatives = np.float32(math.log(np.float32(layer.n - sure) / np.float32(tail)))
    s.neg_log_q[:sure] = 0
    s.neg_log_q[sure:n] = of_negatives
    return n


@kernel
def all_active(layer: Any) -> Any:
    """Whether every neuron takes part in every sample, so that there is nothing to look up."""
    return layer.n_active >= layer.n


@kernel
def active_set(layer: Any, s: Any, labels: Any, rng: Any, ids: Any) -> Any:
    """Fills ids and s.neg_log_q. Returns the sizes of the set and of its part made of labels."""
    n_labels = 0
    for label in labels:
        n_labels = join(s, label, ids, n_labels)
    if all_active(layer):
        n = n_labels
        for neuron in range(layer.n):
            n = join(s, neuron, ids, n)
        s.neg_log_q[:n] = 0
        s.collisions[:n] = 0
        return n, n_labels
    room = layer.n_active - n_labels
    sure = n_labels + take_retrieved(layer, s, rng, room - layer.n_random, ids[n_labels:])
    n = take_uniform(layer, s, rng, ids, sure)
    for neuron in ids[:n]:
        s.collisions[neuron] = 0
    return n, n_labels


@kernel
def choose(layer: Any, i: Any, s: Any, x: Any, labels: Any, seed: Any, step: Any) -> Any:
    """Chooses the active set of layer i for the vector x. Returns how many distinct labels lead it."""
    rng = stream(seed, NEGATIVES + LAYERS_APART * np.uint64(i), step)
    if layer.lsh.L > 0 and not all_active(layer):
        if layer.asks_label and len(labels) > 0:
            hash_label(layer, s, labels[below(rng, len(labels))])
        else:
            hash_query(layer, s, x)
        settle_labels(layer.lsh, labels, s.codes[0])
    s.size[i], n_labels = active_set(layer, s, labels, rng, s.ids[i])
    return n_labels


@kernel
def top(layer: Any, s: Any, wanted: Any, ids: Any) -> Any:
    """Up to `wanted` neurons that the tables return for s.codes, most wanted first. Returns how many were found."""
    rng = stream(np.uint64(0), NEGATIVES, 0)  # vanilla: one order of the tables for all
    n = take_retrieved(layer, s, rng, wanted, ids)
    for neuron in ids[:n]:
        s.collisions[neuron] = 0
    return n


@kernel
def dense_vector(x: Any, s: Any) -> Any:
    """x as a Vector without a gradient."""
    return Vector(False, s.ids[0], x, x)


@loop
def inspect(layer: Any, i: Any, s: Any, x: Any, labels: Any, seed: Any, step: Any) -> Any:
    """The active set of layer i in s.ids[i] and s.neg_log_q. Returns its size and the number of labels."""
    n_labels = choose(layer, i, s, dense_vector(x, s), labels, seed, step)
    return s.size[i], n_labels


@loop
def retrieve(layer: Any, s: Any, queries: Any, n_candidates: Any, ids: Any) -> None:
    """ids[i]: the neurons that the tables return for queries[i], -1 behind the last."""
    ids[:] = -1
    for i in range(len(queries)):
        hash_query(layer, s, dense_vector(queries[i], s))
        top(layer, s, n_candidates, ids[i])
