"""Features counted in C beside those counted in Python: equal to the bit, for every kind of text and option."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import slide
from slide.engine.binding import c_core
from slide.engine.protocol import Examples
from slide.text import compiled, counting
from slide.text.counting import feature_hash
from slide.text.features import TextFeatures, Vocabulary
from slide.text.words import BEFORE, CURRENT, FIELD_SEPARATOR

pytestmark = pytest.mark.skipif(c_core() is None, reason="compares the C extension, which was not built")

LETTERS = "abAB _1,.-\n\t\0\x1e\x7f" + FIELD_SEPARATOR
WIDE = LETTERS + "\u00e9\u00c9\u0130\u00df\u0301\u093f\u0939\u200c\u4e2d\U0001f600\ud800\u1e9e"
LONG = "x" * 23, "X" * 24, "y" * 25, "z" * 130, "a1" * 127, "b" * 255, "\u00e9" * 12, "\u4e2d" * 50
TEXTS = st.one_of(
    st.text(st.sampled_from(LETTERS), max_size=30),
    st.text(st.sampled_from(WIDE), max_size=20),
    st.text(max_size=10),
    st.lists(st.sampled_from([*LONG, "a", "b", FIELD_SEPARATOR]), max_size=4).map(" ".join),
)
OPTIONS = st.builds(
    TextFeatures,
    words=st.sampled_from([1, 2]),
    characters=st.sampled_from([None, (1, 2), (3, 5), (2, 30)]),
    max_share=st.sampled_from([1.0, 0.4]),
    max_features=st.sampled_from([None, 5]),
    buckets=st.sampled_from([None, None, 1, 13]),
    lowercase=st.booleans(),
    stop_words=st.sampled_from([(), ("a", "B", "\u00c9"), (FIELD_SEPARATOR,)]),
    sublinear=st.booleans(),
)


def equal(found: Any, expected: Any) -> None:
    assert found.shape == expected.shape
    for name in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.dtype == expected.dtype == np.float32


@given(st.lists(TEXTS, max_size=12), st.lists(TEXTS, max_size=12), OPTIONS, st.sampled_from([CURRENT, BEFORE]))
def test_features_are_those_of_python(texts: list[str], others: list[str], options: TextFeatures, cut: str) -> None:
    found, expected = compiled.learn(texts, options, 1), counting.learn(texts, options)
    assert found is not None
    np.testing.assert_array_equal(found.codes, expected.codes)
    assert found.names == expected.names
    equal(found.counts, expected.counts)
    if not (len(found.codes) or options.buckets):
        return
    counter = compiled.counter(options, cut, found.codes)
    assert counter is not None
    both = [*texts, *others]
    counts = compiled.count(counter, both, options.buckets or len(found.codes), 2)
    equal(counts, counting.count(both, options, cut, found.codes))
    for _ in range(2):  # the second time from memory
        for text, row in zip(both, np.split(np.arange(counts.nnz), counts.indptr[1:-1]), strict=False):
            ids, amounts = counter.count_one(text)
            np.testing.assert_array_equal(ids, counts.indices[row])
            np.testing.assert_array_equal(amounts, counts.data[row])


@given(st.text(max_size=300))
def test_hashes_are_those_of_python(text: str) -> None:
    """Whatever the length: blocks of 128 bytes, of which the last is full, or not."""
    word = "".join(text.split()).replace(FIELD_SEPARATOR, "") or "a"
    core = c_core()
    assert core is not None
    counter = core.TextCounter(1, 0, 0, True, np.empty(0, np.uint64), lambda _: word.encode("utf-8", "surrogatepass"))
    assert counter.count(["\u00e9"])[1].tolist() == [feature_hash(word)]


@pytest.mark.parametrize("characters", [None, (2, 2)])
def test_many_texts_by_several_threads(characters: tuple[int, int] | None) -> None:
    """More words than are remembered, more texts than a thread takes at a time, long texts and empty ones."""
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{n}" for n in rng.zipf(1.2, size) % 20_000) for size in rng.integers(0, 30, 200)]
    texts += [" ".join(f"Beginning{n}" for n in rng.permutation(1500)) for _ in range(2)]  # alike to a quick look
    texts += ["a " * 3000, "\u00e9 a" * 400, ""]
    options = TextFeatures(characters=characters)
    expected = counting.learn(texts, options)
    for n_threads in (1, 3):
        found = compiled.learn(texts, options, n_threads)
        assert found is not None
        equal(found.counts, expected.counts)
        assert found.names == expected.names
    counter = compiled.counter(options, CURRENT, expected.codes)
    assert counter is not None
    whole = compiled.count(counter, texts, len(expected.codes), 3)
    equal(whole, counting.count(texts, options, CURRENT, expected.codes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("slide.text.counting.TEXTS_AT_ONCE", 100)
        equal(compiled.count(counter, texts, len(expected.codes), 2), whole)
    with ThreadPoolExecutor(4) as pool:
        for row, (ids, amounts) in enumerate(pool.map(counter.count_one, texts)):
            equal(sp.csr_array((amounts, ids, [0, len(ids)]), shape=(1, whole.shape[1])), whole[row : row + 1])


def test_codes_that_somebody_made_up_are_found() -> None:
    """All under the same first bits, where the table of places says nothing."""
    words = [f"w{i}" for i in range(40)]
    codes = np.sort(np.array([feature_hash(word) for word in words], np.uint64))
    crowded = np.unique(np.concatenate([codes, codes[0] + np.arange(1, 5000, dtype=np.uint64)]))
    counter = compiled.counter(TextFeatures(words=1), CURRENT, crowded)
    assert counter is not None
    np.testing.assert_array_equal(counter.columns(crowded), np.arange(len(crowded)))
    assert counter.columns(np.array([0, 2**64 - 1, codes[1] - 1], np.uint64)).tolist() == [-1, -1, -1]
    equal(
        compiled.count(counter, words, len(crowded), 1),
        counting.count(words, TextFeatures(words=1), CURRENT, crowded),
    )


def test_a_vocabulary_is_the_same_with_and_without_c(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["one two", "two \u00e9", "two three two", ""]
    vocabulary, X = Vocabulary.learn(texts, TextFeatures(characters=(2, 3)))
    rows = vocabulary(texts)
    monkeypatch.setattr("slide.text.compiled.c_core", lambda: None)
    again, X_again = Vocabulary.learn(texts, TextFeatures(characters=(2, 3)))
    equal(X, X_again)
    equal(rows, again(texts))
    assert vocabulary.names == again.names
    np.testing.assert_array_equal(vocabulary.idf, again.idf)


def test_what_counts_is_not_copied_and_not_pickled() -> None:
    vocabulary, X = Vocabulary.learn(["one two", "two"], TextFeatures())
    vocabulary(["one"])
    for again in (pickle.loads(pickle.dumps(vocabulary)), copy.deepcopy(vocabulary), copy.copy(vocabulary)):
        assert "_counter" not in vars(again)
        equal(again(["one two", "two"]), X)


def test_what_cannot_be_cut_raises_its_own_error() -> None:
    class Text(str):
        pass

    vocabulary, X = Vocabulary.learn(["one two", "two"], TextFeatures())
    equal(vocabulary([Text("one two"), np.str_("two")]), X)
    clf = slide.SlideTextClassifier(hidden=(4,), epochs=1, n_threads=1).fit(["one", "two"], ["a", "b"])
    with pytest.raises(ValueError, match="found 1 in row 1, wanted a string"):
        clf.predict_topk(["a", 1])


@pytest.mark.parametrize("features", [TextFeatures(), TextFeatures(characters=(2, 3), sublinear=False)])
def test_a_text_alone_is_read_as_among_others(features: TextFeatures) -> None:
    texts = ["one two", "two \u00e9 two", "", "...", "three one " * 40, FIELD_SEPARATOR, "nothing known"]
    clf = slide.SlideTextClassifier(features, hidden=(4,), epochs=2, n_threads=1, random_state=0)
    clf.fit(texts[:5], ["a", "b", "c", "a", "b"])
    names, scores = clf.predict_topk(texts, 2, names=True)
    for i, text in enumerate(texts):
        row = clf._rows([text])
        for form in (text, [text]):
            found = clf._examples(form)
            np.testing.assert_array_equal(found.indices, row.indices)
            np.testing.assert_array_equal(found.data, row.data)
            alone = clf.predict_topk(form, 2, names=True)
            np.testing.assert_array_equal(alone[0], names[i : i + 1])
            np.testing.assert_allclose(alone[1], scores[i : i + 1], rtol=1e-5)
    assert clf.predict(texts[1]).tolist() == clf.predict(texts)[1:2].tolist()
    for some in (texts, 6 * texts):  # a few, and more
        for found, wanted in zip(clf._examples(some), Examples.of(clf._rows(some)), strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_weights_that_nobody_learned_go_the_long_way() -> None:
    """Of a file that somebody made up: zeros are left out, and what is not finite is refused."""
    clf = slide.SlideTextClassifier(hidden=(4,), epochs=1, n_threads=1).fit(["one two", "two"], ["a", "b"])
    clf.vocabulary_.idf[0] = 0
    assert clf.vocabulary_.row("one two") is None
    assert len(clf._examples("one two").indices) == len(clf.vocabulary_.idf) - 1
    again = copy.deepcopy(clf)
    again.vocabulary_.idf[0] = np.inf
    with pytest.raises(ValueError, match="X: found inf"):
        again.predict("one two")
