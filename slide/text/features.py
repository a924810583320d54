"""Text to sparse features: words, pairs of neighbouring words and character n-grams of words, weighted by TF-IDF.

A feature is known by a 64-bit hash of its text, the same on every machine; a vocabulary is a sorted array of them, so a
model loads without building a table of strings. With `buckets` there is no vocabulary at all.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.checks import number, require, whole
from slide.engine.layout import FloatArray
from slide.text.words import BEFORE, CURRENT, FIELD_SEPARATOR, Tokenizer, folded, tokenizer

NGRAM_MARK = "\x1e"  # before an n-gram, so that it is not taken for a word
TEXTS_AT_ONCE = 20_000
FEW_TEXTS = 1_000

Codes = npt.NDArray[np.uint64]
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TextFeatures:
    """Which features a text has.

    Parameters
    ----------
    words : {0, 1, 2}
        1: words; 2: also pairs of neighbouring words; 0: neither.
    characters : (int, int) or None
        N-grams of so many characters of a word, a space before and after it included: against spelling, inflection, and
        languages without spaces.
    min_rows : int or None
        Features of fewer training texts are left out. None: 2, or 1 where there are fewer than 1,000 texts.
    max_share : float
        Features of a larger share of the training texts are left out: words such as "the", in any language.
    max_features : int or None
        Only so many features, those of most texts.
    buckets : int or None
        Features share so many columns by their hash; no vocabulary is kept, and min_rows, max_share and max_features
        say nothing.
    lowercase : bool
        Case is folded. Whatever this says, texts are normalised (NFC) before they are cut into words.
    stop_words : tuple of str
        Words that are left out, before pairs are made.
    sublinear : bool
        A feature that occurs n times counts 1 + log n times.
    """

    words: int = 2
    characters: tuple[int, int] | None = None
    min_rows: int | None = None
    max_share: float = 1.0
    max_features: int | None = None
    buckets: int | None = None
    lowercase: bool = True
    stop_words: tuple[str, ...] = ()
    sublinear: bool = True

    def __post_init__(self) -> None:
        require(whole(self.words) in (0, 1, 2), "TextFeatures(words=)", self.words, "0, 1 or 2")
        require(self.words > 0 or self.characters is not None, "TextFeatures", "no words, no characters", "one of them")
        if self.characters is not None:
            pair = tuple(self.characters) if isinstance(self.characters, Iterable) else (0, 0)
            ok = len(pair) == 2 and 1 <= whole(pair[0]) <= whole(pair[1])
            require(ok, "TextFeatures(characters=)", self.characters, "(shortest, longest), 1 or more")
            object.__setattr__(self, "characters", pair)
        for name in ("min_rows", "max_features", "buckets"):
            value = getattr(self, name)
            ok = value is None or 1 <= whole(value) < 2**31
            require(ok, f"TextFeatures({name}=)", value, "None or a whole number, 1 or more")
        require(0 < number(self.max_share) <= 1, "TextFeatures(max_share=)", self.max_share, "over 0 and at most 1")
        several = isinstance(self.stop_words, Iterable) and not isinstance(self.stop_words, str | bytes)
        words = tuple(self.stop_words) if several else ()
        ok = several and all(isinstance(word, str) for word in words)
        require(ok, "TextFeatures(stop_words=)", self.stop_words, "several words, as strings")
        object.__setattr__(self, "stop_words", words)


class Block(NamedTuple):
    """Some texts: CSR [texts, features found in them] of how often, the features' hashes, and what names one."""

    counts: sp.csr_array
    codes: Codes
    name: Callable[[int], str]


class Vocabulary:
    """The features that a model knows, learned from training texts.

    Attributes
    ----------
    options : TextFeatures
    idf : float32 [n_features]
        log((1 + texts) / (1 + texts with the feature)) + 1.
    codes : uint64 [n_features]
        Hashes of the features, ascending; empty with buckets.
    tokenizer : str
        What cuts its texts into words (slide/text/words.py).
    """

    def __init__(
        self, options: TextFeatures, codes: Codes, idf: FloatArray, names: bytes = b"", tokenizer: str = CURRENT
    ) -> None:
        self.options, self.codes, self.idf, self._names = options, codes, idf, names
        self.tokenizer = tokenizer

    @classmethod
    def learn(cls, texts: Sequence[str], options: TextFeatures) -> tuple[Vocabulary, sp.csr_array]:
        """The vocabulary of training texts, and their features as CSR float32 [n, n_features]."""
        blocks = list(_blocks(texts, options))
        found = np.unique(np.concatenate([block.codes for block in blocks] or [np.empty(0, np.uint64)]))
        if options.buckets:
            counts, found = _stack([_fold(block, options.buckets) for block in blocks]), found[:0]
        else:
            counts = _stack([_place(block.counts, np.searchsorted(found, block.codes), len(found)) for block in blocks])
        frequency = np.bincount(counts.indices, minlength=counts.shape[1])
        if options.buckets is None:
            keep = _chosen(frequency, counts.shape[0], options)
            counts, frequency, found = sp.csr_array(counts[:, keep]), frequency[keep], found[keep]
            if not len(found):
                raise ValueError("X: found no feature that is in enough texts, wanted texts with words in them")
        idf = (np.log((1 + counts.shape[0]) / (1 + frequency)) + 1).astype(np.float32)
        vocabulary = cls(options, found, idf, _names(blocks, found))
        return vocabulary, vocabulary._weigh(counts)

    def __call__(self, texts: Sequence[str]) -> sp.csr_array:
        """Features of texts, CSR float32 [n, n_features]; what is not in the vocabulary is left out."""
        blocks = _blocks(texts, self.options, self.tokenizer)
        return self._weigh(_stack([self._known(block) for block in blocks], len(self.idf)))

    def _known(self, block: Block) -> sp.csr_array:
        if self.options.buckets:
            return _fold(block, self.options.buckets)
        at = np.minimum(np.searchsorted(self.codes, block.codes), len(self.codes) - 1)
        known = np.flatnonzero(self.codes[at] == block.codes)
        return _place(sp.csr_array(block.counts[:, known]), at[known], len(self.codes))

    def _weigh(self, counts: sp.csr_array) -> sp.csr_array:
        tf = 1 + np.log(counts.data) if self.options.sublinear else counts.data
        weights = (tf * self.idf[counts.indices]).astype(np.float32)
        return sp.csr_array((weights, counts.indices, counts.indptr), shape=counts.shape)

    @property
    def names(self) -> list[str]:
        """The features' texts by column; with buckets there are none."""
        return self._names.decode("utf-8", "surrogatepass").split("\n") if self._names else []

    # -- files ------------------------------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """As JSON values."""
        return {"tokenizer": self.tokenizer, **asdict(self.options)}

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """For a model file."""
        names = np.frombuffer(self._names, np.uint8)
        return {"text.codes": self.codes.view(np.int64), "text.idf": self.idf, "text.names": names}

    @classmethod
    def restored(cls, config: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Vocabulary:
        """The inverse of `config` and `arrays`; ValueError where they do not fit together."""
        cut = config.get("tokenizer", BEFORE)  # files of before name none
        options = TextFeatures(**{name: value for name, value in config.items() if name != "tokenizer"})
        tokenizer(cut, options.lowercase)
        codes, idf = arrays["text.codes"].view(np.uint64), arrays["text.idf"]
        ascending = bool((codes[1:] > codes[:-1]).all())
        require(ascending, "codes of the vocabulary", "some out of order", "ascending ones")
        wanted = options.buckets or len(codes)
        require(idf.shape == (wanted,), "weights of the vocabulary", idf.shape, f"{wanted:,}")
        return cls(options, codes, idf, arrays["text.names"].tobytes(), cut)


# -- texts to counts ---------------------------------------------------------------------------------------------------


def _blocks(texts: Iterable[str], options: TextFeatures, cut: str = CURRENT) -> Iterator[Block]:
    remaining = iter(texts)
    words_of = tokenizer(cut, options.lowercase)
    stop = _stop_words(options, cut)
    while some := list(islice(remaining, TEXTS_AT_ONCE)):
        rows, ids, words = _tokens(some, words_of, stop)
        hashes = np.array([feature_hash(word) for word in words], np.uint64)
        occurrences = _count(rows[ids > 0], ids[ids > 0], (len(some), len(words)))
        kinds = [Block(occurrences, hashes, words.__getitem__)] if options.words else []
        if options.words == 2:
            kinds.append(_pairs(rows, ids, len(some), words, hashes))
        if options.characters:
            kinds.append(_char_ngrams(occurrences, words, options.characters))
        yield _join(kinds)


def _stop_words(options: TextFeatures, cut: str) -> frozenset[str]:
    words = options.stop_words
    return frozenset(words if cut == BEFORE else (folded(word, options.lowercase) for word in words))


def words_of(text: str, options: TextFeatures, cut: str = CURRENT) -> list[str]:
    """The words of a text in their order, those that are left out left out."""
    stop = _stop_words(options, cut) | {FIELD_SEPARATOR}
    return [word for word in tokenizer(cut, options.lowercase)(text) if word not in stop]


def features_of(text: str, options: TextFeatures, cut: str = CURRENT) -> tuple[Codes, list[str]]:
    """Hashes and names of the features that a text has, whether or not a vocabulary holds them."""
    (block,) = _blocks([text], options, cut)
    there = np.unique(block.counts.indices)
    return block.codes[there], [block.name(i) for i in there.tolist()]


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


def _chosen(frequency: Ids, n_rows: int, options: TextFeatures) -> Ids:
    """Columns that stay, ascending."""
    least = options.min_rows or (1 if n_rows < FEW_TEXTS else 2)
    keep = np.flatnonzero((frequency >= least) & (frequency <= max(options.max_share * n_rows, least)))
    if options.max_features is not None and len(keep) > options.max_features:
        commonest = np.argsort(-frequency[keep], kind="stable")[: options.max_features]
        keep = np.sort(keep[commonest])
    return keep


def _names(blocks: list[Block], found: Codes) -> bytes:
    """Texts of the features, a line each: no feature has a line break in it."""
    names = [""] * len(found)
    for block in blocks if len(found) else []:
        at = np.minimum(np.searchsorted(found, block.codes), len(found) - 1)
        for i in np.flatnonzero(found[at] == block.codes).tolist():
            names[at[i]] = names[at[i]] or block.name(i)
    return "\n".join(names).encode("utf-8", "surrogatepass")
