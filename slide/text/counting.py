"""Texts to counts of features in Python: the twin of csrc/text/, used where it was not built.

Distinct words and pairs of a block of texts are numbered, so that each is hashed and cut up once; SciPy counts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from itertools import chain, islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.text.options import TextFeatures
from slide.text.words import BEFORE, CURRENT, FIELD_SEPARATOR, Tokenizer, spelled, tokenizer

NGRAM_MARK = "\x1e"  # before an n-gram, so that it is not taken for a word
TEXTS_AT_ONCE = 20_000
FEW_TEXTS = 1_000

Codes = npt.NDArray[np.uint64]
Ids = npt.NDArray[np.int64]


class Learned(NamedTuple):
    """Features of training texts that stay: their hashes, ascending, how often each text has them, names, a line each.

    With buckets there are neither hashes nor names. counts : CSR float32 [texts, features]
    """

    codes: Codes
    counts: sp.csr_array
    names: bytes


def learn(texts: Iterable[str], options: TextFeatures) -> Learned:
    """The features that the options choose of those that texts have."""
    blocks = list(_blocks(texts, options))
    if options.buckets:
        counts = _stack([_fold(block, options.buckets) for block in blocks], options.buckets)
        return Learned(np.empty(0, np.uint64), counts, b"")
    found = np.unique(np.concatenate([block.codes for block in blocks] or [np.empty(0, np.uint64)]))
    counts = _stack([_place(block.counts, np.searchsorted(found, block.codes), len(found)) for block in blocks])
    keep = chosen(np.bincount(counts.indices, minlength=len(found)), counts.shape[0], options)
    found = found[keep]
    return Learned(found, sp.csr_array(counts[:, keep]), _names(blocks, found))


def count(texts: Iterable[str], options: TextFeatures, cut: str, codes: Codes) -> sp.csr_array:
    """CSR float32 [texts, features]: how often each feature of a vocabulary occurs. cut : name of the tokenizer"""
    n_columns = options.buckets or len(codes)
    return _stack([_known(block, options, codes) for block in _blocks(texts, options, cut)], n_columns)


def _known(block: Block, options: TextFeatures, codes: Codes) -> sp.csr_array:
    if options.buckets:
        return _fold(block, options.buckets)
    at = np.minimum(np.searchsorted(codes, block.codes), len(codes) - 1)
    known = np.flatnonzero(codes[at] == block.codes)
    return _place(sp.csr_array(block.counts[:, known]), at[known], len(codes))


def chosen(frequency: Ids, n_rows: int, options: TextFeatures) -> Ids:
    """Which features stay, ascending; frequency : texts that have each"""
    least = options.min_rows or (1 if n_rows < FEW_TEXTS else 2)
    keep = np.flatnonzero((frequency >= least) & (frequency <= max(options.max_share * n_rows, least)))
    if options.max_features is not None and len(keep) > options.max_features:
        commonest = np.argsort(-frequency[keep], kind="stable")[: options.max_features]
        keep = np.sort(keep[commonest])
    return keep


def in_blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    """Some texts at a time, so that what they need on the way is bounded."""
    remaining = iter(texts)
    while some := list(islice(remaining, TEXTS_AT_ONCE)):
        yield some


def stop_words(options: TextFeatures, cut: str) -> frozenset[str]:
    """Words that are left out, spelled as a tokenizer spells them."""
    if cut == BEFORE:
        return frozenset(options.stop_words)
    return frozenset(spelled(word, options) for word in options.stop_words)


def words_of(text: str, options: TextFeatures, cut: str = CURRENT) -> list[str]:
    """The words of a text in their order, those that are left out left out."""
    stop = stop_words(options, cut) | {FIELD_SEPARATOR}
    return [word for word in tokenizer(cut, options)(text) if word not in stop]


def features_of(text: str, options: TextFeatures, cut: str = CURRENT) -> tuple[Codes, list[str]]:
    """Hashes and names of the features that a text has, whether or not a vocabulary holds them."""
    (block,) = _blocks([text], options, cut)
    there = np.unique(block.counts.indices)
    return block.codes[there], [block.name(i) for i in there.tolist()]


class Block(NamedTuple):
    """Some texts: CSR [texts, features found in them] of how often, the features' hashes, and what names one."""

    counts: sp.csr_array
    codes: Codes
    name: Callable[[int], str]


def _blocks(texts: Iterable[str], options: TextFeatures, cut: str = CURRENT) -> Iterator[Block]:
    words_of, stop = tokenizer(cut, options), stop_words(options, cut)
    for some in in_blocks(texts):
        rows, ids, words = _tokens(some, words_of, stop)
        hashes = np.array([feature_hash(word) for word in words], np.uint64)
        occurrences = _count(rows[ids > 0], ids[ids > 0], (len(some), len(words)))
        kinds = [Block(occurrences, hashes, words.__getitem__)] if options.words else []
        if options.words == 2:
            kinds.append(_pairs(rows, ids, len(some), words, hashes))
        if options.characters:
            kinds.append(_char_ngrams(occurrences, words, options.characters))
        yield _join(kinds)


def _tokens(texts: list[str], words_of: Tokenizer, stop: frozenset[str]) -> tuple[Ids, Ids, list[str]]:
    """The text and the number of each word in turn, and the distinct words by number; 0 is a break."""
    number: dict[str, int] = {FIELD_SEPARATOR: 0}
    ids: list[int] = []
    lengths = np.empty(len(texts), np.int64)
    for i, text in enumerate(texts):
        words = words_of(text)
        if stop:
            words = [word for word in words if word not in stop]
        ids += [number.setdefault(word, len(number)) for word in words]
        lengths[i] = len(words)
    return np.repeat(np.arange(len(texts)), lengths), np.array(ids, np.int64), list(number)


def _pairs(rows: Ids, ids: Ids, n: int, words: list[str], hashes: Codes) -> Block:
    """Words that follow each other in a text, no break between them."""
    neighbours = (ids[:-1] > 0) & (ids[1:] > 0) & (rows[:-1] == rows[1:])
    keys, at = np.unique(ids[:-1][neighbours] << 32 | ids[1:][neighbours], return_inverse=True)
    left, right = keys >> 32, keys & 0xFFFFFFFF
    counts = _count(rows[:-1][neighbours], at, (n, len(keys)))
    return Block(counts, mix(hashes[left], hashes[right]), lambda i: f"{words[left[i]]} {words[right[i]]}")


def _char_ngrams(occurrences: sp.csr_array, words: list[str], lengths: tuple[int, int]) -> Block:
    """Character n-grams of words; a word is cut up once, however often it occurs."""
    number: dict[str, int] = {}
    cut = [
        [number.setdefault(p, len(number)) for p in char_ngrams(w, lengths)] if w != FIELD_SEPARATOR else []
        for w in words
    ]
    rows = np.repeat(np.arange(len(words)), [len(ngrams) for ngrams in cut])
    of_words = _count(rows, np.fromiter(chain.from_iterable(cut), np.int64), (len(words), len(number)))
    names = list(number)
    codes = np.array([feature_hash(NGRAM_MARK + ngram) for ngram in names], np.uint64)
    return Block(sp.csr_array(occurrences @ of_words), codes, lambda i: f"<{names[i]}>")


def char_ngrams(word: str, lengths: tuple[int, int]) -> list[str]:
    """``char_ngrams("cat", (3, 4))`` is " ca", "cat", "at ", " cat", "cat "."""
    padded = f" {word} "
    return [padded[i : i + n] for n in range(lengths[0], lengths[1] + 1) for i in range(len(padded) - n + 1)]


def feature_hash(text: str) -> int:
    """64 bits of BLAKE2b: the same everywhere, and two features of a vocabulary of millions hardly ever share one."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def mix(left: Codes, right: Codes) -> Codes:
    """A pair's hash from its words': the finaliser of splitmix64 (Steele et al., OOPSLA 2014) over a sum of both."""
    z = left * np.uint64(0x9E3779B97F4A7C15) + right
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


def _count(rows: Ids, columns: Ids, shape: tuple[int, int]) -> sp.csr_array:
    """How often each row has each column."""
    return sp.csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)


# -- kinds of features side by side, blocks of texts under each other, features under their columns --------------------


def _join(kinds: list[Block]) -> Block:
    starts = np.cumsum([0, *(len(kind.codes) for kind in kinds)]).tolist()

    def name(i: int) -> str:
        at = bisect_right(starts, i) - 1
        return kinds[at].name(i - starts[at])

    counts = sp.hstack([kind.counts for kind in kinds], format="csr")
    return Block(counts, np.concatenate([kind.codes for kind in kinds]), name)


def _stack(blocks: list[sp.csr_array], n_columns: int = 0) -> sp.csr_array:
    return sp.vstack(blocks, format="csr") if blocks else sp.csr_array((0, n_columns), dtype=np.float32)


def _place(counts: sp.csr_array, columns: Ids, n_columns: int) -> sp.csr_array:
    """The same counts under other columns; those that meet in one are added."""
    placed = sp.csr_array((counts.data, columns[counts.indices], counts.indptr), shape=(counts.shape[0], n_columns))
    placed.sum_duplicates()
    return placed


def _fold(block: Block, n_buckets: int) -> sp.csr_array:
    return _place(block.counts, (block.codes % np.uint64(n_buckets)).astype(np.int64), n_buckets)


def _names(blocks: list[Block], found: Codes) -> bytes:
    """Texts of the features, a line each: no feature has a line break in it."""
    names = [""] * len(found)
    for block in blocks if len(found) else []:
        at = np.minimum(np.searchsorted(found, block.codes), len(found) - 1)
        for i in np.flatnonzero(found[at] == block.codes).tolist():
            names[at[i]] = names[at[i]] or block.name(i)
    return "\n".join(names).encode("utf-8", "surrogatepass")
