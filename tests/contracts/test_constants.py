"""What C says in its headers and Python says again: every number that both sides must agree on, compared.

The headers are read as text, found wherever they are below csrc/: what a header gains is noticed here, as well as what
it changes, and nothing has to be listed a third time in the binding.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from slide.engine import layout, leaves
from slide.lsh.family import APPENDED, MAX_TABLES
from slide.model.store.engine import ROW_DRAWN
from slide.model.store.files import PAGE

#: C's enumerations whose values Python hands over by name (slide.engine.state.KINDS).
ENUMERATIONS = (
    "slide_layer_kind",
    "slide_activation",
    "slide_loss",
    "slide_optimizer_kind",
    "slide_hash_kind",
    "slide_transform",
    "slide_bucket_policy",
    "slide_selection",
)
#: Python's names that are not C's in lower case.
OTHER_NAMES = {"none": "SLIDE_AS_IT_IS", "count": "SLIDE_BY_COUNT"}

#: Python's constants and C's.
CONSTANTS = {
    "SLIDE_LANES": layout.LANES,
    "SLIDE_ROW_SCALARS": layout.ROW_SCALARS,
    "SLIDE_DIRECTION_BLOCK": layout.DIRECTION_BLOCK,
    "SLIDE_MOST_PROBES": layout.MAX_PROBES,
    "SLIDE_CELL_PROBES": layout.MAX_PROBES,
    "SLIDE_BATCH_MOST": layout.MAX_BATCH,
    "SLIDE_HADAMARD_ROUNDS": layout.HADAMARD_ROUNDS,
    "SLIDE_OFFSET_STEPS": layout.OFFSET_STEPS,
    "SLIDE_MAX_TABLES": MAX_TABLES,
    "SLIDE_L2_ALSH_TERMS": APPENDED["l2-alsh"],
    "SLIDE_BIAS": layout.BIAS,
    "SLIDE_BIAS_S1": layout.BIAS_S1,
    "SLIDE_BIAS_S2": layout.BIAS_S2,
    "SLIDE_ROW_ACC": layout.ROW_ACC,
    "SLIDE_ROW_COUNT": layout.ROW_COUNT,
    "SLIDE_ROW_DRAWN": ROW_DRAWN,
    "SLIDE_DISK_PAGE": PAGE,
    "SLIDE_LEAF_CELLS": leaves.CELLS,
    "SLIDE_MOST_LEAVES": leaves.MOST_LEAVES,
    "SLIDE_PHASES": len(layout.PHASES),
}


class Headers:
    """The constants of C headers: `values` by name, and the names of each enumeration that has a name, in order."""

    def __init__(self, text: str) -> None:
        self.values: dict[str, int] = {}
        self.enumerations: dict[str, list[str]] = {}
        text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.DOTALL)
        define = r"^[ \t]*#[ \t]*define[ \t]+(SLIDE_\w+)[ \t]+(\S.*)$"
        self._defines: dict[str, str] = dict(re.findall(define, text, flags=re.MULTILINE))
        for inside, name in re.findall(r"\benum\s*\w*\s*\{(\s*SLIDE_[^}]*)\}\s*(\w*)\s*;", text):
            self.enumerations[name] = self._take_enumerators(inside)

    def _take_enumerators(self, inside: str) -> list[str]:
        names, number = [], -1
        for part in filter(None, (p.strip() for p in inside.split(","))):
            name, _, value = (p.strip() for p in part.partition("="))
            number = self._number(value) if value else number + 1
            assert name not in self.values, f"{name} stands in two enumerations"
            self.values[name] = number
            names.append(name)
        return names

    def __getitem__(self, name: str) -> int:
        return self.values[name] if name in self.values else self._number(self._defines[name])

    def _number(self, text: str) -> int:
        """The value of a C expression of whole numbers, names, +, -, * and <<."""
        operators = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.LShift: operator.lshift}

        def value(node: ast.expr) -> int:
            match node:
                case ast.Constant(value=int(number)):
                    return number
                case ast.Name(id=name):
                    return self[name]
                case ast.BinOp(left=left, op=op, right=right):
                    return operators[type(op)](value(left), value(right))
            raise ValueError(f"{text!r} is no sum of whole numbers")

        return value(ast.parse(text.strip(), mode="eval").body)


@pytest.fixture(scope="module")
def headers(checkout: Path) -> Headers:
    found = sorted((checkout / "csrc").rglob("*.h"))
    assert found
    return Headers("\n".join(path.read_text() for path in found))


def c_name(name: str) -> str:
    return OTHER_NAMES.get(name, "SLIDE_" + name.upper().replace("-", "_"))


def enumerators(headers: Headers) -> Iterator[str]:
    for name in ENUMERATIONS:
        yield from headers.enumerations[name]


def test_every_kind_of_pythons_is_an_enumerator_of_cs_with_its_value(headers: Headers) -> None:
    expected = {c_name(name): value for name, value in layout.KINDS.items()}
    assert {name: headers[name] for name in enumerators(headers)} == expected


def test_names_of_kinds_are_not_used_twice(headers: Headers) -> None:
    names = list(enumerators(headers))
    assert len(names) == len(set(names)) == len(layout.KINDS)


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_agree(headers: Headers, name: str) -> None:
    assert headers[name] == CONSTANTS[name]


def test_phases_have_the_order_of_c(headers: Headers) -> None:
    names = sorted((n for n in headers.values if n.startswith("SLIDE_PHASE_")), key=headers.__getitem__)
    assert [headers[name] for name in names] == list(range(len(layout.PHASES)))
    for name, phase in zip(names, layout.PHASES, strict=True):
        assert name.removeprefix("SLIDE_PHASE_").lower() in phase.split(), (name, phase)


def test_the_reader_of_headers_reads() -> None:
    """Comments, values given and counted on, names of other constants; what it cannot read is an error, not a zero."""
    text = """
    #define SLIDE_A (1 << 4) /* not 5 */
    #  define SLIDE_B SLIDE_A
    enum { SLIDE_X, SLIDE_Y = SLIDE_X + 3, /* SLIDE_NO, */ SLIDE_Z }; // SLIDE_Q
    typedef enum { SLIDE_ONE = SLIDE_Z } slide_kind;
    #define SLIDE_F sizeof(int)
    """
    headers = Headers(text)
    assert {n: headers[n] for n in ("SLIDE_A", "SLIDE_B", "SLIDE_Z")} == {"SLIDE_A": 16, "SLIDE_B": 16, "SLIDE_Z": 4}
    assert headers.enumerations["slide_kind"] == ["SLIDE_ONE"]
    assert headers["SLIDE_ONE"] == 4
    with pytest.raises(ValueError, match="sizeof"):
        headers["SLIDE_F"]
    with pytest.raises(KeyError):
        headers["SLIDE_NO"]
