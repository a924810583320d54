"""A text's features from the recipe alone: the plain Python of docs/export.md, without slide, against slide."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import slide
from slide.cli.main import main
from slide.text.features import Vocabulary
from slide.text.recipe import recipe
from slide.text.words import BEFORE, CURRENT, FIELD_SEPARATOR

PAGE = Path(__file__).resolve().parents[2] / "docs" / "export.md"
TEXTS = [
    f"A Cat, a DOG_2 {FIELD_SEPARATOR} and the cat's straße STRASSE",
    "Ελληνικός ΣΊΣΥΦΟΣ İstanbul I\u0307 e\u0301te\u0301 été co\u00adoperate a\ufe0f",
    "हिन्दी में क्षत्रिय வணக்கம் ภาษาไทย שָׁלוֹם مِيخ\u200cها می\u200c\u200cخ \u200d\u200cx ന\u200d\u200d y",  # noqa: RUF001
    "½ ² ٣ 中文 word \u0301 mark",
    "the the the cat cat",
]
PIECES = [*"aZé_ß1²-'", "Σ", "σ", "İ", "\u0307", "i", "\u0301", "\u00ad", "\ufe0f", "\U000e0101", "\u200c", "\u200d"]  # noqa: RUF001
PIECES += [" ", FIELD_SEPARATOR, "\n", "ि", "क", "中", "the"]
OPTIONS = [
    {},
    {"words": 1, "lowercase": False, "sublinear": False},
    {"words": 0, "characters": (2, 3)},
    {"characters": (1, 4), "buckets": 57, "stop_words": ("The", "ÉTÉ")},
    {"strip_accents": True, "stop_words": ("ÉTÉ",)},
    {"pattern": r"[^\s,]+|, \w", "strip_accents": True},
]


def by_page() -> Any:
    """`features` of the page's implementation."""
    (code,) = re.findall(r"```python\n(import base64\n.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert "slide" not in re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE)
    space: dict[str, Any] = {}
    exec(code, space)
    return space["features"]


FEATURES = by_page()


def vocabulary(options: dict[str, Any], cut: str) -> Vocabulary:
    learned, _ = Vocabulary.learn([*TEXTS, " ".join(PIECES)], slide.TextFeatures(**options))
    return Vocabulary(learned.options, learned.codes, learned.idf, tokenizer=cut)


CASES = {f"{cut} {options}": vocabulary(options, cut) for cut in (CURRENT, BEFORE) for options in OPTIONS}


def assert_same(case: str, texts: list[str]) -> None:
    """Equal columns, and equal values but for float32's rounding."""
    read = json.loads(json.dumps(recipe(CASES[case])))
    rows = CASES[case](texts)
    for i, text in enumerate(texts):
        found = FEATURES(text, read)
        row = rows[[i]]
        order = np.argsort(row.indices)
        assert [column for column, _ in found] == row.indices[order].tolist(), repr(text)
        np.testing.assert_allclose([value for _, value in found], row.data[order], rtol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_the_page_makes_the_same_features(case: str) -> None:
    assert_same(case, TEXTS)
    assert CASES[case](TEXTS).nnz > 20


@given(st.sampled_from(sorted(CASES)), st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_on_any_text(case: str, text: str) -> None:
    assert_same(case, [text])


def test_a_new_option_belongs_into_the_recipe() -> None:
    """Those that only choose the vocabulary are not needed to apply it."""
    learning = {"min_rows", "max_share", "max_features"}
    assert {f.name for f in fields(slide.TextFeatures)} - learning <= set(recipe(CASES[f"{CURRENT} {{}}"]))


def test_an_unknown_tokenizer_is_refused() -> None:
    with pytest.raises(ValueError, match="tokenizer: found 'mine', wanted unicode or letters"):
        recipe(vocabulary({}, "mine"))


def test_the_command_writes_it_and_the_graph_holds_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    clf = slide.SlideTextClassifier(epochs=1, n_threads=1).fit(["a cat", "a dog"] * 4, ["x", "y"] * 4)
    clf.save(tmp_path / "m")
    assert main(["features", f"{tmp_path}/m"]) == 0
    assert json.loads(capsys.readouterr().out) == recipe(clf.vocabulary_)
    assert main(["features", f"{tmp_path}/m", "--out", f"{tmp_path}/features.json"]) == 0
    clf.export_onnx(tmp_path / "m.onnx", k=1)
    held = {p.key: p.value for p in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert json.loads(held["features"]) == json.loads((tmp_path / "features.json").read_text())
    slide.SlideClassifier((4,), epochs=1, n_threads=1).fit([[1.0], [2.0]], [0, 1]).save(tmp_path / "plain")
    assert main(["features", f"{tmp_path}/plain"]) == 2
    assert "takes rows of features, wanted a model of texts" in capsys.readouterr().err
