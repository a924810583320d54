"""The text format: what is accepted, what is refused and in which words, and that both parsers agree on all of it."""

from __future__ import annotations

import doctest
import gzip
import locale
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import csr, decimals, indicator, xmc_files

import slide
from slide.engine import xmc_fault
from slide.engine.reference import xmc as reference
from slide.errors import DataFormatError
from slide.io import xmc

try:
    from slide.engine._c import parse_xmc as c_parse
except ImportError:
    c_parse = None

needs_extension = pytest.mark.skipif(c_parse is None, reason="the C extension was not built")
PARSERS = [pytest.param(reference.parse_xmc, id="reference"), pytest.param(c_parse, id="c", marks=needs_extension)]


@pytest.fixture(params=PARSERS)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Each parser in turn, also as read_xmc's."""
    monkeypatch.setattr(xmc, "_parser", lambda: request.param)
    return request.param


def write(folder: Path, content: bytes | str, name: str = "train.txt") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def rows_of(matrix: sp.csr_array) -> list[dict[int, float]]:
    return [
        dict(zip(matrix.indices[a:b].tolist(), matrix.data[a:b].tolist(), strict=True))
        for a, b in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True)
    ]


def outcome(parse: Callable[..., Any], buffer: bytes, *args: int) -> Any:
    """What a parser returns, to the bit, or the fault it raises."""
    try:
        parsed = parse(buffer, *args)
    except xmc_fault.Fault as fault:
        ranged = fault.kind in (xmc_fault.Kind.ROWS, xmc_fault.Kind.LABEL_RANGE, xmc_fault.Kind.FEATURE_RANGE)
        return fault.kind, fault.line, fault.column, fault.offset, fault.length, fault.found, ranged and fault.wanted
    return [(array.dtype.str, array.tobytes()) for array in parsed[:5]], parsed[5:]


# -- what is read ------------------------------------------------------------------------------------------------------


def test_rows_of_every_kind(parser: Callable[..., Any], tmp_path: Path) -> None:
    lines = [
        "9 10 6",
        "1,3 0:1 9:2.5",
        " 2:.5",  # no labels, after a space
        "2:1.",  # no labels, at once
        "5",  # labels alone
        "",  # nothing
        "0,2\t1:+1e-1  \t 3:-2E+1 ",  # tabs, several blanks, signs and exponents
        "4,1,4 7:1 2:2 7:0.25",  # unsorted and repeated
        "3 4:0",  # an explicit zero
        "0 1:1",
    ]
    X, Y = slide.read_xmc(write(tmp_path, "\n".join(lines)))
    assert rows_of(X) == [
        {0: 1, 9: 2.5},
        {2: 0.5},
        {2: 1},
        {},
        {},
        {1: float(np.float32(0.1)), 3: -20},
        {2: 2, 7: 1.25},
        {4: 0},
        {1: 1},
    ]
    assert [sorted(row) for row in rows_of(Y)] == [[1, 3], [], [], [5], [], [0, 2], [1, 4], [3], [0]]
    assert X.shape == (9, 10)
    assert Y.shape == (9, 6)
    assert X.dtype == Y.dtype == np.float32
    assert X.indices.dtype == X.indptr.dtype == Y.indices.dtype == np.int32
    assert set(Y.data) == {1.0}
    for matrix in (X, Y):
        matrix.check_format(full_check=True)
        assert list(matrix.indices) == list(sp.csr_array(matrix.tocoo()).indices)


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n \n\t\r\n", "\n  "])
def test_line_endings_and_blank_tails(parser: Callable[..., Any], tmp_path: Path, end: str) -> None:
    newline = "\r\n" if "\r" in end else "\n"
    X, Y = slide.read_xmc(write(tmp_path, newline.join(["2 3 2", "1 0:1", "0 2:2"]) + end))
    assert rows_of(X) == [{0: 1}, {2: 2}]
    assert rows_of(Y) == [{1: 1}, {0: 1}]


def test_blank_lines_that_the_header_counts_are_rows(parser: Callable[..., Any], tmp_path: Path) -> None:
    X, Y = slide.read_xmc(write(tmp_path, "4 2 2\n\n0 1:1\n\n  \n"))
    assert rows_of(X) == [{}, {1: 1}, {}, {}]
    assert rows_of(Y) == [{}, {0: 1}, {}, {}]


@pytest.mark.parametrize("content", ["0 5 3", "0 5 3\n", "0 5 3\n\n"])
def test_no_rows(parser: Callable[..., Any], tmp_path: Path, content: str) -> None:
    X, Y = slide.read_xmc(write(tmp_path, content))
    assert X.shape == (0, 5)
    assert Y.shape == (0, 3)


def test_byte_order_mark(parser: Callable[..., Any], tmp_path: Path) -> None:
    X, _ = slide.read_xmc(write(tmp_path, "\ufeff1 2 1\n0 1:3\n"))
    assert rows_of(X) == [{1: 3}]


def test_gzip_is_told_by_content(parser: Callable[..., Any], tmp_path: Path) -> None:
    content = b"2 3 2\n1 0:1\n0 2:2\n"
    for name in ("a.txt.gz", "named-as-text.txt"):
        X, _ = slide.read_xmc(write(tmp_path, gzip.compress(content[:9]) + gzip.compress(content[9:]), name))
        assert rows_of(X) == [{0: 1}, {2: 2}]
    X, _ = slide.read_xmc(write(tmp_path, content, "named-as-gzip.txt.gz"))
    assert rows_of(X) == [{0: 1}, {2: 2}]


def test_given_numbers_of_columns_replace_the_headers(parser: Callable[..., Any], tmp_path: Path) -> None:
    path = write(tmp_path, "1 3 2\n1 2:1\n")
    X, Y = slide.read_xmc(path, n_features=10, n_labels=20)
    assert X.shape == (1, 10)
    assert Y.shape == (1, 20)
    with pytest.raises(DataFormatError, match=r"line 2, column 3: found feature '2', wanted 0 to 1$"):
        slide.read_xmc(path, n_features=2)
    with pytest.raises(ValueError, match=r"n_labels: found -3, wanted None or a whole number"):
        slide.read_xmc(path, n_labels=-3)


def test_repeated_features_add_up_in_float32_in_the_order_of_the_text(parser: Callable[..., Any]) -> None:
    parsed = parser(b"1 2 1\n 1:1 0:1e8 0:1 0:1 0:-1e8 1:2")
    assert parsed[2].tolist() == [float(np.float32(1e8) + np.float32(1) + np.float32(1) - np.float32(1e8)), 3]
    assert parsed[2][0] == 0  # in any other precision it would be 2


# -- numbers -----------------------------------------------------------------------------------------------------------


def nearest_float32(text: str) -> float:
    """By exact fractions, ties to even; infinity from the middle behind the largest on."""
    exact = abs(Fraction(Decimal(text)))
    if exact == 0:
        return 0.0
    exponent = exact.numerator.bit_length() - exact.denominator.bit_length()
    exponent -= exact < Fraction(2) ** exponent  # now 2^exponent <= exact < 2^(exponent + 1)
    step = Fraction(2) ** (max(exponent, -126) - 23)
    rounded = round(exact / step) * step
    return float("inf") if rounded >= 2**128 else float(rounded)


def check_number(text: str, expected: float) -> None:
    for parse in (reference.parse_xmc, c_parse):
        if parse is None:
            continue
        if np.isinf(expected):
            with pytest.raises(xmc_fault.Fault) as caught:
                parse(b"1 1 1\n 0:" + text.encode())
            assert caught.value.kind == xmc_fault.Kind.NOT_FINITE
        else:
            value = parse(b"1 1 1\n 0:" + text.encode())[2]
            assert abs(value[0]) == expected
            assert np.signbit(value[0]) == text.startswith("-")


@given(decimals())
@example("16777217")  # a tie
@example("16777217.0000000000000000000000000000000000000001")
@example("340282356779733661637539395458142568447.99")  # rounds to the largest
@example("340282356779733661637539395458142568448")  # and this to infinity
@example("7.006492321624085e-46")  # just under half the smallest
@example("7.006492321624086e-46")
@example("0." + "0" * 60 + "1e61")
@example("1" + "0" * 50 + "e-50")
@example("-0.0")
@example("00000.5")
@example("5.")
@example(".5")
def test_numbers_are_rounded_correctly(text: str) -> None:
    check_number(text, nearest_float32(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-99999999999999999999999", 0.0),
        ("-1e-400", 0.0),
        ("0e99999999999999999999999", 0.0),
        ("1e99999999999999999999999", np.inf),
        ("-1e400", np.inf),
        ("0." + "0" * 5000 + "25e5001", 2.5),
        ("25" + "0" * 5000 + "e-5001", 2.5),
        ("16777217." + "0" * 5000, 16777216.0),
        ("16777217." + "0" * 5000 + "1", 16777218.0),
    ],
)
def test_numbers_far_out(text: str, expected: float) -> None:
    check_number(text, expected)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_shortest_text_of_a_float_comes_back(value: float) -> None:
    single = np.float32(value)
    for text in (np.format_float_scientific(single), np.format_float_positional(single), f"{value:.17e}"):
        for parse in (reference.parse_xmc, c_parse):
            if parse is not None:
                assert parse(b"1 1 1\n 0:" + text.encode())[2].tolist() == [value]


@pytest.fixture(scope="module")
def decimal_comma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a locale that writes 1,5: made here, since few machines have one installed."""
    folder = tmp_path_factory.mktemp("locale")
    (folder / "source").write_text('LC_NUMERIC\ndecimal_point ","\nthousands_sep "."\ngrouping 3;3\nEND LC_NUMERIC\n')
    command = ["localedef", "-c", "-i", str(folder / "source"), "-f", "UTF-8", str(folder / "comma.UTF-8")]
    try:
        subprocess.run(command, capture_output=True, check=False)  # it warns of every category that is not there
    except FileNotFoundError:
        pytest.skip("localedef, which makes a locale with a decimal comma, is not installed")
    if not (folder / "comma.UTF-8").exists():
        pytest.skip("localedef has no character maps here to make a locale with a decimal comma from")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCPATH", str(folder))
        yield "comma.UTF-8"


def test_the_locale_changes_nothing(parser: Callable[..., Any], decimal_comma: str) -> None:
    before = locale.setlocale(locale.LC_NUMERIC)
    try:
        locale.setlocale(locale.LC_NUMERIC, decimal_comma)
        assert locale.localeconv()["decimal_point"] == ","
        assert parser(b"1 2 1\n 0:1.5 1:1.00000005960464477539063")[2].tolist() == [1.5, float(np.float32(1.0000001))]
    finally:
        locale.setlocale(locale.LC_NUMERIC, before)


# -- what is refused ---------------------------------------------------------------------------------------------------

MALFORMED = {
    "empty": ("", 1, 1, "the file is empty"),
    "header text": ("a b c\n", 1, 1, "found 'a b c', wanted a header of three whole numbers"),
    "no header": ("0 1:0.5 2:1\n", 1, 1, "found '0 1:0.5 2:1', wanted a header"),
    "header of two": ("1 2\n0 1:1\n", 1, 1, "found '1 2', wanted a header"),
    "header of four": ("1 2 3 4\n0 1:1\n", 1, 1, "found '1 2 3 4', wanted a header"),
    "header negative": ("1 -2 3\n0 1:1\n", 1, 1, "found '1 -2 3', wanted a header"),
    "header float": ("1 2.0 3\n0 1:1\n", 1, 1, "wanted a header"),
    "blank file": (" \n\n", 1, 1, "found ' ', wanted a header"),
    "header beyond int32": ("1 4294967296 3\n0 1:1\n", 1, 1, "found '1 4294967296 3', wanted at most 2,147,483,647"),
    "too few rows": ("3 2 3\n0 1:1\n1 0:1\n", 1, 1, "found 2 rows, wanted the 3 that the header '3 2 3' promises"),
    "too many rows": ("1 2 3\n0 1:1\n1 0:1\n\n", 1, 1, "found 2 rows, wanted the 1 that"),
    "huge header": ("9" * 30 + " 2147483647 2147483647\n0 1:1\n", 1, 1, "found 1 rows, wanted the 1,000,000,000,000"),
    "label text": ("2 2 3\n0 1:1\n1,abc,2 0:1\n", 3, 3, "found 'abc', wanted a label"),
    "label missing": ("1 2 3\n1, 0:1\n", 2, 3, "found '', wanted a label"),
    "label float": ("1 2 3\n1.0 0:1\n", 2, 1, "found '1.0', wanted a label"),
    "label too large": ("1 2 3\n0,3 0:1\n", 2, 3, "found label '3', wanted 0 to 2"),
    "label negative": ("1 2 3\n-1 0:1\n", 2, 1, "found label '-1', wanted 0 to 2"),
    "label beyond int64": ("1 2 3\n" + "9" * 60 + " 0:1\n", 2, 1, "found label '" + "9" * 40 + "'..., wanted 0 to 2"),
    "label where there are none": ("1 2 0\n0 0:1\n", 2, 1, "found label '0', wanted none"),
    "feature text": ("1 2 3\n0 0:1 abc\n", 2, 7, "found 'abc', wanted feature:value"),
    "feature missing": ("1 2 3\n0 :1\n", 2, 3, "found ':1', wanted feature:value"),
    "feature float": ("1 2 3\n0 1.0:1\n", 2, 3, "found '1.0:1', wanted feature:value"),
    "labels after a blank": ("1 2 3\n 0 1:1\n", 2, 2, "found '0', wanted feature:value"),
    "feature too large": ("1 2 3\n0 0:1 2:1\n", 2, 7, "found feature '2', wanted 0 to 1"),
    "feature negative": ("1 2 3\n0 -1:1\n", 2, 3, "found feature '-1', wanted 0 to 1"),
    "feature beyond int32": ("1 2 3\n0 2147483648:1\n", 2, 3, "found feature '2147483648', wanted 0 to 1"),
    "value text": ("2 2 3\n0 0:1\n0 1:abc\n", 3, 5, "found 'abc', wanted a feature value"),
    "value missing": ("1 2 3\n0 1: 0:1\n", 2, 5, "found '', wanted a feature value"),
    "value of a point": ("1 2 3\n0 1:.\n", 2, 5, "found '.', wanted a feature value"),
    "value hexadecimal": ("1 2 3\n0 1:0x1p3\n", 2, 5, "found '0x1p3', wanted a feature value"),
    "value with underscore": ("1 2 3\n0 1:1_0\n", 2, 5, "found '1_0', wanted a feature value"),
    "value without exponent": ("1 2 3\n0 1:1e\n", 2, 5, "found '1e', wanted a feature value"),
    "value twice": ("1 2 3\n0 1:1:2\n", 2, 5, "found '1:2', wanted a feature value"),
    "decimal comma": ("1 2 3\n0 1:1,5\n", 2, 5, "found '1,5', wanted a feature value"),
    "binary": ("1 2 3\n0 1:\x00\x01\n", 2, 5, r"found '\x00\x01', wanted a feature value"),
    "NaN": ("1 2 3\n0 1:NaN\n", 2, 5, "found 'NaN', wanted a finite float32 value"),
    "infinity": ("1 2 3\n0 1:-inf\n", 2, 5, "found '-inf', wanted a finite float32 value"),
    "beyond float32": ("1 2 3\n0 1:3.5e38\n", 2, 5, "found '3.5e38', wanted a finite float32 value"),
    "sum beyond float32": ("1 2 3\n0 1:3e38 1:3e38\n", 2, 1, "found feature 1 several times with a sum beyond float32"),
    "first of two": ("3 2 3\n0 1:1\n0 1:x\n0 1:y\n", 3, 5, "found 'x'"),
    "after CRLF": ("2 2 3\r\n0 1:1\r\n0 1:x\r\n", 3, 5, "found 'x'"),
}


@pytest.mark.parametrize("case", MALFORMED)
@pytest.mark.parametrize("suffix", [".txt", ".txt.gz"])
def test_malformed_files(parser: Callable[..., Any], tmp_path: Path, case: str, suffix: str) -> None:
    content, line, column, words = MALFORMED[case]
    raw = content.encode()
    path = write(tmp_path, gzip.compress(raw) if suffix.endswith("gz") else raw, "train" + suffix)
    with pytest.raises(DataFormatError) as caught:
        slide.read_xmc(path)
    assert str(caught.value).startswith(f"{path}, line {line}, column {column}: ")
    assert words in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such data file.*nowhere\.txt"):
        slide.read_xmc(tmp_path / "nowhere.txt")


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b[:30] + b"\xff\x00\xff" + b[33:]])
def test_damaged_gzip(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    whole = gzip.compress(b"2 3 2\n1 0:1.234\n0 2:2.345 1:3.456\n", mtime=0)
    with pytest.raises(DataFormatError, match=r"train\.txt\.gz: truncated or altered gzip file"):
        slide.read_xmc(write(tmp_path, damage(whole), "train.txt.gz"))


def test_hostile_numbers_cost_no_memory(parser: Callable[..., Any], tmp_path: Path) -> None:
    """Refused, or read, within an address space that what the header claims would not fit into."""
    write(tmp_path, "4000000000000 2147483647 2147483647\n0 1:1\n", "rows.txt")
    write(tmp_path, "1 2147483647 2147483647\n2147483646 2147483646:1\n", "columns.txt")
    code = (
        "import resource, numpy, scipy.sparse, slide, slide.io.xmc, slide.engine.reference.xmc as reference\n"
        "try: from slide.engine._c import parse_xmc as c\n"
        "except ImportError: c = None\n"
        f"slide.io.xmc._parser = lambda: {'reference.parse_xmc' if parser is reference.parse_xmc else 'c'}\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, used + 2**30))\n"
        "X, Y = slide.read_xmc('columns.txt', n_threads=1)\n"
        "assert X.shape == Y.shape == (1, 2**31 - 1) and X.indices[0] == Y.indices[0] == 2**31 - 2\n"
        "try: slide.read_xmc('rows.txt', n_threads=1)\n"
        "except slide.DataFormatError as error: print(error)\n"
    )
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc to know the address space in use")
    path = os.pathsep.join([str(Path(slide.__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "rows.txt, line 1, column 1: found 1 rows, wanted the 1,000,000,000,000" in done.stdout


# -- both parsers ------------------------------------------------------------------------------------------------------


@needs_extension
@given(xmc_files(), st.integers(1, 3), st.sampled_from([1, 2, 5, 1000]))
def test_parsers_agree(content: bytes, n_threads: int, chunk_bytes: int) -> None:
    """On results to the bit and on the first fault, however the text is cut among threads."""
    assert outcome(c_parse, content, n_threads, -1, -1, chunk_bytes) == outcome(reference.parse_xmc, content)


@needs_extension
def test_parsers_agree_on_a_file_of_many_chunks() -> None:
    rng = np.random.default_rng(5)
    lines = ["3000 1000 500"]
    for i in range(3000):
        labels = ",".join(map(str, rng.integers(500, size=rng.integers(0, 5))))
        pairs = zip(rng.integers(1000, size=i % 40), rng.normal(size=i % 40), strict=True)
        features = " ".join(f"{feature}:{value:.4f}" for feature, value in pairs)
        lines.append(f"{labels} {features}")
    content = "\n".join(lines).encode()
    expected = outcome(reference.parse_xmc, content)
    for n_threads in (1, 2, 7):
        assert outcome(c_parse, content, n_threads, -1, -1, 1000) == expected
    broken = content.replace(b"\n", b"\n ", 1500).replace(b"0.5", b"0.5x")
    fault = outcome(reference.parse_xmc, broken)
    assert isinstance(fault, tuple)
    assert fault[1] > 1
    assert outcome(c_parse, broken, 7, -1, -1, 1000) == fault


# -- writing -----------------------------------------------------------------------------------------------------------


@given(st.data())
def test_write_and_read_back(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    n = data.draw(st.integers(0, 6))
    X, Y = data.draw(csr(rows=st.just(n))), data.draw(indicator(st.just(n), st.integers(1, 9)))
    path = tmp_path_factory.mktemp("round") / data.draw(st.sampled_from(["a.txt", "a.txt.gz"]))
    slide.write_xmc(path, X, Y)
    for before, after in zip((X, Y), slide.read_xmc(path, n_threads=1), strict=True):
        assert after.shape == before.shape
        assert after.indptr.tolist() == before.indptr.tolist()
        assert after.indices.tolist() == before.indices.tolist()
        assert after.data.tobytes() == before.data.tobytes()
    assert os.listdir(path.parent) == [path.name]


def test_what_is_written(tmp_path: Path) -> None:
    X = sp.csr_array(np.array([[0, 0.1, 2], [0, 0, 0], [1e-20, 0, 0], [0, 0, 0]], np.float32))
    Y = sp.csr_array(np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [0, 0, 0]]))
    path = tmp_path / "a.txt"
    slide.write_xmc(path, X, Y)
    assert path.read_text() == "4 3 3\n0,2 1:0.1 2:2.0\n1\n 0:1e-20\n\n"
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_an_error_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "old")
    one = sp.csr_array([[1.0]])
    with pytest.raises(ValueError, match=r"found 1 and 2 rows"):
        slide.write_xmc(path, one, sp.csr_array([[1.0], [1.0]]))
    with pytest.raises(ValueError, match=r"found nan in column 0 in row 0"):
        slide.write_xmc(path, one * np.nan, one)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        slide.write_xmc(path, one, one)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["train.txt"]


def test_examples_in_the_documentation() -> None:
    for module in (xmc,):
        tried = doctest.testmod(module)
        assert tried.attempted > 0
        assert tried.failed == 0
