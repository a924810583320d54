"""Features of texts: words, pairs, pieces of words, buckets, and their weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from small_texts import BODIES

from slide.text.counting import char_ngrams
from slide.text.features import TextFeatures, Vocabulary
from slide.text.words import FIELD_SEPARATOR


def learned(texts: list[str], **options: Any) -> tuple[list[str], np.ndarray, Vocabulary]:
    """Names of the features sorted, and the matrix in their order."""
    vocabulary, X = Vocabulary.learn(texts, TextFeatures(**options))
    order = np.argsort(vocabulary.names)
    return [vocabulary.names[i] for i in order], X.toarray()[:, order], vocabulary


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"words": 1}, {"ngram_range": (1, 1)}),
        ({"words": 2}, {"ngram_range": (1, 2)}),
        ({"words": 2, "min_rows": 2}, {"ngram_range": (1, 2), "min_df": 2}),
        ({"words": 1, "max_share": 0.5}, {"max_df": 0.5}),
        ({"words": 2, "sublinear": False}, {"ngram_range": (1, 2), "sublinear_tf": False}),
        ({"words": 2, "lowercase": False}, {"ngram_range": (1, 2), "lowercase": False}),
        ({"words": 2, "stop_words": ("a", "that")}, {"ngram_range": (1, 2), "stop_words": ["a", "that"]}),
    ],
)
def test_words_and_pairs_are_weighted_as_scikit_learn_does(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    names, X, vocabulary = learned(BODIES, **ours)
    options = {"sublinear_tf": True, "token_pattern": r"\w+", "norm": None} | theirs
    reference = TfidfVectorizer(**options).fit(BODIES)
    assert names == list(reference.get_feature_names_out())
    np.testing.assert_allclose(X, reference.transform(BODIES).toarray(), rtol=1e-6)
    other = ["a canine barks at a tree", "nothing known", ""]
    order = np.argsort(vocabulary.names)
    np.testing.assert_allclose(vocabulary(other).toarray()[:, order], reference.transform(other).toarray(), rtol=1e-6)


def test_pieces_of_words_are_weighted_as_scikit_learn_does() -> None:
    names, X, _ = learned(BODIES, words=0, characters=(2, 4), min_rows=1)
    texts = [" ".join(BODY.replace(",", "").split()) for BODY in BODIES]
    reference = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, norm=None).fit(texts)
    expected = dict(zip(reference.get_feature_names_out(), reference.transform(texts).toarray().T, strict=True))
    found = {name[1:-1]: column for name, column in zip(names, X.T, strict=True)}
    long_enough = {name for name in expected if name.strip() and len(name) <= 4}
    assert long_enough <= set(found)
    for name in ("cani", "arks", " hu", "ks"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6)
    assert char_ngrams("cat", (3, 4)) == [" ca", "cat", "at ", " cat", "cat "]


@given(st.lists(st.text(st.sampled_from("ab é\n,\x1f1"), max_size=12), min_size=1, max_size=8), st.integers(1, 4))
def test_texts_in_blocks_give_the_same_features(texts: list[str], block: int) -> None:
    texts = [*texts, "a word"]
    options = TextFeatures(characters=(1, 3))
    whole, X = Vocabulary.learn(texts, options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("slide.text.counting.TEXTS_AT_ONCE", block)
        parts, X_parts = Vocabulary.learn(texts, options)
        again = whole(texts)
    np.testing.assert_array_equal(parts.codes, whole.codes)
    assert parts.names == whole.names
    for other in (X_parts, again):
        np.testing.assert_allclose(other.toarray(), X.toarray(), rtol=1e-6)


def test_a_pair_does_not_cross_from_one_column_into_the_next() -> None:
    names, _, _ = learned([f"one two {FIELD_SEPARATOR} three four"])
    assert names == ["four", "one", "one two", "three", "three four", "two"]


def test_the_commonest_features_stay_where_there_is_a_limit() -> None:
    names, X, _ = learned(BODIES, max_features=4)
    assert len(names) == 4
    assert {"a", "that"} <= set(names)
    assert X.shape == (5, 4)


def test_buckets_hold_every_feature_and_no_names() -> None:
    vocabulary, X = Vocabulary.learn(BODIES, TextFeatures(buckets=1000))
    words, _ = Vocabulary.learn(BODIES, TextFeatures())
    assert X.shape == (5, 1000)
    assert vocabulary.names == []
    expected = sorted({int(code) % 1000 for code in words.codes.tolist()})
    assert sorted(set(X.indices.tolist())) == expected
    np.testing.assert_allclose(vocabulary(BODIES).toarray(), X.toarray())
    _, X = Vocabulary.learn(["a b", "c"], TextFeatures(buckets=1))
    np.testing.assert_allclose(X.toarray(), [[1 + np.log(3)], [1]])  # "a", "b" and "a b" are one feature, three times


def test_hashes_are_the_same_on_every_machine() -> None:
    """Files hold them."""
    vocabulary, _ = Vocabulary.learn(["two words"], TextFeatures())
    assert dict(zip(vocabulary.names, vocabulary.codes.tolist(), strict=True)) == GOLDEN


GOLDEN = {"two": 218224992319827701, "words": 69340570595827017, "two words": 6161402156057552119}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"words": 3}, r"TextFeatures\(words=\): found 3"),
        ({"words": 0}, "found 'no words, no characters'"),
        ({"characters": (5, 3)}, r"characters=\): found \(5, 3\)"),
        ({"min_rows": 0}, r"min_rows=\): found 0"),
        ({"max_share": 0.0}, r"max_share=\): found 0\.0"),
        ({"buckets": 2.5}, r"buckets=\): found 2\.5"),
        ({"stop_words": "the"}, "found 'the', wanted several words"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        TextFeatures(**options)
