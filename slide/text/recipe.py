"""How a text becomes a model's features, as values that another language can follow: ``slide features``.

An ONNX graph of a text model begins where its features are made; this says how. docs/export.md specifies every field,
with an implementation in plain Python that a test runs against slide/text/features.py.
"""

from __future__ import annotations

import unicodedata
from base64 import b64encode
from typing import Any

import numpy as np
import numpy.typing as npt

from slide.checks import require
from slide.text.features import Vocabulary
from slide.text.words import BEFORE, CURRENT, FIELD_SEPARATOR, spelled

FORMAT = "slide.text.features"


def recipe(vocabulary: Vocabulary) -> dict[str, Any]:
    """JSON values from which a text's features follow, without slide.

    Raises
    ------
    ValueError
        For a tokenizer that the page does not describe, and for one of the user's own.

    Examples
    --------
    >>> import slide
    >>> clf = slide.SlideTextClassifier(epochs=1, n_threads=1).fit(["a cat", "a dog"], ["x", "y"])
    >>> found = recipe(clf.vocabulary_)
    >>> found["n_features"], found["words"], found["tokenizer"]
    (5, 2, 'unicode')
    """
    options = vocabulary.options
    require(vocabulary.tokenizer in (CURRENT, BEFORE), "tokenizer", vocabulary.tokenizer, f"{CURRENT} or {BEFORE}")
    options.config()  # refuses what is code
    stop = options.stop_words
    if vocabulary.tokenizer == CURRENT:
        stop = tuple(dict.fromkeys(spelled(word, options) for word in stop))
    return {
        "format": FORMAT,
        "version": 2 if options.strip_accents or options.pattern else 1,  # who reads 1 only would miss these
        "n_features": len(vocabulary.idf),
        "tokenizer": vocabulary.tokenizer,
        "lowercase": options.lowercase,
        "strip_accents": options.strip_accents,
        "pattern": options.pattern,
        "unicode": unicodedata.unidata_version,
        "field_separator": FIELD_SEPARATOR,
        "stop_words": list(stop),
        "words": options.words,
        "characters": None if options.characters is None else list(options.characters),
        "buckets": options.buckets,
        "sublinear": options.sublinear,
        "hashes": None if options.buckets else _packed(vocabulary.codes, "<u8"),
        "idf": _packed(vocabulary.idf, "<f4"),
    }


def _packed(values: npt.NDArray[Any], kind: str) -> str:
    """Numbers as base64 of their bytes: JSON's own do not hold 64 bits in every language."""
    return b64encode(np.ascontiguousarray(values).astype(kind).tobytes()).decode()
