"""Bad input, through Python and through the command line: a sentence that says what was found, and nothing changed."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import slide
from slide.cli import files as cli_files
from slide.cli.main import main
from slide.engine import memory

MODEL = ["--epochs", "1", "--hidden", "8", "--n-threads", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train.txt, wide.txt with more features, tall.txt with more labels, and model.slide."""
    where = tmp_path_factory.mktemp("errors")
    X, Y = slide.datasets.synthetic(100, 50, 20, nnz=5, labels_per_row=2)
    slide.write_xmc(where / "train.txt", X, Y)
    slide.write_xmc(where / "wide.txt", sp.hstack([X, X], "csr"), Y)
    slide.write_xmc(where / "tall.txt", X, sp.hstack([Y, Y], "csr"))
    slide.SlideClassifier(hidden=(8,), epochs=1, n_threads=1).fit(X, Y).save(where / "model.slide")
    return where


def refused(command: list[str | Path], capsys: pytest.CaptureFixture[str], code: int = 2) -> str:
    """The one line that a command leaves on standard error when it fails."""
    assert main(list(map(str, command))) == code
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if not line.startswith(("epoch", "training on"))]
    assert len(lines) == 1, err
    assert lines[0].startswith("slide: error: ")
    assert "@1" not in out
    return lines[0].removeprefix("slide: error: ")


# -- data through the command line -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty"),
        ("no numbers here\n0 0:1\n", "line 1"),
        ("2 3 2\n0 0:1\n", "line 1"),
        ("1 3 2\n0 0:1\n1 1:1\n", "line 1"),
        ("1 3 2\n0 3:1\n", "line 2, column 3"),
        ("2 3 2\n0 1:1\n2 0:1\n", "line 3, column 1"),
        ("1 3 2\n-1 0:1\n", "line 2, column 1"),
        ("1 3 2\n0 0:nan\n", "line 2, column 5"),
        ("1 3 2\n0 0:inf\n", "line 2, column 5"),
        ("1 3 2\n0 0:1 1:x\n", "line 2, column 9"),
        ("1 3 2\n0 zero:1\n", "line 2, column 3"),
        ("1 3 2\none 0:1\n", "line 2, column 1"),
    ],
)
@pytest.mark.parametrize("compress", [False, True])
def test_malformed_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, told: str, compress: bool
) -> None:
    path = tmp_path / ("data.txt.gz" if compress else "data.txt")
    path.write_bytes(gzip.compress(text.encode()) if compress else text.encode())
    out = tmp_path / "model.slide"
    said = refused(["train", path, "--out", out, *MODEL], capsys)
    assert said.startswith(str(path))
    assert told in said
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("rows", ["0 3 2\n", "1 3 0\n 0:1\n", "1 3 2\n 0:1\n", "1 0 2\n0\n"])
def test_nothing_to_learn_from(tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: str) -> None:
    path = tmp_path / "data.txt"
    path.write_text(rows)
    said = refused(["train", path, "--out", tmp_path / "model.slide", *MODEL], capsys)
    assert "wanted at least one" in said
    assert os.listdir(tmp_path) == ["data.txt"]


def test_a_truncated_gzip_file(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cut.txt.gz"
    path.write_bytes(gzip.compress((folder / "train.txt").read_bytes())[:-20])
    assert "gzip" in refused(["info", path], capsys)


def test_a_name_that_is_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = refused(["train", "wordnet", *MODEL], capsys)
    assert said.startswith("wordnet: no such file")
    assert "wordnet-hypernym" in said
    missing = tmp_path / "missing.txt"
    assert refused(["train", missing, *MODEL], capsys).startswith(f"{missing}: no such data file")


def test_a_folder_is_no_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(["info", tmp_path], capsys).startswith(str(tmp_path))


@pytest.mark.parametrize(("name", "told"), [("wide.txt", "100 features"), ("tall.txt", "40 labels")])
def test_data_of_other_sizes(folder: Path, capsys: pytest.CaptureFixture[str], name: str, told: str) -> None:
    train, other, model = folder / "train.txt", folder / name, folder / "model.slide"
    for command in (
        ["train", train, "--test", other, *MODEL],
        ["eval", model, other],
        ["eval", model, train, "--train", other],
    ):
        said = refused(command, capsys)
        assert told in said
        assert "wanted the " in said
    if "features" in told:
        assert told in refused(["predict", model, other], capsys)


# -- options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--epochs", "0"], "epochs"),
        (["--epochs", "many"], "--epochs"),
        (["--hidden", "0"], "found 0"),
        (["--hidden", "12;8"], "--hidden"),
        (["--hidden", "2000000000"], "bytes"),
        (["--n-active", "0"], "n_active"),
        (["--n-active", "10", "--n-random", "11"], "n_random"),
        (["--lr", "nan"], "lr"),
        (["--lr", "0"], "lr"),
        (["--dropout", "1"], "dropout"),
        (["--K", "0"], "K="),
        (["--L", "0"], "L="),
        (["--L", "2000"], "L="),
        (["--lsh", "none", "--K", "3"], "--K"),
        (["--lsh", "abacus"], "--lsh"),
        (["--n-threads", "0"], "n_threads"),
        (["--seed", "-1"], "random_state: found -1"),
        (["--backend", "cuda"], "--backend"),
        (["--unheard-of"], "--unheard-of"),
    ],
)
def test_options_that_make_no_sense(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], told: str
) -> None:
    said = refused(["train", folder / "train.txt", "--out", tmp_path / "model.slide", *options], capsys)
    assert told in said
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-k", "0"], "k"),
        (["--n-candidates", "2"], "n_candidates"),
        (["--threads", "0"], "n_threads"),
    ],
)
def test_predict_options_that_make_no_sense(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], told: str
) -> None:
    command = ["predict", folder / "model.slide", folder / "train.txt", "--out", tmp_path / "best.txt", *options]
    assert told in refused(command, capsys)
    assert os.listdir(tmp_path) == []


def test_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert "COMMAND" in refused([], capsys)
    assert "unheard" in refused(["unheard"], capsys)


def test_debug_shows_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(tmp_path / "missing.txt"), "--debug"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.splitlines()[-1].startswith("slide: error: ")


# -- where to write ----------------------------------------------------------------------------------------------------


def never(*_: object, **__: object) -> None:
    raise AssertionError("work was done before a hopeless --out was refused")


def test_hopeless_targets_are_refused_before_any_work(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slide.SlideClassifier, "fit", never)
    monkeypatch.setattr(slide.SlideClassifier, "predict_topk", never)
    train, model = folder / "train.txt", folder / "model.slide"
    missing, file = tmp_path / "no" / "such", tmp_path / "file"
    file.touch()
    for command in (["train", train, *MODEL], ["predict", model, train]):
        assert "there is no folder" in refused([*command, "--out", missing / "out"], capsys)
        assert "there is no folder" in refused([*command, "--out", file / "out"], capsys)
        assert "is a folder" in refused([*command, "--out", tmp_path], capsys)
        assert "would be overwritten" in refused([*command, "--out", train], capsys)
    assert "would be overwritten" in refused(["predict", model, train, "--out", model], capsys)


def test_a_read_only_folder(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_files.os, "access", lambda path, mode: not (Path(path) == tmp_path and mode & os.W_OK))
    said = refused(["train", folder / "train.txt", "--out", tmp_path / "model.slide", *MODEL], capsys)
    assert said == f"{tmp_path / 'model.slide'}: cannot write into the folder {tmp_path}"


@pytest.mark.parametrize("verb", ["train", "predict"])
def test_a_full_disk_keeps_the_old_file(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    out = tmp_path / "out"
    out.write_text("old")
    inputs = {"train": [folder / "train.txt", *MODEL], "predict": [folder / "model.slide", folder / "train.txt"]}[verb]
    monkeypatch.setattr(os, "replace", full)
    said = refused([verb, *inputs, "--out", out], capsys)
    assert said == f"{out}: No space left on device"
    assert out.read_text() == "old"
    assert os.listdir(tmp_path) == ["out"]


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "best.txt"
    with pytest.raises(UnicodeEncodeError), cli_files.whole_file(target) as file:
        file.writelines(["0:1\n", "\udc80"])  # what no file can hold
    assert os.listdir(tmp_path) == []
    with cli_files.whole_file(target) as file:
        file.write("0:1\n")
        assert not target.exists()
    assert target.read_text() == "0:1\n"
    assert os.listdir(tmp_path) == ["best.txt"]


# -- models ------------------------------------------------------------------------------------------------------------


def altered(data: bytes, where: float) -> bytes:
    at = int(where * (len(data) - 1))
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def newer(data: bytes) -> bytes:
    """A model as a later version might write it."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    config = json.loads(header["__metadata__"]["slide"])
    header["__metadata__"]["slide"] = json.dumps(config | {"format_version": 1000})
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda data: b"", "no slide model"),
        (lambda data: data[:5], "no slide model"),
        (lambda data: data[:200], "no slide model"),
        (lambda data: data[:-1], "truncated"),
        (lambda data: data + b"x", "truncated or altered"),
        (lambda data: altered(data, 1.0), "altered"),
        (lambda data: altered(data, 0.6), "altered"),
        (newer, "upgrade"),
        (lambda data: b"2 3 2\n0 0:1\n1 1:1\n", "no slide model"),
    ],
)
def test_spoilt_models(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[bytes], bytes], told: str
) -> None:
    path = tmp_path / "spoilt.slide"
    path.write_bytes(spoil((folder / "model.slide").read_bytes()))
    with pytest.raises(slide.ModelFormatError) as error:
        slide.load(path)
    assert str(error.value).startswith(str(path))
    for command in (["eval", path, folder / "train.txt"], ["predict", path, folder / "train.txt"]):
        said = refused(command, capsys)
        assert said.startswith(str(path))
        assert told in said


def test_a_model_that_is_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = folder / "missing.slide"
    assert refused(["eval", missing, folder / "train.txt"], capsys) == f"{missing}: No such file or directory"
    assert refused(["info", missing], capsys) == f"{missing}: No such file or directory"


# -- Python ------------------------------------------------------------------------------------------------------------


def data() -> tuple[sp.csr_array, sp.csr_array]:
    return slide.datasets.synthetic(60, 30, 12, nnz=4, labels_per_row=2)


def with_value(X: sp.csr_array, value: float) -> sp.csr_array:
    X = X.copy()
    X.data[X.indptr[7]] = value
    return X


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda X, Y: (X[:-1], Y), r"X and Y: found 59 and 60 rows"),
        (lambda X, Y: (X[:0], Y[:0]), r"X: found shape \(0, 30\)"),
        (lambda X, Y: (X[:, :0], Y), r"X: found 0 feature\(s\) \(shape=\(60, 0\)\)"),
        (lambda X, Y: (X, Y[:, :0]), r"Y: found shape \(60, 0\)"),
        (lambda X, Y: (X, Y * 0), r"Y: found shape .* with 0 labels set"),
        (lambda X, Y: (with_value(X, np.nan), Y), r"X: found nan in column \d+ in row 7"),
        (lambda X, Y: (with_value(X, -np.inf), Y), r"X: found -inf in column \d+ in row 7"),
        (lambda X, Y: (X, with_value(Y, np.nan)), r"Y: found nan in row"),
        (lambda X, Y: ("text", Y), r"X: found str"),
        (lambda X, Y: (np.full(X.shape, "a"), Y), r"X: found 'a' in column 0 in row 0, wanted a number"),
        (lambda X, Y: (X.astype(complex), Y), r"X: found dtype complex"),
        (lambda X, Y: (X.toarray()[0], Y), r"X: found ndarray of shape \(30,\)"),
        (lambda X, Y: (X, [1, 2, 3]), r"X and Y: found \d+ and 3 rows, wanted equal numbers"),
    ],
)
def test_fit_refuses(change: Callable[..., tuple[object, object]], told: str) -> None:
    clf = slide.SlideClassifier(hidden=(8,), epochs=1, n_threads=1)
    with pytest.raises(ValueError, match=told):
        clf.fit(*change(*data()))
    assert not hasattr(clf, "network_")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"hidden": (0,)}, r"hidden: found 0"),
        ({"hidden": (8, -1)}, r"hidden: found -1"),
        ({"epochs": 0}, r"epochs: found 0"),
        ({"epochs": 1.5}, r"epochs: found 1\.5"),
        ({"n_active": 0}, r"n_active: found 0"),
        ({"n_active": 5, "n_random": 6}, r"n_random: found 6"),
        ({"lr": -1.0}, r"Adagrad\(lr=\): found -1\.0"),
        ({"dropout": 1.0}, r"SparseInput\(dropout=\): found 1\.0"),
        ({"loss": "hinge"}, r"loss: found 'hinge'"),
        ({"activation": "gelu"}, r"activation=\): found 'gelu'"),
        ({"lsh": "simhash"}, r"lsh: found 'simhash'"),
        ({"wide": 3}, r"wide: found 3"),
        ({"n_threads": 0}, r"n_threads: found 0"),
        ({"random_state": -1}, r"random_state: found -1"),
        ({"backend": "cuda"}, r"backend: found 'cuda'"),
    ],
)
def test_a_refused_fit_leaves_an_earlier_one(options: dict[str, object], told: str) -> None:
    X, Y = data()
    clf = slide.SlideClassifier(hidden=(8,), epochs=1, n_threads=1).fit(X, Y)
    before = clf.predict_topk(X, k=3)
    clf.set_params(**options)
    with pytest.raises(ValueError, match=told):
        clf.fit(X, Y)
    for a, b in zip(clf.predict_topk(X, k=3), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_model_that_would_not_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 1_000_000)
    with pytest.raises(MemoryError, match=r"layer of 30 x 100,000 need [\d,]+ bytes, available are 1,000,000"):
        slide.SlideClassifier(hidden=(100_000,), n_threads=1).fit(*data())


def test_tables_that_would_not_fit_in_memory() -> None:
    with pytest.raises(MemoryError, match=r"the tables of 2,000,000 neurons under SimHash.* need [\d,]+ bytes"):
        slide.Network(
            [slide.SparseInput(5, 2), slide.Sampled(2_000_000, lsh=slide.SimHash(K=22, L=1000, capacity=100_000))]
        )


def test_predictions_that_make_no_sense() -> None:
    X, Y = data()
    clf = slide.SlideClassifier(hidden=(8,), epochs=1, n_threads=1)
    with pytest.raises(slide.NotFittedError, match="call fit"):
        clf.predict_topk(X)
    clf.fit(X, Y)
    for bad, told in (
        (X[:, :-1], "X has 29 features, but SlideClassifier is expecting 30 features"),
        (with_value(X, np.inf), r"found inf in column \d+ in row 7"),
    ):
        with pytest.raises(ValueError, match=told):
            clf.predict_topk(bad)
    for k in (0, 2.0, None, True):
        with pytest.raises(ValueError, match=rf"k: found {k}, wanted an int, 1 to 12"):
            clf.predict_topk(X, k=k)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="n_candidates: found 2"):
        clf.predict_topk(X, k=3, n_candidates=2)


def test_partial_fit_keeps_its_sizes() -> None:
    X, Y = data()
    clf = slide.SlideClassifier(hidden=(8,), n_threads=1).partial_fit(X, Y)
    step = clf.network_.step
    with pytest.raises(ValueError, match="found 11 labels, wanted 12"):
        clf.partial_fit(X, Y[:, :-1])
    with pytest.raises(ValueError, match="X has 29 features, but SlideClassifier is expecting 30 features"):
        clf.partial_fit(X[:, :-1], Y)
    assert clf.network_.step == step


def test_a_learning_rate_that_overflows_is_named() -> None:
    X, Y = data()
    clf = slide.SlideClassifier(hidden=(8,), epochs=20, optimizer=slide.SGD(1e30), wide=False, n_threads=1)
    with pytest.raises(slide.NonFiniteError, match=r"step \d+: the (output|update) of layer \d .*try a smaller one"):
        clf.fit(X, Y)


def test_a_wrong_data_set_name() -> None:
    with pytest.raises(ValueError, match="wordnet-hypernym"):
        slide.datasets.load("wordnet")
