"""Skip-grams from text: against a plain double loop, on any text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("benchmarks.harness", reason="the benchmarks lie in the source tree, not in the package")

from benchmarks.harness import text8


@given(st.lists(st.integers(0, 6), max_size=30), st.integers(1, 4))
def test_labels_are_the_words_around(words: list[int], window: int) -> None:
    X, Y = text8.skip_grams(np.array(words, dtype=np.int32), 7, window)
    assert X.shape == Y.shape == (len(words), 7)
    for i, word in enumerate(words):
        around = words[max(0, i - window) : i] + words[i + 1 : i + 1 + window]
        assert X[i].indices.tolist() == [word]
        assert Y[i].indices.tolist() == sorted(set(around) - {word})
    assert set(Y.data.tolist()) <= {1.0}


def test_words_are_numbered_by_frequency_and_the_rest_leaves() -> None:
    ids, kept = text8.encode(text8.words_of(["The cat, the DOG;", "the cat_x dog"]), vocabulary=3)
    assert kept == ["the", "cat", "dog"]
    assert ids.tolist() == [0, 1, 0, 2, 0, 1, 2]


def test_an_id_outside_the_vocabulary_is_named() -> None:
    with pytest.raises(ValueError, match="ids hold 7, wanted less than vocabulary=5"):
        text8.skip_grams(np.array([7], dtype=np.int32), 5)


def test_zipf_words_follow_their_law() -> None:
    ids = text8.zipf_words(200_000, 1000, seed=1)
    counts = np.bincount(ids, minlength=1000)
    assert counts[0] / counts[9] == pytest.approx(10, rel=0.15)
    assert np.array_equal(ids, text8.zipf_words(200_000, 1000, seed=1))


def test_files_from_a_text(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("one two three two one\n" * 20)
    assert text8.main([str(tmp_path / "book.txt"), str(tmp_path / "out"), "--window", "1", "--test", "0.1"]) == 0
    assert (tmp_path / "out" / "train.txt").read_text().splitlines()[0] == "90 3 3"
    assert (tmp_path / "out" / "test.txt").read_text().splitlines()[0] == "10 3 3"
    assert (tmp_path / "out" / "vocabulary.txt").read_text().split() == ["one", "two", "three"]
