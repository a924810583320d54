"""Labels that were read in the wrong way are said before training: what no cell contains, and what most contain."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import slide
from slide.cli.main import main

TAGS = ["cat", "cat,dog", "dog,cow", "cow", "cat,cow", "dog"]
SMALL = ["--epochs", "1", "--hidden", "8", "--threads", "1"]


def fitted(y: Any) -> list[str]:
    """Messages of the warnings of a fit on these labels."""
    texts = [f"word{i % 3} and word{i % 5}" for i in range(len(y))]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        slide.SlideTextClassifier(hidden=(4,), epochs=1, n_threads=1).fit(texts, y)
    assert all(Path(w.filename) == Path(__file__) for w in caught)
    return [str(w.message) for w in caught]


def split(separator: str) -> list[str]:
    return [tags.replace(",", separator) for tags in TAGS * 5]


@pytest.mark.parametrize(
    ("y", "says"),
    [
        (split(","), "15 of 30 labels have ',' in them, like 'cat,cow'; if it separates labels, split them: 3 labels"),
        (split(";"), "have ';' in them"),
        (split(" | "), "have '|' in them"),
        (split("\t"), r"have '\t' in them"),
        (split(" "), "have ' ' in them"),
        (np.array(split(",")), "have ',' in them"),
        ([[cell] for cell in split(";")], "have ';' in them"),
        ([["cat;dog", "cow;hen"], ["cow;hen"]], "3 of 3 labels have ';' in them"),
        (["red, pale", "blue, dark"] * 3, "6 of 6 labels have ',' in them"),
        (["['cat', 'dog']", "['dog']"], "which look like lists written as text"),
        ([f"a sentence of {i}" for i in range(30)], "found 30 labels in 30 rows, nearly all of them once"),
    ],
)
def test_a_fit_says_what_its_labels_look_like(y: Any, says: str) -> None:
    (message,) = fitted(y)
    assert message.startswith("y: ")
    assert says in message


@pytest.mark.parametrize(
    "y",
    [
        ["cat", "dog", "cow"] * 10,
        ["new york", "old town", "new jersey"] * 10,
        ["Paris, France", "Nice, France", *["Oslo"] * 20],
        [["cat", "dog"], ["dog", "cow, brown"]] * 10,
        [f"sentence {i}" for i in range(10)],
        [1, 2, 3] * 10,
    ],
)
def test_labels_that_may_be_meant_are_left_in_peace(y: Any) -> None:
    assert fitted(y) == []


def test_the_first_of_many_rows_may_all_have_different_labels() -> None:
    X, _ = slide.datasets.synthetic(40, 20, 10, nnz=5)
    names = [f"label {i}" for i in range(40)]
    slide.SlideClassifier(hidden=(4,), n_threads=1).partial_fit(X, names, classes=[*names, "another"])
    with pytest.warns(UserWarning, match="found 40 labels in 40 rows"):
        slide.SlideClassifier(hidden=(4,), epochs=1, n_threads=1).fit(X, names)


# -- tables ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        (split(";"), "15 of 30 contain ';', like 'cat;cow'"),
        (["cat;dog"], "1 of 1 contain ';', like 'cat;dog'"),
        (["cat"] * 30, "so each is taken for one label"),
    ],
)
def test_a_separator_that_no_cell_contains_is_said(cells: list[str], says: str) -> None:
    with pytest.warns(UserWarning, match="column 'tags': no cell contains the separator ','") as caught:
        slide.read_table({"text": cells, "tags": cells}, "text", "tags", label_separator=",")
    assert says in str(caught[0].message)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("cells", [["cat,dog", "cat;dog"], ["cat"], ["", None], []])
def test_a_separator_that_may_be_right_is_not_doubted(cells: list[Any]) -> None:
    slide.read_table({"text": [""] * len(cells), "tags": cells}, "text", "tags", label_separator=",")


def test_a_column_is_not_text_and_labels_at_once() -> None:
    with pytest.raises(ValueError, match="labels: found 'tags', which is a column of text too"):
        slide.read_table({"tags": TAGS}, "tags", "tags")


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("told", "says"), [([], "have ';' in them"), (["--label-separator", ","], "contains the sep")])
def test_the_command_says_it_before_it_trains(
    told: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["text,tags", *(f"word{i % 3} here,{tags}" for i, tags in enumerate(split(";")))]))
    assert main(["train", str(path), "--text", "text", "--labels", "tags", *told, *SMALL]) == 0
    err = capsys.readouterr().err
    assert "slide: warning: " in err
    assert says in err[: err.index("training on 30 rows, 7 features, 6 labels, 1.00 labels a row")]
    assert err.index("training on") < err.index("epoch 1/1")
