"""Tables for a terminal and for Markdown, and how figures are written in them. No measuring here."""

from __future__ import annotations

from collections.abc import Sequence

NONE = "-"


def text(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in plain text: first column left, the others right."""
    widths = [max(len(str(row[i])) for row in [headers, *rows]) for i in range(len(headers))]

    def line(cells: Sequence[str]) -> str:
        first = str(cells[0]).ljust(widths[0])
        rest = (str(c).rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))
        return "  ".join([first, *rest]).rstrip()

    rule = "  ".join("-" * width for width in widths)
    return "\n".join([line(headers), rule, *(line(row) for row in rows)])


def markdown(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same table in Markdown."""
    align = ["---"] + ["---:"] * (len(headers) - 1)
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in [headers, align, *rows])


def padded(cells: Sequence[str], width: int) -> list[str]:
    """A row that ends early, such as one of a competitor that failed, with NONE in the cells left."""
    return [*cells, *[NONE] * (width - len(cells))]


def seconds(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.1f}"


def size(value: float | None) -> str:
    """Bytes as MB below 1 GB, else GB."""
    if value is None:
        return NONE
    return f"{value / 1e6:.0f} MB" if value < 1e9 else f"{value / 1e9:.2f} GB"


def count(value: float | None) -> str:
    """1234567 as 1.23M."""
    if value is None:
        return NONE
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / limit * (10 if unit == 'k' else 1):.3g}{unit}"
    return f"{value:.4g}"
