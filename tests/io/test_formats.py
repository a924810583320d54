"""Data files in every format: equal after every way there and back, refused in a sentence where they are damaged."""

from __future__ import annotations

import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from engine_strategies import planted_data
from hypothesis import given
from hypothesis import strategies as st

import slide
from slide.cli.main import main
from slide.engine import memory
from slide.io import formats
from slide.io.npz import PARTS

ENDINGS = {"xmc": ".txt", "svmlight": ".svm", "npz": ".npz", "parquet": ".parquet"}


@pytest.fixture(autouse=True)
def _packages(request: pytest.FixtureRequest) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")


@st.composite
def pairs(draw: st.DrawFn) -> tuple[sp.csr_array, sp.csr_array]:
    """Rows and labels with empty ones among them; the last column of each is in use, as SVMlight has no header."""
    n, d, n_labels = draw(st.integers(1, 6)), draw(st.integers(1, 9)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    X = rng.standard_normal((n, d)).astype(np.float32) * (rng.random((n, d)) < 0.4) * 10.0 ** rng.integers(-30, 30)
    Y = (rng.random((n, n_labels)) < 0.4).astype(np.float32)
    X[-1, -1], X[0, 0], Y[-1, -1] = 1.5, 2.5, 1
    return sp.csr_array(X.astype(np.float32)), sp.csr_array(Y)


def assert_equal(found: Any, wanted: Any) -> None:
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape
        assert a.dtype == np.float32
        assert (a != b).nnz == 0


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ENDINGS)
@given(pairs())
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, kind: str, pair: Any) -> None:
    path = tmp_path_factory.mktemp("f") / f"data{ENDINGS[kind]}"
    if kind == "svmlight" and (sum(np.diff(m.indptr) for m in pair) == 0).any():
        with pytest.raises(ValueError, match="has neither labels nor features"):
            formats.write(path, *pair)
        return
    formats.write(path, *pair)
    assert formats.format_of(path) == kind
    assert_equal(formats.read(path), pair)


@pytest.mark.parametrize("kind", ENDINGS)
def test_every_command_reads_every_format(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    X, Y = planted_data(300, 50, 20)
    slide.write_xmc(tmp_path / "a.txt", X, Y)
    path = tmp_path / f"b{ENDINGS[kind]}"
    assert main(["convert", f"{tmp_path}/a.txt", str(path)]) == 0
    assert f"{kind}: {path}" in capsys.readouterr().out
    model = str(tmp_path / "m")
    told = ["--epochs", "1", "--threads", "1", "--n-active", "9"]
    assert main(["train", str(path), "--test", f"{tmp_path}/a.txt", "--out", model, *told]) == 0
    for command in (["eval", model, str(path)], ["predict", model, str(path)], ["info", str(path)]):
        assert main(command) == 0
    assert main(["convert", str(path), f"{tmp_path}/c.txt"]) == 0
    assert (tmp_path / "c.txt").read_bytes() == (tmp_path / "a.txt").read_bytes()


def test_features_count_from_one_or_from_zero(tmp_path: Path) -> None:
    path = tmp_path / "a.svm"
    path.write_text("1,0 1:0.5 3:2 # why\n\n2 2:1\n 3:1\n")
    X, Y = formats.read(path, zero_based=False)
    assert X.toarray().tolist() == [[0.5, 0, 2], [0, 1, 0], [0, 0, 1]]
    assert Y.toarray().tolist() == [[1, 1, 0], [0, 0, 1], [0, 0, 0]]
    for zero_based in (None, True):
        assert formats.read(path, zero_based=zero_based)[0].toarray()[:, 1:].tolist() == X.toarray().tolist()
    with pytest.raises(ValueError, match="in SVMlight files only"):
        formats.read(tmp_path / "a.npz", zero_based=True)


def test_embedded_data_are_converted_by_parts(tmp_path: Path) -> None:
    out = tmp_path / "t.npz"
    assert main(["convert", "wordnet-hypernym", str(out), "--part", "test"]) == 0
    assert_equal(formats.read(out), slide.datasets.load("wordnet-hypernym")[2:])


def test_npz_files_hold_csr_parts_and_nothing_else(tmp_path: Path) -> None:
    formats.write(tmp_path / "a.npz", *planted_data(20, 9, 5))
    with np.load(tmp_path / "a.npz") as found:  # NumPy 1.26 kept options of its own among them
        assert sorted(found) == sorted(f"{name}_{part}" for name in "XY" for part in PARTS)


def npz(path: Path, **change: Any) -> None:
    X, Y = planted_data(20, 9, 5)
    formats.write(path, X, Y)
    with np.load(path) as found:
        arrays = dict(found) | change
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"Y_indptr": None}, "found no array Y_indptr"),
        ({"X_indices": np.full(5, 10**6)}, "not a readable file"),
        ({"X_indptr": np.arange(4)}, "not a readable file"),
        ({"X_indices": np.linspace(0, 1, 5)}, "found float32 and float64|found .* wanted numbers"),
        ({"X_shape": np.array([20, 2**40])}, "columns"),
        ({"X_shape": np.array(20)}, "not a readable file"),
        ({"X_data": np.array(["a"])}, "wanted numbers"),
        ({"X_data": np.array([{}])}, "not a readable file"),
    ],
)
def test_damaged_npz_files_are_refused(change: Any, says: str, tmp_path: Path) -> None:
    npz(tmp_path / "a.npz", **change)
    with pytest.raises(slide.DataFormatError, match=f"a.npz: .*({says})"):
        formats.read(tmp_path / "a.npz")


def test_npz_files_that_would_not_fit_are_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("X_data.npy", bytes(1 << 22))
    monkeypatch.setattr(memory, "available_memory", lambda: 1 << 20)
    with pytest.raises(MemoryError, match=r"unpacked it has 4,194,304 bytes, available are 1,048,576"):
        formats.read(tmp_path / "bomb.npz")


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("0 1:2\n1 x:3\n", 2, ""),
        ("0 1:2\n1 1:2\nz 1:1\n", 3, ""),
        ("0 3:1 2:1\n", 1, ""),
        ("0 -4:1\n", 1, ""),
    ],
)
def test_damaged_svmlight_files_name_the_line(text: str, line: int, says: str, tmp_path: Path) -> None:
    (tmp_path / "a.svm").write_text(text)
    with pytest.raises(slide.DataFormatError, match=f"a.svm:{line}: {says}"):
        formats.read(tmp_path / "a.svm")


def test_svmlight_files_need_rows(tmp_path: Path) -> None:
    (tmp_path / "a.svm").write_text("# nothing\n")
    with pytest.raises(slide.DataFormatError, match=r"a\.svm: found no row"):
        formats.read(tmp_path / "a.svm")


def test_svmlight_test_rows_may_lack_the_last_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.svm").write_text("".join(f"{i % 3} {i % 3}:1 {3 + i % 4}:1\n" for i in range(60)))
    (tmp_path / "test.svm").write_text("0 0:1\n1 1:1\n")
    model, told = str(tmp_path / "m"), ["--epochs", "8", "--threads", "1"]
    assert main(["train", f"{tmp_path}/train.svm", "--test", f"{tmp_path}/test.svm", "--out", model, *told]) == 0
    assert "P       100.00" in capsys.readouterr().out
    assert main(["eval", model, f"{tmp_path}/test.svm"]) == 0
    (tmp_path / "wide.svm").write_text("0 9:1\n")
    assert main(["eval", model, f"{tmp_path}/wide.svm"]) == 2
    assert "found 10 features, wanted the 7" in capsys.readouterr().err


@pytest.mark.parametrize("width", ["x", str(10**30), "-3"])
def test_parquet_widths_that_make_no_sense_name_the_file(width: str, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(table().replace_schema_metadata({"n_features": width}), tmp_path / "a.parquet")
    with pytest.raises(slide.DataFormatError, match=r"a\.parquet: "):
        formats.read(tmp_path / "a.parquet")


def test_svmlight_labels_are_whole_numbers(tmp_path: Path) -> None:
    for label in ("0.5", "-1"):
        (tmp_path / "a.svm").write_text(f"0,1 1:2\n\n# a comment\n{label} 1:2\n")
        with pytest.raises(slide.DataFormatError, match=rf"a.svm:4: found the label {label}, wanted whole numbers"):
            formats.read(tmp_path / "a.svm")


def table(**change: Any) -> Any:
    import pyarrow as pa

    columns = {"indices": [[0, 2], [1]], "values": [[1.0, 2.0], [3.0]], "labels": [[0], []]} | change
    return pa.table({k: v for k, v in columns.items() if v is not None})


def test_parquet_of_other_hands_is_read(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(table(), tmp_path / "a.parquet")
    X, Y = formats.read(tmp_path / "a.parquet")
    assert X.toarray().tolist() == [[1, 0, 2], [0, 3, 0]]
    assert Y.toarray().tolist() == [[1], [0]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"indices": [[0.0, 1.7], [1.0]]}, "indices: found list<.*double>, wanted lists of whole numbers"),
        ({"labels": None}, r"found the columns \['indices', 'values'\], wanted indices, values and labels"),
        ({"values": [[1.0], [3.0]]}, "row 0: found numbers of indices and values that differ"),
        ({"indices": [[0, -2], [1]]}, "found the id -2, wanted 0 to"),
        ({"labels": ["a", "b"]}, "found string or missing values, wanted lists of numbers"),
        ({"labels": [[0], None]}, "missing values"),
        ({"values": [[1.0, None], [3.0]]}, "missing values"),
        ({"values": [[1.0, float("nan")], [3.0]]}, "NaN|nan"),
    ],
)
def test_damaged_parquet_is_refused(change: Any, says: str, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(table(**change), tmp_path / "a.parquet")
    with pytest.raises(slide.DataFormatError, match=f"a.parquet: .*({says})"):
        formats.read(tmp_path / "a.parquet")


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["npz", "parquet"])
@given(data=st.data())
def test_cut_or_altered_bytes_are_an_error_or_a_matrix(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("f") / f"a.{kind}"
    formats.write(path, *planted_data(20, 9, 5))
    raw = bytearray(path.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=3)):
        raw[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(raw[: data.draw(st.integers(0, len(raw)))]))
    with suppress(slide.DataFormatError, MemoryError):
        X, Y = formats.read(path)
        assert X.shape[0] == Y.shape[0]


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["convert", "nothing.txt", "b.npz"], "nothing.txt"),
        (["convert", "a.txt", "no/b.npz"], "no/b.npz: there is no folder "),
        (["convert", "a.txt", "a.txt"], "is read by this command"),
        (["convert", "a.txt", "b.npz", "--part", "test"], "--part: a.txt is a file"),
        (["convert", "a.txt", "b.npz", "--one-based"], "in SVMlight files only"),
        (["convert", "a.txt", "b.npz", "--from", "npz"], "a.txt: not a readable file of its kind"),
    ],
)
def test_convert_refuses_in_one_sentence(
    command: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    slide.write_xmc("a.txt", *planted_data(20, 9, 5))
    assert main(command) == 2
    assert says in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("package", "ending", "extra"), [("sklearn", "svm", "svmlight"), ("pyarrow", "parquet", "text")]
)
def test_it_says_what_to_install(
    package: str, ending: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    path = tmp_path / f"a.{ending}"
    formats.write(path, *planted_data(20, 9, 5))
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"pip install 'slide-xmc\[{extra}\]'"):
        formats.read(path)
