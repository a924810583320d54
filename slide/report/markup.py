"""HTML of a report page: its style sheet, and what its sections are put together from. It loads nothing.

Sections are in slide/report/page.py and beside it, charts in slide/report/charts.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

SHORT = 220  # characters of a text that are shown

STYLE = """
:root { color-scheme: light dark; --page: #fbfaf8; --card: #ffffff; --ink: #1d1f23; --soft: #5d626a; --line: #e3e1dc;
  --s1: #2f6db5; --s2: #b9591a; --s3: #34794c; --good: #2c7a46; }
@media (prefers-color-scheme: dark) { :root { --page: #16181b; --card: #1e2125; --ink: #e8e8e6; --soft: #a3a9b1;
  --line: #383c43; --s1: #6fa8e8; --s2: #e8935a; --s3: #74c491; --good: #74c491; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 32px 20px 60px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 40px 0 4px; }
p.says { margin: 0 0 14px; color: var(--soft); max-width: 78ch; }
.tiles { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 10px; margin: 22px 0 10px; }
.charts, .examples { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 14px; }
.tile, figure, .example { background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.tile { padding: 10px 14px; line-height: 1.35; } .tile b { display: block; font-size: 23px; font-weight: 600; }
.tile span { display: block; } .tile small { color: var(--soft); font-size: 13px; }
figure { margin: 0; padding: 14px 14px 10px; min-width: 0; } figcaption { font-weight: 600; margin-bottom: 8px; }
svg { width: 100%; height: auto; display: block; } svg text { font: 11.5px system-ui, sans-serif; fill: var(--soft); }
svg text.name, svg text.key { fill: var(--ink); } .grid { stroke: var(--line); stroke-width: 1; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; } .touch { fill: transparent; }
.line.s1 { stroke: var(--s1); } .line.s2 { stroke: var(--s2); } .line.s3 { stroke: var(--s3); }
.bar.s1, .dot.s1, tspan.s1 { fill: var(--s1); } .bar.s2, .dot.s2, tspan.s2 { fill: var(--s2); }
.bar.s3, .dot.s3, tspan.s3 { fill: var(--s3); }
.bar:hover, .dot:hover { opacity: 0.75; }
.scrolls { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; color: var(--soft); font-weight: 500; }
td, th { padding: 5px 14px 5px 0; vertical-align: top; overflow-wrap: break-word;
  border-bottom: 1px solid var(--line); }
td:last-child, th:last-child { padding-right: 0; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; width: 1%; }
.example { padding: 12px 14px; min-width: 0; } .example p { margin: 0 0 6px; overflow-wrap: anywhere; }
.example .missed { color: var(--soft); font-size: 14px; margin: 6px 0 0; }
ol { margin: 0; padding-left: 22px; overflow-wrap: anywhere; }
ol .score { color: var(--soft); font-variant-numeric: tabular-nums; }
.good { color: var(--good); font-weight: 600; } .good::after { content: " \\2713"; } code { font-size: 0.93em; }
details { margin: 12px 0 0; } summary { cursor: pointer; color: var(--soft); } details.section { margin-top: 40px; }
details.section > summary { color: var(--ink); } details.section > summary h2 { display: inline; }
details > *:not(summary) { margin-top: 10px; }
@media (max-width: 760px) { .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .charts, .examples { grid-template-columns: minmax(0, 1fr); } main { padding: 20px 14px 40px; } }
@media (max-width: 520px) { svg text { font-size: 13.5px; } figure { padding: 12px 8px 8px; }
  .tile { padding: 8px 10px; } .tile b { font-size: 20px; } td, th { padding-right: 9px; } table { font-size: 13px; } }
@media print { details::details-content { content-visibility: visible; } figure, .example { break-inside: avoid; } }
"""


def document(title: str, body: str) -> str:
    """The whole file."""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def section(title: str, caption: str, inside: str, *, folded: bool = False) -> str:
    """A heading, what it says in a sentence or two, and what is below; folded, a reader opens it."""
    below = f'<p class="says">{says(caption)}</p>\n{inside}'
    if folded:
        return f'<details class="section"><summary><h2>{escape(title)}</h2></summary>\n{below}</details>'
    return f"<h2>{escape(title)}</h2>\n{below}"


def details(summary: str, inside: str) -> str:
    """What only some readers want, behind a line that opens it."""
    return f"<details><summary>{escape(summary)}</summary>\n{inside}</details>"


def figures(*pairs: tuple[str, str]) -> str:
    """Charts or tables with a caption each, two beside each other; those that are empty are left out."""
    inside = "\n".join(f"<figure><figcaption>{escape(t)}</figcaption>{shown}</figure>" for t, shown in pairs if shown)
    return f'<div class="charts">{inside}</div>'


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns of whole numbers, and of shares that end in %, stand to the right."""

    def cell(value: Any, tag: str, number: bool) -> str:
        text = f"{value:,}" if isinstance(value, int) else str(value)
        return f"<{tag} class=n>{escape(text)}</{tag}>" if number else f"<{tag}>{breakable(text)}</{tag}>"

    numbers = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(head))]
    top = "".join(cell(name, "th", n) for name, n in zip(head, numbers, strict=True))
    body = "".join(f"<tr>{''.join(cell(v, 'td', n) for v, n in zip(row, numbers, strict=True))}</tr>" for row in rows)
    return f'<div class="scrolls"><table>{f"<tr>{top}</tr>" if any(head) else ""}{body}</table></div>'


def _is_number(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, str) and (value == "" or value.endswith(" %")))


def says(caption: str) -> str:
    """A sentence of ours as HTML, what is typed between backticks as code.

    >>> says("`slide card MODEL` prints a < b")
    '<code>slide card MODEL</code> prints a &lt; b'
    """
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(caption, quote=False))


def breakable(text: str) -> str:
    """Text as HTML, which a narrow column may break after what joins words.

    >>> breakable("n08108972:plant_genus"), breakable("a & b")
    ('n08108972:<wbr>plant_<wbr>genus', 'a &amp; b')
    """
    return re.sub(r"(?<=\w[_:/])(?=\w)", "<wbr>", escape(text))


def percent(share: float) -> str:
    """A share of 1 as a person reads it; nothing where it is not defined.

    >>> percent(0.56221), percent(-0.0), percent(float("nan"))
    ('56.2 %', '0.0 %', '')
    """
    return "" if share != share else f"{100 * share + 0.0:.1f} %"


def score_text(score: float) -> str:
    """With two digits, and no sign before 0.

    >>> score_text(1.234), score_text(-0.001), score_text(-1.5)
    ('1.23', '0.00', '-1.50')
    """
    return f"{round(score, 2) + 0.0:.2f}"


def short(text: str) -> str:
    """No longer than a person reads in passing."""
    return text if len(text) <= SHORT else text[: SHORT - 1].rstrip() + "…"
