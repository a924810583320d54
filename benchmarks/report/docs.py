"""`python -m benchmarks.report.docs`: docs/results.md and its picture, made of the result files in `published/`.

A test makes both again and compares, so that no figure of theirs is typed by hand. Accuracy can be compared across
runs and machines; times only within one table, which is why the picture shows accuracy alone.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.harness import environment, tables
from benchmarks.peers import __main__ as peers
from benchmarks.report.page import PUBLISHED, every

Result = dict[str, Any]
DOCS = environment.ROOT / "docs"
TITLES = {
    "wordnet-hypernym": "WordNet: definitions to the words above them",
    "debian-depends": "Debian dependencies: packages to what they depend on",
    "debian-sources": "Debian sources: source packages to names of files",
}
HEAD = """\
# Results: accuracy, time and memory beside other libraries

<!-- made by `python -m benchmarks.report.docs` from benchmarks/published: change that, not this -->

Every library with its defaults and two threads, on the same files; a table is one run of one command, and its times
are to be compared within it only. **P@k** is the share of a row's first k labels that are true, in %; **PSP@k** the
same where rare labels count more, of the most that could be had. What each column takes in is said in
benchmarks/README.md; the files behind the tables are in benchmarks/published, and `make bench-report` makes a page
with plots of them.

![P@1 of each library on three data sets](pictures/results.svg){ width="560" }
"""
TAIL = """\
## Other tables

| what | where |
|---|---|
| from plain SLIDE to the defaults, one change a row; what was tested without success | [Accuracy](accuracy.md) |
| kernels, threads, labels from 10,000 to 10,000,000, PyTorch | [Performance](performance.md) |
| recall of the tables beside hnswlib and faiss | [Retrieval](retrieval.md) |
| hash families and their settings | [Hash families](families.md) |
| presets and options | [Tuning](tuning.md) |
| features of texts | [Text](text.md) |
| what else the libraries can do | [Compared](compare.md) |
"""

WIDTH, LEFT, RIGHT, ROW, HEADING = 480, 150, 44, 20, 34
STYLE = """\
  .bg { fill: #f5f6f8 } text { fill: #24292f } .soft { fill: #5d626a } .mine { font-weight: 600 }
  .other { fill: #b9c0c8 } .ours { fill: #2f6db5 }
  @media (prefers-color-scheme: dark) { .bg { fill: #1e2125 } text { fill: #e6e6e6 } .soft { fill: #a0a7b0 }
    .other { fill: #565e68 } .ours { fill: #6fa8e8 } }
  @media print { text { fill: #000000 } }"""


def results_page(results: Sequence[Result]) -> str:
    """The page as Markdown: a part for each data set, the newest run first."""
    parts = [HEAD]
    for data, mine in by_data(results).items():
        shape = mine[0]["shape"]
        sizes = (
            f"{shape['train_rows']:,} training rows, {shape['test_rows']:,} test rows, {shape['features']:,} features"
        )
        parts.append(f"## {TITLES.get(data, data)}\n\n`{data}`: {sizes}, {shape['labels']:,} labels.\n")
        parts += [run_text(result) for result in mine]
    return "\n".join([*parts, TAIL])


def by_data(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Runs beside other libraries, newest first, by data set, in the order of TITLES."""
    found = {data: [r for r in results if r["kind"] == "peers" and r["data"] == data] for data in TITLES}
    ordered = {
        data: sorted(mine, key=lambda r: r["environment"]["time_utc"], reverse=True) for data, mine in found.items()
    }
    return {data: mine for data, mine in ordered.items() if mine}


def run_text(result: Result) -> str:
    """One run: when and how, its table, what slide loses on."""
    env = result["environment"]
    command = re.sub(r"\S*/", "", env["command"])  # folders are those of the machine that ran it
    lines = [
        f"{env['time_utc'][:10]}, {environment.summary(env)}; {peers.rounds_of(env['seeds'])}: `{command}`\n",
        tables.markdown(peers.HEADERS, [peers.cells(row) for row in result["rows"]]),
        "",
    ]
    lines += [f"{row['title']}: {row['status']}, {row['reason']}\n" for row in result["rows"] if row["status"] != "ok"]
    if any(row["peer"] == "slide" and row["status"] == "ok" for row in result["rows"]):
        lines.append(f"slide loses on: {'; '.join(peers.losses(result['rows'])) or 'nothing in this table'}.\n")
    return "\n".join(lines)


# -- the picture -------------------------------------------------------------------------------------------------------


def picture(results: Sequence[Result]) -> str:
    """P@1 of each library on each data set as bars, from the newest run that has it."""
    parts, y = [], 12
    for data, mine in by_data(results).items():
        shape = mine[0]["shape"]
        title, what = TITLES.get(data, data).partition(":")[0], f"{shape['labels']:,} labels: first one right, % (P@1)"
        parts.append(f'<text x="14" y="{y + 18}" class="mine">{escape(title)}</text>')
        parts.append(f'<text x="{WIDTH - 14}" y="{y + 18}" text-anchor="end" class="soft">{what}</text>')
        y += HEADING
        rows = sorted(newest_rows(mine).values(), key=lambda row: (row["peer"] != "slide", -row["p@1"]))
        for row in rows:
            parts += bar(row, y)
            y += ROW
        y += 12
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" font-family="system-ui, sans-serif" '
        f'font-size="13" role="img" aria-label="P@1 of slide and other libraries, by data set">\n'
        f'<style>\n{STYLE}\n</style>\n<rect width="{WIDTH}" height="{y}" rx="10" class="bg"/>\n{body}\n</svg>\n'
    )


def newest_rows(results: Sequence[Result]) -> dict[str, dict[str, Any]]:
    """By library, its row in the newest run that has one."""
    found: dict[str, dict[str, Any]] = {}
    for result in results:
        for row in result["rows"]:
            if row["status"] == "ok":
                found.setdefault(row["peer"], row)
    return found


def bar(row: dict[str, Any], y: int) -> Iterator[str]:
    """A library's name, its bar, and the figure at the bar's end."""
    mine = row["peer"] == "slide"
    width = row["p@1"] * (WIDTH - LEFT - RIGHT)
    css = ' class="mine"' if mine else ""
    yield f'<text x="14" y="{y + 13}"{css}>{escape(row["title"])}</text>'
    yield f'<rect x="{LEFT}" y="{y + 2}" width="{width:.1f}" height="14" rx="2" class="{"ours" if mine else "other"}"/>'
    yield f'<text x="{LEFT + width + 6:.1f}" y="{y + 13}"{css}>{tables.percent(row["p@1"])}</text>'


def written(folder: Path) -> dict[Path, str]:
    """The files of a docs folder that this makes, and what is in them."""
    results = every(PUBLISHED)
    return {folder / "results.md": results_page(results), folder / "pictures" / "results.svg": picture(results)}


def main() -> int:
    for path, text in written(DOCS).items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(environment.ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
