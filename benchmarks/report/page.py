"""`python -m benchmarks.report`: one self-contained HTML page with the tables and plots of the results at hand.

Takes the newest result of each kind and data set under `results/`, or the files named; where there is none yet, all of
`published/`. Nothing is loaded from elsewhere: styles and drawings are in the page. Without matplotlib the page has
tables only and says so.
"""

from __future__ import annotations

import argparse
import html
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import environment
from benchmarks.micro import suite
from benchmarks.peers import __main__ as peers
from benchmarks.report import plots
from benchmarks.studies import scaling, time_to_quality, torch_baselines

Result = dict[str, Any]
PUBLISHED = environment.ROOT / "benchmarks" / "published"
ORDER = ("peers", "time_to_quality", "torch", "scaling", "suite")
TITLES = {
    "peers": "Beside other libraries",
    "time_to_quality": "Time to quality (unofficial, in the manner of MLPerf Training)",
    "torch": "Beside PyTorch",
    "scaling": "As labels and threads grow",
    "suite": "Kernels and training steps, against this machine's limits",
}
STYLE = """
:root { color-scheme: light dark; --line: #d7d7d7; --mute: #666; --mine: #c8102e14 }
@media (prefers-color-scheme: dark) { :root { --line: #444; --mute: #aaa; --mine: #c8102e44 } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
h1 { margin-bottom: .2rem } h2 { margin-top: 2.6rem; border-top: 1px solid var(--line); padding-top: 1rem }
.wide { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th:first-child, td:first-child { text-align: left } tr.mine { background: var(--mine); font-weight: 600 }
figure { margin: 1rem 0; background: #fff; display: inline-block; max-width: 100% }
figure svg { max-width: 100%; height: auto; display: block }
.mute, details { color: var(--mute) } pre { white-space: pre-wrap }
"""


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table; our rows are marked, not moved."""

    def line(tag: str, cells: Sequence[str]) -> str:
        return "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells)

    body = "".join(
        f"<tr{' class=mine' if str(row[0]).startswith('slide') else ''}>{line('td', row)}</tr>\n" for row in rows
    )
    return f"<div class=wide><table><thead><tr>{line('th', headers)}</tr></thead>\n<tbody>{body}</tbody></table></div>"


def paragraph(text: str, css: str = "") -> str:
    return f"<p{f' class={css}' if css else ''}>{html.escape(text)}</p>"


def peers_section(r: Result) -> str:
    s = r["shape"]
    parts = [
        paragraph(
            f"{r['data']}: {s['train_rows']:,} training rows, {s['features']:,} features, {s['labels']:,} labels"
        ),
        table(peers.HEADERS, [peers.cells(row) for row in r["rows"]]),
    ]
    parts += [paragraph(f"{x['title']}: {x['reason']}", "mute") for x in r["rows"] if x["status"] != "ok"]
    if any(row["peer"] == "slide" and row["status"] == "ok" for row in r["rows"]):
        parts.append(paragraph("slide loses on: " + ("; ".join(peers.losses(r["rows"])) or "nothing here")))
    return "\n".join(parts)


def quality_section(r: Result) -> str:
    target = paragraph(f"{r['task']['name']}: seconds until P@1 is {100 * r['task']['target']:g} %")
    return target + table(time_to_quality.HEADERS, [time_to_quality.cells(row) for row in r["rows"]])


def torch_section(r: Result) -> str:
    parts = []
    for part in r["parts"]:
        good = [row for row in part["rows"] if row["status"] == "ok"]
        first = good[0]["samples_per_second"] if good else None
        parts.append(paragraph(f"{part['data']}, hidden {part['network']['hidden']}, batch {part['network']['batch']}"))
        parts.append(table(torch_baselines.HEADERS, [torch_baselines.cells(x, first) for x in part["rows"]]))
        parts += [paragraph(f"{x['title']}: {x['reason']}", "mute") for x in part["rows"] if x["status"] != "ok"]
    return "\n".join(parts)


def scaling_section(r: Result) -> str:
    rows = r["by_labels"] + r["by_threads"]
    parts = [table(scaling.HEADERS, [scaling.cells(row) for row in rows])]
    parts += [paragraph(f"{x['labels']:,} labels: {x['reason']}", "mute") for x in rows if x["status"] != "ok"]
    p = r.get("projection")
    if p:
        items = "".join(f"<li>{html.escape(text)}</li>" for text in p["assumptions"])
        parts.append(
            f"<p>Projected to {p['cores']} cores: {p['samples_per_second']:,.0f} samples a second. It assumes:</p>"
            f"<ul class=mute>{items}</ul>"
        )
    return "\n".join(parts)


def suite_section(r: Result) -> str:
    parts = [table(suite.HEADERS, [suite.cells(row) for row in r["rows"]])]
    for threads, found in r["limits"].items():
        parts.append(
            paragraph(
                f"Limits with {threads} thread(s): {found['sequential_gb_per_s']:.1f} GB/s sequential,"
                f" {found['random_rows_per_s'] / 1e6:.1f} M random 512-byte rows/s, {found['gflops']:.0f} GFLOP/s",
                "mute",
            )
        )
    return "\n".join(parts)


SECTIONS = {
    "peers": peers_section,
    "time_to_quality": quality_section,
    "torch": torch_section,
    "scaling": scaling_section,
    "suite": suite_section,
}


def origin(env: dict[str, Any]) -> str:
    """Where a result comes from, folded away below its table."""
    lines = [f"command: {env['command']}", f"time: {env['time_utc']}", f"commit: {env['commit']}"]
    lines += [f"threads: {env['threads']}, seeds: {env['seeds']}"]
    lines += [f"{key}: {value}" for key, value in env["machine"].items()]
    lines += [f"{key}: {value}" for key, value in env["versions"].items()]
    text = html.escape("\n".join(lines))
    return f"<details><summary>{html.escape(environment.summary(env))}</summary><pre>{text}</pre></details>"


def page(results: Sequence[Result]) -> str:
    """The whole page. Figures appear where matplotlib is installed."""
    can_draw = importlib.util.find_spec("matplotlib") is not None
    body = []
    if not can_draw:
        body.append(paragraph("No plots: matplotlib is not installed (pip install 'slide-xmc[bench]').", "mute"))
    for kind in ORDER:
        mine = [r for r in results if r["kind"] == kind]
        if mine:
            body.append(f"<h2>{html.escape(TITLES[kind])}</h2>")
        for r in mine:
            body.append(SECTIONS[kind](r))
            if can_draw:
                body += [f"<figure>{plots.svg(make())}</figure>" for _, make in plots.plots_of(r)]
            body.append(origin(r["environment"]))
    return (
        "<!doctype html>\n<html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<title>slide: benchmarks</title><style>{STYLE}</style>\n<h1>slide: benchmarks</h1>\n"
        + paragraph("Made by one command from result files; how to read it: benchmarks/README.md.", "mute")
        + "\n".join(body)
        + "\n</html>\n"
    )


def every(folder: Path) -> list[Result]:
    """All results in a folder, the newest first; files that are none are left out aloud."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(environment.load(path))
        except ValueError as error:
            print(f"left out: {error}", file=sys.stderr)
    return sorted(found, key=lambda result: result["environment"]["time_utc"], reverse=True)


def newest(folder: Path) -> list[Result]:
    """The newest result of each kind and subject in a folder."""
    found: dict[tuple[str, str], Result] = {}
    for result in every(folder):
        key = (result["kind"], subject(result))
        found.setdefault(key, result)
    return list(found.values())


def subject(result: Result) -> str:
    """What a result is about, so that two of them do not hide each other."""
    if result["kind"] == "torch":
        return ",".join(part["data"] for part in result["parts"])
    return str(result.get("task", {}).get("name") or result.get("data") or "")


def main(argv: Sequence[str] | None = None) -> int:
    p = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    p.add_argument(
        "files", nargs="*", help="result files (default: the newest of each kind in results/, or published/)"
    )
    p.add_argument("--out", type=Path, default=environment.RESULTS / "report.html")
    p.add_argument("--plots", type=Path, help="folder for the plots as PNG and SVG files")
    args = p.parse_args(argv)
    try:
        results = [environment.load(f) for f in args.files] or newest(environment.RESULTS)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not results:
        print("no results of this machine yet (make bench, make bench-peers, make bench-torch): the published ones")
        results = every(PUBLISHED)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(page(results), encoding="utf-8")
    print(f"{len(results)} results on one page: {args.out}")
    if importlib.util.find_spec("matplotlib") is not None:
        written = plots.draw_all(results, args.plots or args.out.parent / "plots")
        print(f"{len(written)} plot files beside it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
