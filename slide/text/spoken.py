"""What each word of a text added to a score: its own feature and its share of the character pieces that it has.

A piece that several words of the text have is shared among them by how often they have it. Pairs of words stay pairs.
With buckets no vocabulary is kept, but the text at hand says what its own features are called.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from slide.inference.explain import Explanation, Part
from slide.text.counting import char_ngrams, features_of, words_of
from slide.text.features import Vocabulary

PIECE = ("<", ">")  # around the name of a character n-gram


def names_in(vocabulary: Vocabulary, text: str) -> dict[int, list[str]]:
    """What the features of a text are called, by column; several where they share a bucket."""
    codes, names = features_of(text, vocabulary.options, vocabulary.tokenizer)
    if vocabulary.options.buckets:
        columns = (codes % np.uint64(vocabulary.options.buckets)).astype(np.int64)
    else:
        columns = np.minimum(np.searchsorted(vocabulary.codes, codes), len(vocabulary.codes) - 1)
        columns = np.where(vocabulary.codes[columns] == codes, columns, -1)
    found: dict[int, list[str]] = defaultdict(list)
    for column, name in zip(columns.tolist(), names, strict=True):
        if column >= 0:
            found[column].append(name)
    return dict(found)


def parts_of(
    found: Explanation, names: Mapping[int, Sequence[str]], words: Sequence[str], lengths: object
) -> list[Part]:
    """The words and pairs of a text, from the one that spoke most for the label to the one that spoke most against it.

    words : of the text, in their order; lengths : of its character pieces, or None
    """
    having = _words_by_piece(words, lengths) if isinstance(lengths, tuple) else {}
    totals: dict[str, float] = defaultdict(float)
    pieces: dict[str, dict[str, float]] = defaultdict(dict)
    for column, contribution in zip(found.features.tolist(), found.contributions.tolist(), strict=True):
        called = names.get(column) or [f"feature {column}"]
        for name in called:
            share = contribution / len(called)
            if not (name.startswith(PIECE[0]) and name.endswith(PIECE[1])):
                totals[name] += share
                continue
            owners = having[name[1:-1]]
            for word, n in owners.items():
                part = share * n / owners.total()
                totals[word] += part
                pieces[word][name[1:-1]] = pieces[word].get(name[1:-1], 0.0) + part
    parts = [Part(name, total, _strongest(pieces.get(name, {}))) for name, total in totals.items()]
    return sorted(parts, key=lambda part: -part.contribution)


def _words_by_piece(words: Sequence[str], lengths: tuple[int, int]) -> dict[str, Counter[str]]:
    having: dict[str, Counter[str]] = defaultdict(Counter)
    for word in words:
        for piece in char_ngrams(word, lengths):
            having[piece][word] += 1
    return having


def _strongest(pieces: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    """Pieces by what they added, whatever its sign; a piece inside a word has dots where the word goes on."""
    ordered = sorted(pieces.items(), key=lambda item: -abs(item[1]))
    return tuple((_dotted(piece), value) for piece, value in ordered)


def _dotted(piece: str) -> str:
    """
    >>> _dotted(" cat"), _dotted("ing "), _dotted("atio")
    ('cat…', '…ing', '…atio…')
    """
    left = piece[1:] if piece.startswith(" ") else f"…{piece}"
    return left[:-1] if left.endswith(" ") else f"{left}…"


def explained(found: Explanation, vocabulary: Vocabulary, text: str) -> tuple[dict[int, str], list[Part]]:
    """What the features of the text are called, and the parts of the explanation."""
    names = names_in(vocabulary, text)
    words = words_of(text, vocabulary.options, vocabulary.tokenizer)
    parts = parts_of(found, names, words, vocabulary.options.characters)
    return {column: " / ".join(called) for column, called in names.items()}, parts
