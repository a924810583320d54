"""Files of pairs that are not scored: read in any packing, and named by their line where they are none."""

from __future__ import annotations

import doctest
import gzip
from pathlib import Path

import pytest

import slide
from slide.io import filter_labels


@pytest.mark.parametrize("text", ["0 7\n3 12\n", "0\t7\r\n3   12", "\ufeff0 7\n\n3 12\n\n"])
def test_a_line_is_a_pair(tmp_path: Path, text: str) -> None:
    (tmp_path / "pairs.txt").write_bytes(text.encode())
    (tmp_path / "pairs.txt.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("pairs.txt", "pairs.txt.gz"):
        assert slide.read_filter_labels(tmp_path / name).tolist() == [[0, 7], [3, 12]]


def test_a_file_without_pairs(tmp_path: Path) -> None:
    (tmp_path / "none.txt").write_text("")
    assert slide.read_filter_labels(tmp_path / "none.txt").shape == (0, 2)


@pytest.mark.parametrize("line", ["5", "1 2 3", "a b", "-1 2", "1.5 2", "1,2", "1 99999999999999999999"])
def test_what_is_no_pair_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "wrong.txt").write_text(f"0 1\n{line}\n")
    with pytest.raises(slide.DataFormatError, match=r"wrong.txt, line 2: found '.*', wanted a row and a label"):
        slide.read_filter_labels(tmp_path / "wrong.txt")


def test_examples_in_the_documentation() -> None:
    tried = doctest.testmod(filter_labels)
    assert (tried.attempted > 0, tried.failed) == (True, 0)
