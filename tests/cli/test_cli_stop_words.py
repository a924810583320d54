"""Words to leave out, from a file: ``slide train --stop-words``."""

from __future__ import annotations

from pathlib import Path

import pytest

import slide
from slide.cli.main import main


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    (tmp_path / "t.csv").write_text("text,label\n" + "the red fox,fox\nthe red hen,hen\n" * 3)
    columns = ["--text", "text", "--labels", "label", "--hidden", "4", "--epochs", "1", "--n-threads", "1"]
    return ["train", str(tmp_path / "t.csv"), *columns, "--out", str(tmp_path / "m.slide")]


def test_words_of_the_file_are_left_out(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "stop.txt").write_text("\ufeffThe\n  and of\n")
    assert main([*command, "--stop-words", str(tmp_path / "stop.txt")]) == 0
    clf = slide.load(tmp_path / "m.slide")
    assert isinstance(clf, slide.SlideTextClassifier)
    assert clf.features.stop_words == ("The", "and", "of")
    assert set(clf.vocabulary_.names) == {"red", "fox", "hen", "red fox", "red hen"}


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), (b" \n", "found no word"), (b"a \xff", "found a byte that is no UTF-8 at 2")],
)
def test_what_holds_no_words_is_refused(
    content: bytes | None, message: str, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "stop.txt").write_bytes(content)
    assert main([*command, "--stop-words", str(tmp_path / "stop.txt")]) == 2
    assert "--stop-words: " in (err := capsys.readouterr().err)
    assert message in err
