"""TextFeatures: which features a text has. What finds them: slide/text/features.py."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

from slide.checks import number, require, whole

#: In a file only where they are not the default: so an earlier slide reads the files of those who do not use them.
SINCE = ("strip_accents", "pattern")


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
    strip_accents : bool
        Accents are taken off (é is e); marks that are part of a script, such as vowel signs, stay.
    pattern : str or None
        What a word is, as a regular expression of Python's `re`: words are what ``findall`` finds in a text that is
        normalised and has its case folded; of one group in brackets its content. None: slide/text/words.py says it.
    tokenizer : function or None
        Returns the words of such a text, in order. A model file holds no code: a model that has one is kept by pickle
        alone, and `save` and `Checkpoint` refuse it.
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
    strip_accents: bool = False
    pattern: str | None = None
    tokenizer: Callable[[str], Iterable[str]] | None = None

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
        require(
            isinstance(self.strip_accents, bool), "TextFeatures(strip_accents=)", self.strip_accents, "True or False"
        )
        _check_pattern(self.pattern)
        ok = self.tokenizer is None or callable(self.tokenizer)
        require(ok, "TextFeatures(tokenizer=)", self.tokenizer, "a function that returns the words of a text, or None")
        both = self.pattern is not None and self.tokenizer is not None
        require(not both, "TextFeatures", "pattern and tokenizer", "one of them")

    @property
    def is_cut_by_python(self) -> bool:
        """Whether ASCII texts too are cut into words by something that only Python has."""
        return self.pattern is not None or self.tokenizer is not None

    def config(self) -> dict[str, Any]:
        """As JSON values.

        Raises
        ------
        ValueError
            For a tokenizer.
        """
        if self.tokenizer is not None:
            name = getattr(self.tokenizer, "__qualname__", type(self.tokenizer).__qualname__)
            wanted = "a pattern or None to save a model: its file holds no code; pickle keeps it as it is"
            raise ValueError(f"TextFeatures(tokenizer=): found {name}, wanted {wanted}")
        stored = {one.name: getattr(self, one.name) for one in fields(self)}
        del stored["tokenizer"]
        return {name: value for name, value in stored.items() if value or name not in SINCE}


def _check_pattern(pattern: Any) -> None:
    if pattern is None:
        return
    is_some = isinstance(pattern, str) and pattern != ""  # "" finds no word, and stands for none in a file
    require(is_some, "TextFeatures(pattern=)", pattern, "a regular expression, or None")
    try:
        n_groups = re.compile(pattern).groups
    except re.error as e:
        raise ValueError(f"TextFeatures(pattern=): found {pattern!r}, wanted a regular expression: {e}") from None
    wanted = "at most one group in brackets; (?:...) makes none"
    require(n_groups <= 1, "TextFeatures(pattern=)", f"{n_groups} groups", wanted)
