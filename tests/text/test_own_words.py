"""Words by a pattern, by a function of the user's own, and without accents; which of these a file can hold."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import slide
from slide.cli.main import main
from slide.text import compiled, counting
from slide.text.features import Vocabulary
from slide.text.options import TextFeatures
from slide.text.recipe import recipe
from slide.text.words import CURRENT, FIELD_SEPARATOR, tokenizer

TEXTS = [
    "C++ and c#",
    "the c compiler",
    "\u00c9l\u00e8ve CREME",
    f"eleve{FIELD_SEPARATOR}cr\u00e8me br\u00fbl\u00e9e",
    "",
]


def by_commas(text: str) -> list[str]:
    return text.split(",")


def words(text: str, **options: Any) -> list[str]:
    return tokenizer(CURRENT, TextFeatures(**options))(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "\u00c9t\u00e9 e\u0301 \u0451 \u1f08\u03b8\u1fc6\u03bd\u03b1\u03b9",
            "ete e \u0435 \u03b1\u03b8\u03b7\u03bd\u03b1\u03b9",
        ),
        ("x\u0323\u0301 \u00f8 \u00df na\u00efve", "x \u00f8 ss naive"),
        # what is part of a script stays: vowel signs, viramas, dakuten, syllables of Hangul
        ("\u0939\u093f\u0928\u094d\u0926\u0940 \u304c \ud55c\uae00 \u05e9\u05dc\u05d5\u05b9\u05dd", None),
    ],
)
def test_accents_are_taken_off(text: str, found: str | None) -> None:
    assert words(text, strip_accents=True) == (text if found is None else found).split()


def test_words_are_what_a_pattern_finds() -> None:
    assert words("C++, c# of C", pattern=r"[\w#+]+") == ["c++", "c#", "of", "c"]
    assert words("C++ of C", pattern=r"[\w#+]+", lowercase=False) == ["C++", "of", "C"]
    assert words("a=1 b=22", pattern=r"\w=(\d+)") == ["1", "22"]  # the group, as in scikit-learn
    assert words(f"a b{FIELD_SEPARATOR}c", pattern=".+") == ["a_b", FIELD_SEPARATOR, "c"]
    assert words("ab", pattern="x*") == []


def test_words_are_what_a_function_returns() -> None:
    assert words(f"New York,,Bonn{FIELD_SEPARATOR}\u00c9", tokenizer=by_commas) == [
        "new_york",
        "bonn",
        FIELD_SEPARATOR,
        "\u00e9",
    ]
    with pytest.raises(ValueError, match=r"TextFeatures\(tokenizer=\): found 1, wanted words as strings"):
        words("a", tokenizer=lambda _: [1])


@pytest.mark.parametrize(
    "options",
    [
        {"pattern": r"[\w#+]+"},
        {"tokenizer": str.split},
        {"strip_accents": True},
        {"strip_accents": True, "pattern": r"\S+"},
    ],
)
@pytest.mark.parametrize(
    "more", [{}, {"characters": (2, 3), "stop_words": ("\u00c9L\u00c8VE", "C++")}, {"buckets": 31}]
)
def test_features_are_those_of_python(options: dict[str, Any], more: dict[str, Any]) -> None:
    chosen = TextFeatures(**options, **more)
    found, expected = compiled.learn(TEXTS, chosen, 1), counting.learn(TEXTS, chosen)
    if found is None:
        pytest.skip("compares the C extension, which was not built")
    np.testing.assert_array_equal(found.codes, expected.codes)
    assert found.names == expected.names
    assert (found.counts != expected.counts).nnz == 0
    vocabulary, X = Vocabulary.learn(TEXTS, chosen)
    for i, text in enumerate(TEXTS):  # one text has a shorter way
        row = vocabulary.row(text)
        assert row is not None
        assert sorted(zip(*(part.tolist() for part in row), strict=True)) == sorted(
            zip(X[[i]].indices.tolist(), X[[i]].data.tolist(), strict=True)
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pattern": "("}, r"TextFeatures\(pattern=\): found '\(', wanted a regular expression"),
        ({"pattern": "(a)(b)"}, "found .2 groups., wanted at most one"),
        ({"pattern": b"a"}, "found b'a', wanted a regular expression"),
        ({"pattern": ""}, "found '', wanted a regular expression"),
        ({"tokenizer": "words"}, r"TextFeatures\(tokenizer=\): found 'words', wanted a function"),
        ({"tokenizer": len, "pattern": "a"}, "found .pattern and tokenizer., wanted one of them"),
        ({"strip_accents": "yes"}, "found 'yes', wanted True or False"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TextFeatures(**options)


def fitted(**options: Any) -> slide.SlideTextClassifier:
    clf = slide.SlideTextClassifier(TextFeatures(**options), hidden=(4,), epochs=2, n_threads=1)
    return clf.fit(["c++ \u00e9l\u00e8ve", "c# bar"] * 4, ["a", "b"] * 4)


def test_a_file_has_patterns_and_accents(tmp_path: Path) -> None:
    clf = fitted(pattern=r"[\w#+]+", strip_accents=True)
    clf.save(tmp_path / "m.slide")
    again = slide.load(tmp_path / "m.slide")
    assert again.features == clf.features
    assert {"c++", "eleve"} <= set(again.vocabulary_.names)
    np.testing.assert_array_equal(
        again.predict_topk(["C++ Eleve"], k=2)[1], clf.predict_topk(["c++ \u00c9L\u00c8VE"], k=2)[1]
    )
    assert not {"pattern", "strip_accents"} & set(fitted().vocabulary_.config())  # as an earlier slide reads it


def test_a_function_is_pickled_and_not_saved(tmp_path: Path) -> None:
    clf = fitted(tokenizer=by_commas)
    again = pickle.loads(pickle.dumps(clf))
    assert again.vocabulary_.names == clf.vocabulary_.names == ["c#_bar", "c++_\u00e9l\u00e8ve"]
    message = "found by_commas, wanted a pattern or None to save a model"
    with pytest.raises(ValueError, match=message):
        clf.save(tmp_path / "m.slide")
    with pytest.raises(ValueError, match=message):
        recipe(clf.vocabulary_)
    seen: list[Any] = []
    with pytest.raises(ValueError, match=message):  # before anything is trained
        clf.fit(["a"], ["b"], checkpoint=slide.Checkpoint(tmp_path / "c"), callback=seen.append)
    assert not seen
    assert not list(tmp_path.iterdir())


def test_the_command_takes_both(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,label\n" + "c++ \u00e9,a\nc# \u00e9,b\n" * 3)
    options = ["--text", "text", "--labels", "label", "--hidden", "4", "--epochs", "1", "--n-threads", "1"]
    options += ["--words", "1", "--strip-accents", "--token-pattern", r"\S+", "--out", str(tmp_path / "m.slide")]
    assert main(["train", str(tmp_path / "t.csv"), *options]) == 0
    assert sorted(slide.load(tmp_path / "m.slide").vocabulary_.names) == ["c#", "c++", "e"]
