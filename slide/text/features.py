"""Text to sparse features: words, pairs of neighbouring words and character n-grams of words, weighted by TF-IDF.

A feature is known by a 64-bit hash of its text, the same on every machine; a vocabulary is a sorted array of them, so a
model loads without building a table of strings. With `buckets` there is no vocabulary at all. Features are counted in C
(slide/text/compiled.py) or Python (slide/text/counting.py), with the same result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.checks import require
from slide.engine.layout import FloatArray
from slide.engine.one_row import Row
from slide.text import compiled, counting
from slide.text.counting import Codes
from slide.text.options import TextFeatures
from slide.text.words import BEFORE, CURRENT, tokenizer

if TYPE_CHECKING:
    from slide.engine._c import TextCounter

__all__ = ["TextFeatures", "Vocabulary"]

SMALLEST, LARGEST = 1e-20, 1e20  # of a sound weight: its product with a count has 32 bits and is no zero


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
    def learn(cls, texts: Sequence[str], options: TextFeatures, n_threads: int = 1) -> tuple[Vocabulary, sp.csr_array]:
        """The vocabulary of training texts, and their features as CSR float32 [n, n_features]."""
        codes, counts, names = compiled.learn(texts, options, n_threads) or counting.learn(texts, options)
        if options.buckets is None and not len(codes):
            raise ValueError("X: found no feature that is in enough texts, wanted texts with words in them")
        frequency = np.bincount(counts.indices, minlength=counts.shape[1])
        idf = (np.log((1 + counts.shape[0]) / (1 + frequency)) + 1).astype(np.float32)
        vocabulary = cls(options, codes, idf, names)
        return vocabulary, vocabulary._weigh(counts)

    def __call__(self, texts: Sequence[str], n_threads: int = 1) -> sp.csr_array:
        """Features of texts, CSR float32 [n, n_features]; what is not in the vocabulary is left out."""
        if self._counter is None:
            return self._weigh(counting.count(texts, self.options, self.tokenizer, self.codes))
        return self._weigh(compiled.count(self._counter, texts, len(self.idf), n_threads))

    @cached_property
    def _counter(self) -> TextCounter | None:
        """Made of the codes when first asked for; no file has it."""
        return compiled.counter(self.options, self.tokenizer, self.codes)

    def row(self, text: str) -> Row | None:
        """Columns and weights of one text, as a call of its own gives them; None where it takes Python for that."""
        if self._counter is None or not self._has_sound_weights:
            return None
        columns, counts = self._counter.count_one(text)
        return columns, self._weights(columns, counts)

    @cached_property
    def _has_sound_weights(self) -> bool:
        """Whether no weight of a feature is zero or infinite: those of a file may be anything."""
        return bool(np.all((self.idf > SMALLEST) & (self.idf < LARGEST)))

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled and copied."""
        return {name: value for name, value in vars(self).items() if name not in ("_counter", "_has_sound_weights")}

    def _weigh(self, counts: sp.csr_array) -> sp.csr_array:
        weights = self._weights(counts.indices, counts.data)
        return sp.csr_array((weights, counts.indices, counts.indptr), shape=counts.shape)

    def _weights(self, columns: npt.NDArray[Any], counts: FloatArray) -> FloatArray:
        tf = 1 + np.log(counts) if self.options.sublinear else counts
        return (tf * self.idf[columns]).astype(np.float32, copy=False)

    @property
    def names(self) -> list[str]:
        """The features' texts by column; with buckets there are none."""
        return self._names.decode("utf-8", "surrogatepass").split("\n") if self._names else []

    # -- files ------------------------------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """As JSON values."""
        return {"tokenizer": self.tokenizer, **self.options.config()}

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """For a model file."""
        names = np.frombuffer(self._names, np.uint8)
        return {"text.codes": self.codes.view(np.int64), "text.idf": self.idf, "text.names": names}

    @classmethod
    def restored(cls, config: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Vocabulary:
        """The inverse of `config` and `arrays`; ValueError where they do not fit together."""
        cut = config.get("tokenizer", BEFORE)  # files of before name none
        options = TextFeatures(**{name: value for name, value in config.items() if name != "tokenizer"})
        tokenizer(cut, options)
        codes, idf = arrays["text.codes"].view(np.uint64), arrays["text.idf"]
        ascending = bool((codes[1:] > codes[:-1]).all())
        require(ascending, "codes of the vocabulary", "some out of order", "ascending ones")
        wanted = options.buckets or len(codes)
        require(idf.shape == (wanted,), "weights of the vocabulary", idf.shape, f"{wanted:,}")
        return cls(options, codes, idf, arrays["text.names"].tobytes(), cut)
