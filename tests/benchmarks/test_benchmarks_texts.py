"""The benchmark of texts: what it measures is what it says, and what it writes can be read again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import slide
from benchmarks.harness import environment
from benchmarks.micro import texts


def test_texts_are_timed_every_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    glosses = [f"the {word} thing {i % 7}" for i in range(40) for word in ("red", "green")]
    names = [[gloss.split()[1]] for gloss in glosses]
    monkeypatch.setattr(slide.datasets, "load_text", lambda _name: (glosses, names, [], []))
    monkeypatch.setattr(texts, "ONES", 5)
    out = tmp_path / "texts.json"
    assert texts.main(["--epochs", "1", "--rounds", "1", "--threads", "1", "--out", str(out)]) == 0
    result = environment.load(out)
    printed = capsys.readouterr().out
    assert result["texts"] == 8
    assert result["recall"] == 1  # there are only two labels
    assert all(row["median_ms"] > 0 and row["name"] in printed for row in result["one"])
    assert all(row["texts_per_processor_second"] > 0 and row["name"] in printed for row in result["batches"])


def test_what_is_compared_gives_the_same_answer() -> None:
    clf = slide.SlideTextClassifier(hidden=(4,), epochs=1, n_threads=1).fit(["a red cat", "a green dog"], ["x", "y"])
    for ask in list(texts.ways(clf).values())[:4]:
        found = ask("a red dog")
        expected = clf.predict_topk("a red dog", 5, names=True)
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-5)
