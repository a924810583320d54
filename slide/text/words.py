"""Words of a text, and how two spellings of one become equal.

A word begins with a letter, a digit or an underscore and goes on with these and with the marks that belong to them:
vowel signs, viramas and nuktas of India's scripts, tones of Thai and Lao, points of Hebrew, vowels of Arabic, accents
that stand after their letter. Joiners are part of a word where they are inside it, and zero width joiners also at its
end (old chillus of Malayalam). Apostrophes end a word. Texts are normalised first (NFC; NFKC would take the vowel am of
Thai and Lao apart and make 25 of a power) and have their case folded, so that it does not matter how an accent is
stored, or whether STRASSE or straße was written; what only steers how a word is drawn is left out.

A model's file names the tokenizer of its vocabulary: texts go on being cut as they were when it was trained.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable
from typing import Any

from slide.checks import require
from slide.text.options import TextFeatures

#: Stands between the texts of several columns: words on its two sides are no pair.
FIELD_SEPARATOR = "\x1f"

Tokenizer = Callable[[str], list[str]]

ASCII_WORD = re.compile(rf"\w+|{FIELD_SEPARATOR}", re.ASCII)
LETTERS = re.compile(ASCII_WORD.pattern)
NON_JOINER, JOINER = "\u200c", "\u200d"
UNDRAWN = re.compile("[\u00ad\ufe00-\ufe0f\U000e0100-\U000e01ef]")  # soft hyphens, variation selectors
#: All marks, joiners and undrawn are in these ranges, and most texts of letters alone are not: Latin, Greek, Cyrillic,
#: Chinese, Japanese and Korean ones are cut by the simpler expression.
MAYBE_MARKED = re.compile(
    "[\u00ad\u0300-\u036f\u0483-\u0489\u0591-\u1dff\u200c\u200d\u20d0-\u20ff\u2cef-\u2dff\u302a-\u302f\u3099\u309a"
    "\ua66f-\uabff\ufb1e\ufe00-\ufe2f\U00010000-\U000e01ff]"
)
#: Blocks of marks that scripts share; a vowel sign, a virama or a dakuten belongs to its script, and is none of these.
ACCENTS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]")
MARK_RANGES = ((0x300, 0x20000), (0xE0100, 0xE01F0))  # where Unicode has marks


def folded(text: str, lowercase: bool = True) -> str:
    """One spelling for all that are canonically equivalent, and with lowercase for all that differ in case."""
    if text.isascii():
        return text.lower() if lowercase else text
    text = unicodedata.normalize("NFC", text)
    if MAYBE_MARKED.search(text):
        text = UNDRAWN.sub("", text)
    # Folding makes of a capital I with a dot an i with two dots, of which the second is no spelling of anything.
    return unicodedata.normalize("NFC", text.casefold().replace("i\u0307", "i")) if lowercase else text


@functools.cache
def _word() -> re.Pattern[str]:
    """Made when the first text beyond ASCII is met: Python's expressions have no class of marks."""
    places = (i for start, stop in MARK_RANGES for i in range(start, stop))
    marks = "".join(_ranges([i for i in places if unicodedata.category(chr(i)).startswith("M")]))
    inner = rf"[\w{JOINER}{marks}]"
    return re.compile(rf"\w{inner}*(?:{NON_JOINER}+{inner}+)*|{FIELD_SEPARATOR}")


def _ranges(places: list[int]) -> list[str]:
    """Ascending code points as ranges of a character class."""
    begins = [i for i, before in zip(places, [-1, *places], strict=False) if i != before + 1]
    ends = [i for i, after in zip(places, [*places[1:], -1], strict=True) if after != i + 1]
    return [f"{chr(begin)}-{chr(end)}" for begin, end in zip(begins, ends, strict=True)]


def without_accents(text: str) -> str:
    """Letters instead of letters with accents."""
    return unicodedata.normalize("NFC", ACCENTS.sub("", unicodedata.normalize("NFD", text)))


def spelled(text: str, options: TextFeatures) -> str:
    """As the texts of a model are spelled before they are cut: `folded`, and without accents if they are not wanted."""
    text = folded(text, options.lowercase)
    return without_accents(text) if options.strip_accents and not text.isascii() else text


def _by_unicode(options: TextFeatures) -> Tokenizer:
    def words(text: str) -> list[str]:
        if text.isascii():
            return ASCII_WORD.findall(text.lower() if options.lowercase else text)
        text = spelled(text, options)
        return (_word() if MAYBE_MARKED.search(text) else LETTERS).findall(text)

    return words


def _by_letters(options: TextFeatures) -> Tokenizer:
    """Of models of before: a mark ends a word, and nothing is normalised."""
    return lambda text: LETTERS.findall(text.lower() if options.lowercase else text)


def _by_own(options: TextFeatures) -> Tokenizer:
    """By what the options say. White space inside a word, which would make several of it, becomes an underscore."""
    find = options.tokenizer or re.compile(options.pattern or "").findall

    def words(text: str) -> list[str]:
        found: list[str] = []
        for number, part in enumerate(spelled(text, options).split(FIELD_SEPARATOR)):
            found += [FIELD_SEPARATOR] * (number > 0)
            found += filter(None, map(_as_word, find(part)))
        return found

    return words


def _as_word(found: Any) -> str:
    require(isinstance(found, str), "TextFeatures(tokenizer=)", found, "words as strings")
    return "_".join(found.split())


CURRENT, BEFORE = "unicode", "letters"


def tokenizer(name: str, options: TextFeatures) -> Tokenizer:
    """What cuts a text into words and field separators.

    name : under which model files have it; a pattern or tokenizer of the options replaces that of today

    Raises
    ------
    ValueError
        For a name that this slide does not know.
    """
    require(name in (CURRENT, BEFORE), "tokenizer", name, f"one of {CURRENT}, {BEFORE}")
    if name == BEFORE:
        return _by_letters(options)
    return _by_own(options) if options.is_cut_by_python else _by_unicode(options)
