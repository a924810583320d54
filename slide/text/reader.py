"""TextReader: texts as rows of weighted features, the reader of a text classifier (slide/estimator/encoding.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.checks import check_lengths, check_X, require
from slide.engine.one_row import Row
from slide.engine.threads import resolve_threads, usable_threads
from slide.labels.forms import Values
from slide.text.features import TextFeatures, Vocabulary

FEW = 32  # texts that are read one by one: 32 take 0.6 of the time of SciPy's way, 64 take 1.3 times as long


@dataclass(frozen=True)
class TextReader:
    """Reads texts, which have no columns, but features with names; the vocabulary is None until `fit` learned it."""

    options: TextFeatures | None
    vocabulary: Vocabulary | None = None
    column_names = None
    reads_tables = False

    @property
    def names(self) -> Sequence[str] | None:
        """The features' texts; with buckets there are none."""
        return (self.vocabulary and self.vocabulary.names) or None

    def fit(
        self, X: Any, counts: npt.NDArray[np.bool_] | None = None, n_threads: int | None = None
    ) -> tuple[TextReader, sp.csr_array]:
        """A reader that knows the features of those texts that count; and them as CSR float32 [n, n_features]."""
        options = TextFeatures() if self.options is None else self.options
        require(isinstance(options, TextFeatures), "features", options, "a slide.TextFeatures or None")
        texts = check_texts(X)
        if not texts:
            raise ValueError("X: found no text, wanted at least one")
        if counts is not None:
            check_lengths(len(texts), len(counts))
            texts = list(compress(texts, counts))
        vocabulary, rows = Vocabulary.learn(texts, options, usable_threads(resolve_threads(n_threads)))
        return TextReader(options, vocabulary), check_X(rows)

    def read(self, X: Any, *, check_names: bool = True, n_threads: int | None = None) -> sp.csr_array:
        """Texts as CSR float32 [n, n_features]."""
        return check_X(self._known()(check_texts(X), usable_threads(resolve_threads(n_threads))))

    def read_few(self, X: Any) -> list[Row] | None:
        """The features of X, if it is one text or a list of a few."""
        texts = [X] if isinstance(X, str) else X
        if type(texts) is not list or not 0 < len(texts) <= FEW or not all(isinstance(text, str) for text in texts):
            return None
        known = self._known()
        rows = [row for text in texts if (row := known.row(text)) is not None]
        return rows if len(rows) == len(texts) else None

    def _known(self) -> Vocabulary:
        assert self.vocabulary is not None
        return self.vocabulary

    def config(self) -> dict[str, Any]:
        """As JSON values."""
        return {"feature_names": None, "text": self._known().config()}

    def arrays(self) -> dict[str, Values]:
        """The vocabulary's."""
        return self._known().arrays()

    @classmethod
    def restored(cls, config: Mapping[str, Any], arrays: Mapping[str, Values], n_features: int) -> TextReader:
        """The inverse of `config` and `arrays`; ValueError where they do not fit together."""
        vocabulary = Vocabulary.restored(config["text"], arrays)
        require(len(vocabulary.idf) == n_features, "vocabulary", len(vocabulary.idf), "the network's")
        return cls(vocabulary.options, vocabulary)


def check_texts(X: Any) -> list[str]:
    """A list of strings from any sequence of them; a string is one text.

    Raises
    ------
    ValueError
        Naming the row of what is no string.
    """
    if isinstance(X, str):
        return [X]
    unordered = isinstance(X, bytes | Mapping | Set)
    if sp.issparse(X) or unordered or not hasattr(X, "__iter__") or getattr(X, "ndim", 1) != 1:
        raise ValueError(f"X: found {type(X).__name__}, wanted a sequence of texts")
    texts = X.to_pylist() if hasattr(X, "to_pylist") else list(X)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"X: found {text!r} in row {row:,}, wanted a string")
    return texts
