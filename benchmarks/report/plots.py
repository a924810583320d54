"""Plots of results as PNG and SVG: accuracy, cost, rates, roofline, recall.

The one module that imports matplotlib (the extra `bench`). `draw_all` makes what the results at hand allow; the
HTML page around them is page.py's.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Result = dict[str, Any]
OURS = "#c8102e"
COLOURS = ("#1f4e79", "#3a7d44", "#b8860b", "#6a4c93", "#2a9d8f", "#7f7f7f", "#8d5524", "#d1495b")


def figure(width: float = 7.2, height: float = 4.4) -> tuple[Any, Any]:
    """An empty figure and its axes, without a display and without global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    fig = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(fig)
    axes = fig.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, which="major", alpha=0.25)
    return fig, axes


def colour(name: str, place: int) -> str:
    return OURS if name.startswith("slide") else COLOURS[place % len(COLOURS)]


def plain_numbers(axis: Any) -> None:
    """Ticks of a logarithmic axis as 30 and 0.5, not as powers; minor ones too, since few decades are shown."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:g}"))
    axis.set_minor_formatter("")


def accuracy_against_time(result: Result) -> Any:
    """Each competitor of a peers result as a point: training seconds (log) against P@1."""
    fig, axes = figure()
    rows = sorted((row for row in result["rows"] if row["status"] == "ok"), key=lambda row: row["train_seconds"])
    for place, row in enumerate(rows):
        x, y = row["train_seconds"], 100 * row["p@1"]
        mine = row["peer"].startswith("slide")
        axes.scatter(
            x, y, s=70 if mine else 45, color=colour(row["peer"], place), zorder=3, marker="D" if mine else "o"
        )
        side: dict[str, Any] = {"xytext": (7, -13), "ha": "left"} if place % 2 else {"xytext": (-7, 6), "ha": "right"}
        axes.annotate(row["title"], (x, y), textcoords="offset points", fontsize=9, **side)
    axes.set(
        xscale="log",
        xlabel="training seconds (log scale; left is better)",
        ylabel="P@1 in % (up is better)",
        title=f"Accuracy against time: {result['data']}",
    )
    plain_numbers(axes.xaxis)
    axes.margins(x=0.25, y=0.12)
    return fig


def quality_curves(result: Result) -> Any:
    """P@1 against training seconds for every run of a time-to-quality result, with the target."""
    fig, axes = figure()
    names = list(dict.fromkeys(run["contender"] for run in result["all_runs"]))
    for run in result["all_runs"]:
        points = [(p["seconds"], 100 * p["p@1"]) for p in run["curve"] if p["seconds"]]
        if points:
            first = run is next(r for r in result["all_runs"] if r["contender"] == run["contender"])
            axes.plot(
                *zip(*points, strict=True),
                marker="o",
                markersize=3,
                alpha=0.8,
                linewidth=1.2,
                color=colour(run["contender"], names.index(run["contender"])),
                label=run["title"] if first else None,
            )
    target = 100 * result["task"]["target"]
    axes.axhline(target, color="#444444", linestyle="--", linewidth=1)
    axes.annotate(
        f"target {target:g}",
        (0, target),
        xycoords=("axes fraction", "data"),
        xytext=(4, 4),
        textcoords="offset points",
        fontsize=9,
    )
    axes.set(
        xlabel="training seconds, evaluations left out",
        ylabel="P@1 in %",
        title=f"Time to quality (unofficial): {result['task']['name']}",
    )
    axes.legend(frameon=False, loc="lower right")
    return fig


def cost_against_labels(result: Result) -> Any:
    """Microseconds a sample, and memory, against the number of labels."""
    fig, axes = figure()
    rows = [row for row in result["by_labels"] if row["status"] == "ok"]
    labels = [row["labels"] for row in rows]
    axes.plot(labels, [1e6 / row["samples_per_second"] for row in rows], "D-", color=OURS)
    axes.set(xscale="log", yscale="log", xlabel="labels", title="Cost and memory as labels grow")
    axes.set_ylabel("microseconds a sample", color=OURS)
    plain_numbers(axes.yaxis)
    memory = axes.twinx()
    memory.plot(labels, [row["peak_rss_bytes"] / 1e9 for row in rows], "o--", color=COLOURS[0])
    memory.set_yscale("log")
    plain_numbers(memory.yaxis)
    memory.set_ylabel("peak memory in GB", color=COLOURS[0])
    memory.spines[["top"]].set_visible(False)
    return fig


def rate_against_threads(result: Result) -> Any:
    """Samples a second against threads, beside what perfect scaling would give."""
    fig, axes = figure()
    rows = [row for row in result["by_threads"] if row["status"] == "ok"]
    threads = [row["threads"] for row in rows]
    rates = [row["samples_per_second"] for row in rows]
    axes.plot(threads, [rates[0] / threads[0] * t for t in threads], ":", color="#888888", label="perfect")
    axes.plot(threads, rates, "D-", color=OURS, label="measured")
    axes.set(
        xlabel="threads",
        ylabel="samples a second",
        ylim=(0, None),
        xticks=threads,
        title=f"Rates as threads grow ({rows[0]['labels']:,} labels)",
    )
    axes.legend(frameon=False)
    return fig


def rates_bars(part: Result) -> Any:
    """Samples a second of each contender of one part of a torch result, log scale, with ranges."""
    rows = [row for row in part["rows"] if row["status"] == "ok"]
    fig, axes = figure(height=1.2 + 0.55 * len(rows))
    for place, row in enumerate(reversed(rows)):
        rate, (low, high) = row["samples_per_second"], row["samples_per_second_range"]
        axes.barh(place, rate, color=colour(row["contender"], 0), xerr=[[rate - low], [high - rate]])
        axes.annotate(f"{rate:,.0f}", (high, place), xytext=(6, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_yticks(range(len(rows)), [row["title"] for row in reversed(rows)])
    axes.set(xscale="log", xlabel="samples a second (log scale)", title=part["data"])
    axes.margins(x=0.15)
    return fig


def roofline(result: Result) -> Any:
    """Measured rates against arithmetic intensity, under the limits of the same run; a colour a thread count."""
    import numpy as np

    fig, axes = figure()
    rows = [row for row in result["rows"] if row["intensity"]]
    spread = [row["intensity"] for row in rows] or [1.0]
    x = np.geomspace(min(spread) / 4, max(*spread, 64) * 4, 200)
    for place, (threads, limit) in enumerate(sorted(result["limits"].items(), key=lambda kv: int(kv[0]))):
        stream = np.minimum(limit["gflops"], x * limit["sequential_gb_per_s"])
        rows_roof = np.minimum(limit["gflops"], x * limit["random_gb_per_s"])
        axes.plot(x, stream, color=COLOURS[place], label=f"limit, {threads} thread(s)")
        axes.plot(x, rows_roof, color=COLOURS[place], linestyle="--", label="the same, random 512-byte rows")
        mine = sorted((row for row in rows if row["threads"] == int(threads)), key=lambda row: row["intensity"])
        for turn, row in enumerate(mine):
            side = {"xytext": (6, 4), "ha": "left"} if turn % 2 else {"xytext": (-6, 4), "ha": "right"}
            y = row["flops_per_second"] / 1e9
            axes.scatter(row["intensity"], y, s=30, color=COLOURS[place], zorder=3)
            axes.annotate(row["name"], (row["intensity"], y), textcoords="offset points", fontsize=8, **side)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="multiply-adds and additions a byte of memory",
        ylabel="GFLOP/s",
        title="Roofline: work that leaves the caches",
    )
    axes.legend(frameon=False, loc="upper left")
    return fig


def plots_of(result: Result) -> list[tuple[str, Callable[[], Any]]]:
    """Names and makers of the plots one result allows."""
    kind = result["kind"]
    if kind == "peers" and any(row["status"] == "ok" for row in result["rows"]):
        return [(f"accuracy-time-{result['data']}", lambda: accuracy_against_time(result))]
    if kind == "time_to_quality" and any(run["curve"] for run in result["all_runs"]):
        return [(f"time-to-quality-{result['task']['name']}", lambda: quality_curves(result))]
    if kind == "torch":
        good = [p for p in result["parts"] if any(row["status"] == "ok" for row in p["rows"])]
        return [(f"torch-{part['data']}", lambda part=part: rates_bars(part)) for part in good]
    if kind == "retrieval":
        return [
            (f"recall-candidates-{result['data']}", lambda: recall_against_candidates(result)),
            (f"recall-rate-{result['data']}", lambda: recall_against_rate(result)),
        ]
    if kind == "active_size":
        return [(f"active-size-{result['data']}", lambda: precision_against_active(result))]
    if kind == "suite":
        return [("roofline", lambda: roofline(result))]
    if kind != "scaling":
        return []
    made: list[tuple[str, Callable[[], Any]]] = []
    for name, series, maker in (
        ("cost-labels", "by_labels", cost_against_labels),
        ("rate-threads", "by_threads", rate_against_threads),
    ):
        if any(row["status"] == "ok" for row in result[series]):
            made.append((name, lambda maker=maker: maker(result)))
    return made


def recall_against(result: Result, what: str, label: str, title: str) -> tuple[Any, Any]:
    """Recall of the exact ten best along each index's settings, against what they cost in one measure (log)."""
    fig, axes = figure()
    place = 0
    for row in result["rows"]:
        points = [(p[what], p["recall"]) for p in row.get("points", ()) if p[what] is not None]
        if not points:
            continue
        mine = row["index"].startswith("slide")
        axes.plot(
            *zip(*sorted(points), strict=True),
            marker="D" if mine else "o",
            markersize=5,
            linestyle=("-", "--", ":")[place % 3] if mine else "-",
            color=colour(row["index"], place),
            label=row["index"],
        )
        place += 1
    axes.set(xscale="log", ylim=(0, 1.02), xlabel=label, ylabel="recall of the exact ten best", title=title)
    plain_numbers(axes.xaxis)
    return fig, axes


def recall_against_candidates(result: Result) -> Any:
    """Recall against the share of the labels that a query is compared with, and what chance would give."""
    import numpy as np

    rows = []
    for row in result["rows"]:
        points = [p for p in row.get("points", ()) if p["candidates"] is not None]
        rows.append({**row, "points": [{**p, "percent": 100 * p["candidates"]} for p in points]})
    label = "labels compared with a query, % (log scale; left is better)"
    title = f"Recall and work: {result['data']}, {result['labels']:,} labels"
    fig, axes = recall_against({"rows": rows}, "percent", label, title)
    x = np.geomspace(*axes.get_xlim(), 100)
    axes.plot(x, np.minimum(x / 100, 1), ":", color="#888888", label="chance")
    axes.legend(frameon=False, fontsize=9)
    return fig


def recall_against_rate(result: Result) -> Any:
    """Recall against queries a second: right and up is better."""
    title = f"Recall and rate: {result['data']}, {result['environment']['threads']} threads"
    fig, axes = recall_against(result, "queries_per_second", "queries a second (log scale; right is better)", title)
    axes.legend(frameon=False, fontsize=9)
    return fig


def precision_against_active(result: Result) -> Any:
    """P@1 against the size of the active set (log), a line a way of choosing it; a level line for all labels."""
    fig, axes = figure()
    for place, way in enumerate(dict.fromkeys(row["way"] for row in result["rows"])):
        rows = [row for row in result["rows"] if row["way"] == way]
        sizes = sorted({row["n_active"] for row in rows})
        means = []
        for size in sizes:
            found = [100 * row["p@1"] for row in rows if row["n_active"] == size]
            means.append(sum(found) / len(found))
        if way == "all labels":
            axes.axhline(means[0], color="#444444", linestyle="--", linewidth=1, label=way)
        else:
            axes.plot(sizes, means, "D-" if way.startswith("slide") else "o-", color=colour(way, place), label=way)
    axes.set(
        xscale="log",
        xlabel="active neurons a sample (log scale)",
        ylabel="P@1 in %, held-out rows",
        title=f"What active sets are worth: {result['data']}",
    )
    plain_numbers(axes.xaxis)
    axes.legend(frameon=False, loc="lower right")
    return fig


def svg(fig: Any) -> str:
    """A figure as an SVG element, without the file's prologue; text stays text."""
    import matplotlib as mpl

    out = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "slide"}):
        fig.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def draw_all(results: Sequence[Result], folder: Path) -> list[Path]:
    """Write every plot the results allow, PNG and SVG, and return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for result in results:
        for name, make in plots_of(result):
            fig = make()
            picture, drawing = folder / f"{name}.png", folder / f"{name}.svg"
            fig.savefig(picture, dpi=150)
            drawing.write_text(svg(fig))
            written += [picture, drawing]
    return written
