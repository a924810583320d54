"""Texts to counts of features in C (csrc/text/), where it was built: the same as slide/text/counting.py, to the bit.

Texts beyond ASCII are cut into words by Python, whose table of Unicode C has not, and all texts where the options say
what a word is; all else is done there, by several threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.engine.binding import c_core
from slide.text.counting import Codes, Learned, chosen, feature_hash, in_blocks, stop_words
from slide.text.options import TextFeatures
from slide.text.words import CURRENT, tokenizer

if TYPE_CHECKING:
    from slide.engine._c import TextCounter

LONGEST = 2**30  # an n-gram; no text has a longer word
NO_CODES = np.empty(0, np.uint64)

Counted = tuple[npt.NDArray[np.int64], npt.NDArray[Any], npt.NDArray[np.float32]]


def counter(options: TextFeatures, cut: str, codes: Codes = NO_CODES) -> TextCounter | None:
    """What counts the features of a vocabulary, or without codes all there are; None where C was not built.

    cut : name of the tokenizer
    """
    core = c_core()
    if core is None:
        return None
    shortest, longest = options.characters or (0, 0)
    stop = np.unique(np.array([feature_hash(word) for word in stop_words(options, cut)], np.uint64))
    always = options.is_cut_by_python and cut == CURRENT
    return core.TextCounter(
        options.words, min(shortest, LONGEST), min(longest, LONGEST), options.lowercase, stop,
        _cutter(cut, options), np.ascontiguousarray(codes), options.buckets or 0, always,
    )  # fmt: skip


def _cutter(cut: str, options: TextFeatures) -> Callable[[str], bytes]:
    """Words of a text with spaces between them, in UTF-8."""
    words_of = tokenizer(cut, options)
    return lambda text: " ".join(words_of(text)).encode("utf-8", "surrogatepass")


def learn(texts: Sequence[str], options: TextFeatures, n_threads: int) -> Learned | None:
    """As slide.text.counting.learn; None where C was not built."""
    every = counter(options, CURRENT)
    if every is None:
        return None
    counted = [every.count(some, n_threads) for some in in_blocks(texts)]
    if options.buckets:
        return Learned(NO_CODES, matrix(counted, options.buckets), b"")
    indptr, hashes, amounts = _joined(counted)
    found, frequency = np.unique(hashes, return_counts=True)
    codes = found[chosen(frequency, len(indptr) - 1, options)]
    known = counter(options, CURRENT, codes)
    assert known is not None
    columns = known.columns(hashes, n_threads)
    stay = columns >= 0
    indptr = np.concatenate([[0], np.cumsum(stay)])[indptr]
    counts = matrix([(indptr, columns[stay], amounts[stay])], len(codes))
    return Learned(codes, counts, known.names(in_blocks(texts)))


def count(known: TextCounter, texts: Iterable[str], n_columns: int, n_threads: int) -> sp.csr_array:
    """CSR float32 [texts, n_columns]: how often each feature occurs that a counter knows."""
    return matrix([known.count(some, n_threads) for some in in_blocks(texts)], n_columns)


def matrix(counted: list[Counted], n_columns: int) -> sp.csr_array:
    """Counts of blocks of texts under each other."""
    indptr, columns, amounts = _joined(counted)
    indptr = indptr.astype(np.int32) if indptr[-1] < 2**31 else indptr  # else SciPy makes columns of 64 bits
    return sp.csr_array((amounts, columns.astype(np.int32, copy=False), indptr), shape=(len(indptr) - 1, n_columns))


def _joined(counted: list[Counted]) -> Counted:
    if len(counted) == 1:
        return counted[0]
    if not counted:
        return np.zeros(1, np.int64), NO_CODES, np.empty(0, np.float32)
    lengths = np.concatenate([np.diff(indptr) for indptr, _, _ in counted])
    keys, amounts = (np.concatenate([part[i] for part in counted]) for i in (1, 2))
    return np.concatenate([[0], np.cumsum(lengths)]), keys, amounts
