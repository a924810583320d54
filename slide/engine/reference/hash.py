"""Codes of every hash family, bit for bit those of csrc/lsh/hash.c: sums run in the order of the coordinates.

A new family needs a branch in `hash_vector`, a number in slide.engine.layout.KINDS and a class in
slide.lsh.FAMILIES. To try one out, none of this: a subclass of slide.lsh.HashFamily in Python does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from slide.engine.layout import DIRECTION_BLOCK, HADAMARD_ROUNDS, KINDS, OFFSET_STEPS
from slide.engine.reference.calls import call_hash
from slide.engine.reference.jit import kernel
from slide.engine.reference.query_cells import QUERY_CELLS, nearest_cell
from slide.engine.reference.rng import mix64

SIMHASH, WTA, DWTA, MINHASH, GAUSSIAN, SPARSE, HADAMARD = (
    KINDS[k] for k in ("simhash", "wta", "dwta", "minhash", "simhash_gaussian", "simhash_sparse", "simhash_hadamard")
)
EUCLIDEAN = KINDS["euclidean"]
EMPTY = -1
DENSIFY_TRIES = 64
_32 = np.uint64(32)


@kernel
def project_dense(lsh: Any, x: Any, s: Any) -> None:
    """s.projection = directions . x"""
    s.projection[:] = 0
    for block in range(lsh.directions.shape[0]):
        sums = s.projection[block * DIRECTION_BLOCK : (block + 1) * DIRECTION_BLOCK]
        for d in range(lsh.dim):
            for j in range(DIRECTION_BLOCK):
                sums[j] += x[d] * lsh.directions[block, d, j]


@kernel
def shorten(x: Any, out: Any) -> None:
    """out = x to 17 significant digits: a product with a 7-digit integer is exact."""
    digits, shortened = x.view(np.uint32), out.view(np.uint32)
    for d in range(len(x)):
        shortened[d] = (digits[d] + np.uint32(0x40)) & np.uint32(0xFFFFFF80)


@kernel
def project_sparse(lsh: Any, x: Any, s: Any) -> None:
    """Sums and differences of a few coordinates (Li, Hastie & Church, KDD 2006); ~coordinate is subtracted."""
    for b in range(lsh.K * lsh.L):
        total = np.float32(0)
        for at in lsh.positions[b]:
            total += -x[~at] if at < 0 else x[at]
        s.projection[b] = total


@kernel
def project_hadamard(lsh: Any, x: Any, s: Any) -> None:
    """Signs and Walsh-Hadamard transforms in turn (Ailon & Chazelle, STOC 2006; Andoni et al., NIPS 2015)."""
    n, n_hashes = lsh.window, lsh.K * lsh.L
    v, w = np.empty(n, np.float32), np.empty(n, np.float32)
    for block in range(lsh.directions.shape[0]):
        for d in range(n):
            v[d] = x[d] if d < lsh.dim else 0
        for signs in range(HADAMARD_ROUNDS):
            for d in range(n):
                v[d] *= lsh.directions[block, signs, d]
            done = 1
            while done < n:
                for d in range(n // 2):
                    w[2 * d] = v[d] + v[d + n // 2]
                    w[2 * d + 1] = v[d] - v[d + n // 2]
                v, w = w, v
                done *= 2
        for d in range(min(n, n_hashes - block * n)):
            s.projection[block * n + d] = v[d]


@kernel
def simhash(lsh: Any, x: Any, s: Any) -> None:
    """A bit is the side of a hyperplane (Charikar, STOC 2002), of four kinds."""
    if lsh.kind == SPARSE:
        project_sparse(lsh, x, s)
    elif lsh.kind == HADAMARD:
        project_hadamard(lsh, x, s)
    elif lsh.kind == GAUSSIAN:
        shorten(x, s.shortened)
        project_dense(lsh, s.shortened, s)
    else:
        project_dense(lsh, x, s)
    for t in range(lsh.L):
        code = 0
        for k in range(lsh.K):
            code = code << 1 | (s.projection[t * lsh.K + k] > 0)
        s.codes[t] = code


@kernel
def euclidean(lsh: Any, x: Any, s: Any) -> None:
    """The cell of a vector along a direction, its number folded (E2LSH: Datar et al., SoCG 2004)."""
    shorten(x, s.shortened)
    project_dense(lsh, s.shortened, s)
    width = 32 * lsh.width  # directions count in steps of 1/32
    for t in range(lsh.L):
        code = 0
        for k in range(t * lsh.K, (t + 1) * lsh.K):
            cell = np.floor(np.float64(s.projection[k]) / width + lsh.positions[k, 0] / OFFSET_STEPS)
            folded = cell - lsh.window * np.floor(cell / lsh.window)
            code = code << lsh.bits_per_hash | (np.int64(folded) if folded >= 0 else 0)
        s.codes[t] = code


@kernel
def _flip_cheapest(margins: Any, code: Any, n_probes: Any, codes: Any) -> None:
    """codes = those that differ from `code` in the bits with the least sums of squared margins, ascending."""
    cost, found = np.zeros(n_probes), np.full(n_probes, code)
    n = 1
    for k in range(len(margins)):
        more, bit = np.float64(margins[k]) * np.float64(margins[k]), np.uint32(1 << (len(margins) - 1 - k))
        old_cost, old = cost.copy(), found.copy()
        kept, flipped, m = 0, 0, 0
        while m < n_probes and flipped < n:
            if kept < n and old_cost[kept] <= old_cost[flipped] + more:
                cost[m], found[m] = old_cost[kept], old[kept]
                kept += 1
            else:
                cost[m], found[m] = old_cost[flipped] + more, old[flipped] ^ bit
                flipped += 1
            m += 1
        n = m
    codes[:n], codes[n:] = found[:n], code


@kernel
def find_probes(lsh: Any, s: Any) -> None:
    """From the codes of the query last hashed to those of the buckets to look into (Lv et al., VLDB 2007), in place.

    Those of table t are s.codes[t * lsh.probes :], its own code first. A table of fewer buckets repeats that.
    """
    if lsh.probes == 1 or lsh.kind == QUERY_CELLS:
        return
    for t in range(lsh.L - 1, -1, -1):
        codes = s.codes[t * lsh.probes : (t + 1) * lsh.probes]
        _flip_cheapest(s.projection[t * lsh.K : (t + 1) * lsh.K], s.codes[t], lsh.probes, codes)


@kernel
def wta(lsh: Any, x: Any, s: Any) -> None:
    """Which of a window of coordinates is the largest, the first of equals (Yagnik et al., ICCV 2011)."""
    for t in range(lsh.L):
        code = 0
        for k in range(lsh.K):
            window = lsh.positions[t * lsh.K + k]
            best = 0
            for j in range(1, lsh.window):
                if x[window[j]] > x[window[best]]:
                    best = j
            code = code << lsh.bits_per_hash | best
        s.codes[t] = code


@kernel
def _borrow(winners: Any, n_bins: Any, bin_: Any) -> Any:
    """An empty bin takes the winner of another (Shrivastava, ICML 2017).

    Which ones are asked follows from its number alone, so that vectors agree; after many tries, the next in order.
    """
    other = bin_
    for attempt in range(1, DENSIFY_TRIES + 1):
        other = np.int64((mix64(np.uint64(bin_ * DENSIFY_TRIES + attempt)) >> _32) % np.uint64(n_bins))
        if winners[other] != EMPTY:
            return winners[other]
    while winners[other] == EMPTY:
        other = (other + 1) % n_bins
    return winners[other]


@kernel
def densified_codes(lsh: Any, winners: Any, s: Any) -> None:
    """Codes from the low bits of the winners, all 0 where every bin is empty."""
    n_bins = lsh.K * lsh.L
    s.codes[: lsh.L] = 0
    filled = 0
    for b in range(n_bins):
        filled += winners[b] != EMPTY
    if filled == 0:
        return
    for b in range(n_bins):
        winner = _borrow(winners, n_bins, b) if winners[b] == EMPTY else winners[b]
        t = b // lsh.K
        s.codes[t] = s.codes[t] << lsh.bits_per_hash | winner & ((1 << lsh.bits_per_hash) - 1)


@kernel
def dwta(lsh: Any, x: Any, s: Any) -> None:
    """WTA in which zeros do not compete and empty bins borrow (Chen & Shrivastava, UAI 2018)."""
    n_bins = lsh.K * lsh.L
    bins_per_permutation = lsh.dim // lsh.window
    winners, values = s.winners, s.projection
    winners[:n_bins] = EMPTY
    for p in range(lsh.positions.shape[0]):
        for d in range(lsh.dim):
            place = lsh.positions[p, d]
            bin_ = p * bins_per_permutation + place // lsh.window
            if x[d] == 0 or place // lsh.window >= bins_per_permutation or bin_ >= n_bins:
                continue
            offset = place % lsh.window
            first = winners[bin_] == EMPTY
            if first or x[d] > values[bin_] or (x[d] == values[bin_] and offset < winners[bin_]):
                winners[bin_] = offset
                values[bin_] = x[d]
    densified_codes(lsh, winners, s)


@kernel
def next_strongest(x: Any, last: Any) -> Any:
    """The coordinate of largest magnitude behind `last`, of equals the first; -1 where there is none but zeros."""
    found = -1
    for d in range(len(x)):
        behind = last < 0 or abs(x[d]) < abs(x[last]) or (abs(x[d]) == abs(x[last]) and d > last)
        if behind and x[d] != 0 and (found < 0 or abs(x[d]) > abs(x[found])):
            found = d
    return found


@kernel
def minhash(lsh: Any, x: Any, s: Any) -> None:
    """Densified one-permutation MinHash (Shrivastava & Li, ICML 2014): the least rank in each bin."""
    n_bins, least, permutations = lsh.K * lsh.L, s.winners, lsh.positions.shape[1]
    whole = (n_bins + permutations - 1) // permutations  # bins of one permutation
    least[:n_bins] = EMPTY
    d = -1
    for _ in range(lsh.window):
        d = next_strongest(x, d)
        if d < 0:
            break
        element = 2 * d + (x[d] < 0)
        for p in range(permutations):
            rank = lsh.positions[element, p]
            bin_ = p * whole + ((np.int64(rank) * whole) >> 31)
            if bin_ < n_bins and (least[bin_] == EMPTY or rank < least[bin_]):
                least[bin_] = rank
    densified_codes(lsh, least, s)


@kernel
def custom(lsh: Any, x: Any, s: Any) -> None:
    """The user's own function, cut to the bits that the tables were made for."""
    call_hash(lsh.address, lsh.context, x.ctypes.data, 1, len(x), s.codes.ctypes.data)
    for t in range(lsh.L):
        s.codes[t] &= np.uint32((1 << lsh.code_bits) - 1)


@kernel
def hash_vector(lsh: Any, x: Any, s: Any) -> None:
    """s.codes of x, which has lsh.dim coordinates."""
    if lsh.kind == WTA:
        wta(lsh, x, s)
    elif lsh.kind == DWTA:
        dwta(lsh, x, s)
    elif lsh.kind == QUERY_CELLS:
        nearest_cell(lsh, x, s)
    elif lsh.kind == MINHASH:
        minhash(lsh, x, s)
    elif lsh.kind == EUCLIDEAN:
        euclidean(lsh, x, s)
    elif lsh.kind in (SIMHASH, GAUSSIAN, SPARSE, HADAMARD):
        simhash(lsh, x, s)
    else:
        custom(lsh, x, s)
