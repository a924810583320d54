"""What a command does where standard streams are closed or full, and files that are named twice or taken for others."""

from __future__ import annotations

import errno
import gzip
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import slide
from slide.cli.main import main
from slide.cli.parser import sentence

X, Y = slide.datasets.synthetic(40, 20, 3, nnz=4, labels_per_row=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With data, a model of them, and files of other kinds."""
    here = tmp_path_factory.mktemp("streams")
    slide.write_xmc(here / "data.txt", X, Y)
    slide.SlideClassifier(hidden=4, epochs=1, n_threads=1).fit(X, Y).save(here / "model.slide")
    np.save(here / "array.npy", X.toarray())
    (here / "page.txt").write_text("<!DOCTYPE html>\n<html>404</html>")
    (here / "packed.txt.gz").write_bytes(gzip.compress(gzip.compress((here / "data.txt").read_bytes())))
    return here


@pytest.fixture(autouse=True)
def there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def closed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """As Python finds them where a shell says ``>&-``."""
    for name in names:
        monkeypatch.setattr(sys, name, None)
        monkeypatch.setattr(sys, f"__{name}__", None)


def test_data_from_a_closed_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    closed(monkeypatch, "stdin")
    assert main(["predict", "model.slide", "-"]) == 2
    assert "standard input: is closed, wanted data" in capsys.readouterr().err


def test_a_result_to_a_closed_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    closed(monkeypatch, "stdout")
    for more in ([], ["--out-format", "csv"], ["--out", "-"]):
        assert main(["predict", "model.slide", "data.txt", *more]) == 2
        assert "standard output: is closed, wanted it open" in capsys.readouterr().err


def test_what_is_only_said_goes_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    closed(monkeypatch, "stdout", "stderr")
    assert main(["train", "data.txt", "--hidden", "4", "--epochs", "1", "--threads", "1", "--out", "again.slide"]) == 0
    assert slide.load("again.slide").n_labels_ == 3
    assert sys.stdout is None


def test_a_full_disk_is_named() -> None:
    assert sentence(OSError(errno.ENOSPC, "No space left on device")) == "standard output: No space left on device"
    assert sentence(OSError(errno.ENOSPC, "No space left on device", "x")) == "x: No space left on device"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("train data.txt --checkpoint x --out ./x", "--checkpoint: found x, wanted another file than that of --out"),
        ("train data.txt --log x.csv --out x.csv", "--log: found x.csv, wanted another file than that of --out"),
        ("train data.txt --words 1", "--words: found rows of features"),
        ("train data.txt --label-separator ; --rows-at-once 9", "--label-separator: found rows of features"),
        ("predict data.txt model.slide", "data.txt: no slide model: found rows of features"),
        ("predict array.npy data.txt", "array.npy: no slide model: found a NumPy array"),
        ("predict model.slide model.slide", "model.slide: found a model of slide, wanted rows of features"),
        ("predict model.slide array.npy", "array.npy: found a NumPy array (.npy), wanted rows of features"),
        ("eval model.slide page.txt", "page.txt: found a page of HTML or XML, wanted rows of features"),
    ],
)
def test_files_and_options_for_others(words: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    assert told in capsys.readouterr().err


def test_what_is_packed_twice_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    outputs = []
    for name in ("data.txt", "packed.txt.gz"):
        assert main(["predict", "model.slide", name, "-k", "1"]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1] != ""


def test_a_configuration_file_with_a_mark(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run.toml").write_bytes(b"\xef\xbb\xbfdata = 'data.txt'\r\nepochs = 1\r\nhidden = [4]\r\n")
    assert main(["train", "--config", "run.toml", "--print-config"]) == 0
    assert "hidden = [4]" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [None, 5, "a\0b"])
def test_what_is_no_path_is_named(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="path: found"):
        slide.load("model.slide").save(wrong)
    if wrong != "a\0b":
        with pytest.raises(TypeError, match="path: found"):
            slide.load(wrong)


def test_a_model_in_memory_that_is_none() -> None:
    with pytest.raises(slide.ModelFormatError, match="no slide model: found a pickle"):
        slide.load(io.BytesIO(b"\x80\x04\x95abc" + bytes(600)))
