"""SimHash, WTA and DWTA codes, bit for bit those of csrc/hash.c: sums run in the order of the coordinates.

A new family needs a branch in `hash_vector`, a number in slide._state.KINDS and a class in slide/lsh.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from slide._state import DIRECTION_BLOCK, KINDS
from slide.reference.jit import kernel
from slide.reference.rng import mix64

SIMHASH, WTA = KINDS["simhash"], KINDS["wta"]
EMPTY = -1
DENSIFY_TRIES = 64
_32 = np.uint64(32)


@kernel
def simhash(lsh: Any, x: Any, s: Any) -> None:
    """A bit is the side of a random hyperplane (Charikar, STOC 2002)."""
    s.projection[:] = 0
    for block in range(lsh.directions.shape[0]):
        sums = s.projection[block * DIRECTION_BLOCK : (block + 1) * DIRECTION_BLOCK]
        for d in range(lsh.dim):
            for j in range(DIRECTION_BLOCK):
                sums[j] += x[d] * lsh.directions[block, d, j]
    for t in range(lsh.L):
        code = 0
        for k in range(lsh.K):
            code = code << 1 | (s.projection[t * lsh.K + k] > 0)
        s.codes[t] = code


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
    """An empty bin takes the winner of another, found by a hash of the bin alone, so equal vectors agree."""
    for attempt in range(1, DENSIFY_TRIES + 1):
        other = (mix64(np.uint64(bin_ * DENSIFY_TRIES + attempt)) >> _32) % np.uint64(n_bins)
        if winners[other] != EMPTY:
            return winners[other]
    return 0


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
    for t in range(lsh.L):
        code = 0
        for b in range(t * lsh.K, (t + 1) * lsh.K):
            winner = _borrow(winners, n_bins, b) if winners[b] == EMPTY else winners[b]
            code = code << lsh.bits_per_hash | winner
        s.codes[t] = code


@kernel
def hash_vector(lsh: Any, x: Any, s: Any) -> None:
    """s.codes of x, which has lsh.dim coordinates."""
    if lsh.kind == SIMHASH:
        simhash(lsh, x, s)
    elif lsh.kind == WTA:
        wta(lsh, x, s)
    else:
        dwta(lsh, x, s)
