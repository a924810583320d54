"""Hypothesis strategies and random matrices that several test files share."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from hypothesis import strategies as st

FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def csr(
    draw: st.DrawFn,
    rows: st.SearchStrategy[int] | None = None,
    columns: st.SearchStrategy[int] | None = None,
    values: st.SearchStrategy[float] = FLOAT32,
) -> sp.csr_array:
    """A small CSR float32 matrix: empty rows, explicit zeros and all."""
    n = draw(st.integers(0, 8) if rows is None else rows)
    d = draw(st.integers(1, 12) if columns is None else columns)
    ids = [sorted(draw(st.sets(st.integers(0, d - 1), max_size=d))) for _ in range(n)]
    nnz = sum(map(len, ids))
    data = np.array(draw(st.lists(values, min_size=nnz, max_size=nnz)), np.float32)
    indices = np.array([i for row in ids for i in row], np.int32)
    indptr = np.cumsum([0, *map(len, ids)]).astype(np.int32)
    return sp.csr_array((data, indices, indptr), shape=(n, d))


def indicator(rows: st.SearchStrategy[int], columns: st.SearchStrategy[int]) -> st.SearchStrategy[sp.csr_array]:
    """A small matrix of zeros and ones."""
    return csr(rows, columns, st.just(1.0))


@st.composite
def truth_and_top(draw: st.DrawFn) -> tuple[sp.csr_array, np.ndarray[Any, Any], int]:
    """True labels, predictions (each label once a row, -1 for none), and a k that both allow."""
    n, L = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    Y = draw(indicator(st.just(n), st.just(L)))
    m = draw(st.integers(1, 7))
    rows = []
    for _ in range(n):
        row = draw(st.permutations(range(L)))[:m]
        row = [label if draw(st.booleans()) else -1 for label in row]
        rows.append([*row, *[-1] * (m - len(row))])
    return Y, np.array(rows, np.int32), draw(st.integers(1, m))


@st.composite
def decimals(draw: st.DrawFn) -> str:
    """Decimal numbers as files have them, many of them on or beside the middle between two float32 values."""
    if draw(st.booleans()):
        whole, fraction = draw(st.text("0123456789", max_size=25)), draw(st.text("0123456789", max_size=25))
        exponent = draw(st.just("") | st.integers(-60, 45).map("e{:+d}".format) | st.integers(0, 40).map("E{}".format))
        sign = draw(st.sampled_from(["", "-", "+"]))
        return f"{sign}{whole or '0'}.{fraction}{exponent}"
    low = np.array(draw(st.integers(0, 0x7F7FFFFF)), np.uint32)
    middle = (float(low.view(np.float32)) + min(float((low + np.uint32(1)).view(np.float32)), 2.0**128)) / 2
    text = f"{middle:.{draw(st.sampled_from([6, 9, 16, 20, 120]))}e}"
    return text if draw(st.booleans()) else text.replace("e", draw(st.sampled_from(["0000000001e", "1e", "00000e"])))


#: Pieces of files in the extreme classification format, right and wrong.
XMC_PIECES = st.sampled_from(
    [
        *(
            "0",
            "1",
            "4",
            "12",
            ":",
            ",",
            " ",
            "\n",
            "\n",
            "\t",
            "\r\n",
            "-",
            "+",
            ".",
            "e",
            "nan",
            "x",
            "\x00",
            "é",
            "9" * 20,
        ),
        *("0:1 ", "3:2 3:1", "1,0", "1,2 ", "4:0.25\n", " 2:1\n", "0 0:1\n", "3e38", "2:3e38 2:3e38"),
    ]
)


@st.composite
def xmc_files(draw: st.DrawFn) -> bytes:
    """Mostly malformed files whose header is near the truth."""
    body = "".join(draw(st.lists(XMC_PIECES, max_size=12)))
    n = max(0, body.count("\n") + draw(st.integers(-1, 1)))
    header = f"{n} {draw(st.sampled_from([0, 3, 5, 20]))} {draw(st.sampled_from([0, 3, 13]))}"
    head = draw(st.sampled_from([header + "\n"] * 12 + [header + "\r\n", header, "\ufeff" + header + "\n", "", "x\n"]))
    return (head + body).encode()


def sparse_rows(n: int, n_features: int, density: float, rng: np.random.Generator) -> sp.csr_array:
    """Random rows in float32, values 0 to 1; in SciPy 1.11, which has no random_array, too."""
    return sp.csr_array(sp.random(n, n_features, density, "csr", np.float32, random_state=rng))
