"""Words in many scripts, spellings that are one, and models that go on cutting as they did when they were trained."""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import slide
from slide.text.features import Vocabulary
from slide.text.words import BEFORE, CURRENT, FIELD_SEPARATOR, MAYBE_MARKED, UNDRAWN, folded, tokenizer

GOLDEN = Path(__file__).parents[1] / "io" / "golden"
SMALL = {"hidden": (8,), "epochs": 20, "n_threads": 1}


def cut(text: str, lowercase: bool = True) -> list[str]:
    return tokenizer(CURRENT, slide.TextFeatures(lowercase=lowercase))(text)


@pytest.mark.parametrize(
    "text",
    [
        "\u0939\u093f\u0928\u094d\u0926\u0940 \u0932\u093f\u0916\u0928\u093e",  # Hindi
        "\u0ba4\u0bae\u0bbf\u0bb4\u0bcd \u0bae\u0bca\u0bb4\u0bbf",  # Tamil
        "\u09ac\u09be\u0982\u09b2\u09be \u0995\u09cd\u09b7\u09c1\u09a6\u09cd\u09b0",  # Bengali
        "\u0e17\u0e33\u0e07\u0e32\u0e19 \u0e19\u0e49\u0e33 \u0e17\u0e35\u0e48",  # Thai
        "\u05e9\u05c1\u05dc\u05d5\u05b9\u05dd \u05e2\u05d5\u05b9\u05dc\u05dd",  # Hebrew with its points
        "\u0643\u064e\u062a\u064e\u0628\u064e \u0645\u064f\u062d\u064e\u0645\u064e\u0651\u062f",  # Arabic with vowels
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \u06a9\u062a\u0627\u0628",  # Persian, a non-joiner inside
        "\u0d05\u0d35\u0d28\u0d4d\u200d \u0d2a\u0d4b\u0d2f\u0d3f",  # Malayalam, a joiner at the end
        "\u1019\u103c\u1014\u103a\u1019\u102c \u1005\u102c",  # Burmese
        "x\u0323\u0301 m\u0304",  # letters that no composed form has
        "\u0438\u0306\u0302 \u4e2d\u6587 \uac00\ub098 cl\u00e9",
    ],
)
def test_marks_and_joiners_belong_to_their_word(text: str) -> None:
    words = [unicodedata.normalize("NFC", word) for word in text.split()]
    assert cut(text) == words
    for form in ("NFD", "NFC"):
        assert cut(f"({unicodedata.normalize(form, text)})!") == words
    vocabulary, _ = Vocabulary.learn([text, text, "one two"], slide.TextFeatures(words=1))
    assert set(vocabulary.names) == {*words, "one", "two"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("don't l'\u00e9t\u00e9 L\u2019\u00c9t\u00e9", ["don", "t", "l", "\u00e9t\u00e9", "l", "\u00e9t\u00e9"]),
        ("STRASSE Stra\u00dfe", ["strasse", "strasse"]),
        ("\u0130stanbul istanbul", ["istanbul", "istanbul"]),
        ("\u039f\u0394\u039f\u03a3 \u03bf\u03b4\u03bf\u03c2", ["\u03bf\u03b4\u03bf\u03c3"] * 2),
        ("co\u00adoperate", ["cooperate"]),
        ("\u845b\U000e0100\u57ce \u2764\ufe0f a", ["\u845b\u57ce", "a"]),
        ("\u06a9\u062a\u0627\u0628\u200c \u0647\u0627", ["\u06a9\u062a\u0627\u0628", "\u0647\u0627"]),
        ("\u0301 \u200d a_1 \u0301b", ["a_1", "b"]),  # marks of nothing are no word
        (f"\u00e9{FIELD_SEPARATOR}\u093f{FIELD_SEPARATOR}b", ["\u00e9", FIELD_SEPARATOR, FIELD_SEPARATOR, "b"]),
        ("", []),
    ],
)
def test_what_a_word_is_not(text: str, words: list[str]) -> None:
    assert cut(text) == words


def test_case_is_kept_where_it_matters() -> None:
    assert cut("E\u0301T\u00c9 Stra\u00dfe", lowercase=False) == ["\u00c9T\u00c9", "Stra\u00dfe"]
    assert cut("A b", lowercase=False) == ["A", "b"]


@given(
    st.text(
        st.sampled_from(
            "aB\u00e9\u00c5\u01f0\u1e96\u0390\u1fb3\u0301\u0307\u0323\u0345\u093f\u0939 \u1100\u1161\u00df,"
        ),
        max_size=12,
    )
)
def test_spellings_that_are_canonically_equivalent_are_cut_alike(text: str) -> None:
    words = cut(text)
    assert cut(unicodedata.normalize("NFD", text)) == words == cut(unicodedata.normalize("NFC", text))
    assert [folded(word) for word in words] == words


def test_every_mark_is_in_the_ranges_that_are_looked_for() -> None:
    """So that what is not in them may be cut by letters alone."""
    marks = [chr(i) for i in range(sys.maxunicode + 1) if unicodedata.category(chr(i))[0] == "M"]
    for mark in [*marks, "\u200c", "\u200d", "\u00ad"]:
        assert MAYBE_MARKED.match(mark), hex(ord(mark))
    assert all(cut(f"a{mark}b") == [folded(f"a{mark}b")] for mark in marks if not UNDRAWN.match(mark))


@given(st.text(st.characters(max_codepoint=127)))
def test_words_of_ascii_are_those_of_before(text: str) -> None:
    assert cut(text) == tokenizer(BEFORE, slide.TextFeatures())(text)


def test_accents_score_alike_however_they_are_stored() -> None:
    texts = ["un cl\u00e9 serr\u00e9", "la for\u00eat br\u00fble", "une \u00e9t\u00e9 chaude"]
    clf = slide.SlideTextClassifier(**SMALL).fit(texts * 5, ["a", "b", "c"] * 5)
    found = clf.decision_function([unicodedata.normalize("NFD", text.upper()) for text in texts])
    np.testing.assert_array_equal(found, clf.decision_function(texts))
    np.testing.assert_array_equal(clf.partial_fit(["FORE\u0302T"], ["a"]).predict(["cl\u00e9"]), ["a"])


def test_stop_words_are_spelled_as_texts_are() -> None:
    options = slide.TextFeatures(words=1, stop_words=("THE", "e\u0301t\u00e9"))
    assert set(Vocabulary.learn(["The cat \u00c9t\u00e9", "the"], options)[0].names) == {"cat"}


def test_a_file_names_what_cuts_its_texts(tmp_path: Path) -> None:
    text = "\u0939\u093f\u0928\u094d\u0926\u0940 e\u0301te\u0301"
    clf = slide.SlideTextClassifier(slide.TextFeatures(words=1), **SMALL).fit([text, "one two"], ["a", "b"])
    clf.save(tmp_path / "m.slide")
    again = slide.load(tmp_path / "m.slide")
    assert isinstance(again, slide.SlideTextClassifier)
    assert again.vocabulary_.tokenizer == CURRENT
    np.testing.assert_array_equal(again.decision_function([text]), clf.decision_function([text]))
    config = clf.vocabulary_.config()
    with pytest.raises(ValueError, match="tokenizer: found 'later', wanted one of unicode, letters"):
        Vocabulary.restored(config | {"tokenizer": "later"}, clf.vocabulary_.arrays())


def test_a_model_of_before_keeps_its_words_until_it_is_fitted_anew() -> None:
    """That it predicts as it did: tests/io/test_golden_models.py."""
    clf = slide.load(GOLDEN / "6495979" / "text-marks.slide", n_threads=1)
    assert isinstance(clf, slide.SlideTextClassifier)
    assert clf.vocabulary_.tokenizer == BEFORE
    text = "\u0939\u093f\u0928\u094d\u0926\u0940"
    clf.fit([text, "one two"], ["a", "b"])
    assert clf.vocabulary_.tokenizer == CURRENT
    assert text in clf.vocabulary_.names
