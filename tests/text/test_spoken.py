"""What words of a text added to a score: with pieces, pairs, buckets and stop words, as much as its features did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import slide
from slide.cli.main import main

TEXTS = [
    "a small feline purrs",
    "a dog barks",
    "the feline sleeps",
    "barking dogs run",
    "a tree grows",
    "trees grow",
] * 4
TAGS = ["cat", "dog", "cat", "dog", "plant", "plant"] * 4
FEATURES: dict[str, Any] = {
    "words": {"words": 1},
    "pairs": {},
    "pieces": {"words": 0, "characters": (2, 4)},
    "both": {"characters": (3, 5)},
    "buckets": {"buckets": 5000, "characters": (3, 3)},
    "one bucket for many": {"buckets": 16},
    "stop words": {"stop_words": ("A", "the")},
}
TEXT = "A small dog barks at trees, and barks"


def fitted(**features: Any) -> slide.SlideTextClassifier:
    options = {"hidden": (8,), "epochs": 10, "n_threads": 1}
    return slide.SlideTextClassifier(slide.TextFeatures(**features), **options).fit(TEXTS, TAGS)


@pytest.mark.parametrize("features", FEATURES.values(), ids=FEATURES)
def test_words_add_up_to_what_features_added(features: Any) -> None:
    clf = fitted(**features)
    why = clf.explain(TEXT, "dog")
    assert why.parts is not None
    assert sum(part.contribution for part in why.parts) == pytest.approx(why.contributions.sum(), abs=1e-5)
    assert sum(part.contribution for part in why.parts) + why.rest == pytest.approx(why.score, abs=1e-5)
    values = [part.contribution for part in why.parts]
    assert values == sorted(values, reverse=True)
    names = [part.name for part in why.parts]
    assert len(set(names)) == len(names)
    words = {"a", "small", "dog", "barks", "at", "trees", "and"} - ({"a"} if "stop_words" in features else set())
    assert {name for name in names if " " not in name} <= words
    assert {"dog", "barks"} <= set(names)
    assert "feature" not in "".join(names)


def test_pieces_belong_to_their_words() -> None:
    why = fitted(words=0, characters=(3, 3)).explain("dog dogs", "dog")
    parts = {part.name: dict(part.pieces) for part in why.parts or ()}
    assert set(parts) == {"dog", "dogs"}
    assert {"do…", "…dog…"} <= set(parts["dog"]) & set(parts["dogs"])  # both have these, and share them
    assert "…ogs…" in parts["dogs"]
    assert "…ogs…" not in parts["dog"]
    assert parts["dog"]["…dog…"] == pytest.approx(parts["dogs"]["…dog…"])
    assert str(why).splitlines()[1].split("  ")[-1].startswith("(")


def test_buckets_are_called_by_the_words_of_the_text() -> None:
    clf = fitted(buckets=5000, words=1)
    why = clf.explain(["a dog barks"], "dog")
    assert why.names is not None
    assert {why.names[int(i)] for i in why.features} == {"a", "dog", "barks"}
    assert clf.explain("", "dog").parts == []


def test_the_verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    clf = fitted(characters=(3, 4))
    clf.table_ = {"text": ["text"], "labels": "tag", "separator": None}
    clf.save("text.slide")
    Path("new.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS[:3]))

    def told(*args: str) -> str:
        assert main(["explain", *args]) == 0
        return capsys.readouterr().out

    assert told("text.slide", "a dog barks") == f"{clf.explain('a dog barks', 'dog')}\n"
    assert told("text.slide", "new.jsonl", "--row", "2") == f"{clf.explain(TEXTS[2], 'cat')}\n"
    both = told("text.slide", "a dog", "--label", "plant", "--label", "cat")
    assert both == f"{clf.explain('a dog', 'plant')}\n\n{clf.explain('a dog', 'cat')}\n"
    assert told("text.slide", "a dog", "-k", "3").count("label ") == 3
    X, Y = slide.datasets.synthetic(60, 20, 6, nnz=6, labels_per_row=1)
    model = slide.SlideClassifier(hidden=(4,), epochs=1, n_threads=1).fit(X, Y)
    model.save("matrix.slide")
    slide.write_xmc("new.txt", X, Y)
    assert told("matrix.slide", "new.txt", "--row", "7", "--label", "3") == f"{model.explain(X[[7]], 3)}\n"
    assert told("matrix.slide", "new.txt") == f"{model.explain(X[[0]], model.predict_topk(X[:1], 1)[0][0, 0])}\n"
    for args, wrong in [
        (("new.txt", "--row", "60"), "--row: found 60, wanted 0 to 59: new.txt has 60 rows"),
        (("new.txt", "--row", "-1"), "--row: found -1"),
        (("new.txt", "--label", "x"), "--label: found labels that are text, 'x', wanted numbers"),
        (("a dog",), "a dog: no such file"),
    ]:
        assert main(["explain", "matrix.slide", *args]) == 2
        assert wrong in capsys.readouterr().err
