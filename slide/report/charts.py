"""Line and bar charts as SVG text for slide/report/page.py: no library, no script, colours from the page's style sheet.

All are of one size; what a chart says of its axis and its colours stands in one line above it, inside the picture.

A series is drawn in the class `s1`, `s2` or `s3`; every mark has a `<title>`, which browsers show under the pointer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 460, 240
LINE = 13  # where what stands above a chart is written
LEFT, RIGHT, TOP, BOTTOM = 48, 80, 28, 36


@dataclass(frozen=True)
class Series:
    """Points of a line, or heights of bars where x are their places 0, 1, 2 ..."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class _Scale:
    """From values to places in the picture."""

    low: float
    high: float
    begin: float
    end: float

    def __call__(self, value: float) -> float:
        return self.begin + (value - self.low) / (self.high - self.low) * (self.end - self.begin)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from low to high, both ends covered.

    >>> ticks(0, 0.93), ticks(3, 47)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0.0, 10.0, 20.0, 30.0, 40.0, 50.0])
    """
    span = max(high - low, 1e-9)
    power = 10.0 ** math.floor(math.log10(span / about))
    step = next(m * power for m in (1, 2, 5, 10) if span / (m * power) <= about)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, max(last, first + 1) + 1)]


def lines(series: Sequence[Series], x_label: str, y_label: str, *, from_zero: bool = True, dots: bool = False) -> str:
    """A line chart; each line is named at its end, so that colours need no key."""
    xs = [x for s in series for x in s.x]
    ys = [y for s in series for y in s.y]
    marks = ticks(0.0 if from_zero else min(ys), max(ys))
    x_scale = _Scale(0.0, max(max(xs), 1e-9), LEFT, WIDTH - RIGHT)
    y_scale = _Scale(marks[0], marks[-1], HEIGHT - BOTTOM, TOP)
    parts = [_y_axis(marks, y_scale, y_label), _x_axis(ticks(0.0, max(xs)), x_scale, x_label)]
    ends = _apart([y_scale(s.y[-1]) for s in series])
    for number, (s, end) in enumerate(zip(series, ends, strict=True), 1):
        points = [(x_scale(x), y_scale(y)) for x, y in zip(s.x, s.y, strict=True)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline class="line s{number}" points="{path}"/>')
        for (x, y), at, value in zip(points, s.x, s.y, strict=True):
            title = escape(f"{s.name}: {number_text(value)} at {number_text(at)} {x_label}")
            radius, kind = (4, "dot") if dots else (6, "touch")
            parts.append(
                f'<circle class="{kind} s{number}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}">'
                f"<title>{title}</title></circle>"
            )
        name = f"{s.name} {number_text(s.y[-1])}" if s.name else number_text(s.y[-1])
        parts.append(f'<text class="name" x="{points[-1][0] + 7:.1f}" y="{end + 4:.1f}">{escape(name)}</text>')
    return _picture(parts, f"{y_label} over {x_label}")


def bars(series: Sequence[Series], names: Sequence[str], x_label: str, y_label: str, high: float | None = None) -> str:
    """Groups of bars, one of each series over each name; values that are NaN have no bar."""
    values = [y for s in series for y in s.y if not math.isnan(y)]
    marks = ticks(0.0, high if high is not None else max(values, default=1.0))
    y_scale = _Scale(marks[0], marks[-1], HEIGHT - BOTTOM, TOP)
    room = (WIDTH - LEFT - 12) / max(len(names), 1)
    width = min(26.0, (room - 10) / len(series) - 2)
    parts = [_y_axis(marks, y_scale, y_label, WIDTH - 12), _key(series)]
    for i, name in enumerate(names):
        middle = LEFT + room * (i + 0.5)
        parts.append(
            f'<text class="tick" text-anchor="middle" x="{middle:.1f}" y="{HEIGHT - 20}">{escape(name)}</text>'
        )
        first = middle - (len(series) * (width + 2) - 2) / 2
        for number, s in enumerate(series, 1):
            if math.isnan(s.y[i]):
                continue
            x, y = first + (number - 1) * (width + 2), y_scale(s.y[i])
            height = max(HEIGHT - BOTTOM - y, 0.5)
            title = escape(f"{s.name}, {name} {x_label}: {number_text(s.y[i])}")
            parts.append(
                f'<rect class="bar s{number}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
                f'rx="2"><title>{title}</title></rect>'
            )
    parts.append(_axis_label(x_label, (LEFT + WIDTH - 12) / 2))
    return _picture(parts, f"{y_label} by {x_label}")


def number_text(value: float) -> str:
    """Short, for people.

    >>> number_text(0.12345), number_text(56.217), number_text(80896), number_text(3), number_text(999.7)
    ('0.123', '56.2', '80,896', '3', '1,000')
    >>> number_text(-0.0), number_text(-1e-9), number_text(0.00005), number_text(2.50)
    ('0', '0', '0.00005', '2.5')
    """
    if not math.isfinite(value):
        return "not finite"
    if value == int(value) or abs(value) >= 999.5:
        return f"{value + 0.0:,.0f}"
    digits = min(max(2 - math.floor(math.log10(abs(value))), 0), 6)
    text = f"{value:.{digits}f}"
    return f"{float(text) + 0.0:,.{digits}f}".rstrip("0").rstrip(".") if "." in text else text


def _picture(parts: Sequence[str], label: str) -> str:
    inside = "\n".join(parts)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">\n{inside}\n</svg>'


def _key(series: Sequence[Series]) -> str:
    """Which colour is which, where there are several: in the line above."""
    if len(series) < 2:
        return ""
    gap = "\u00a0"  # no-break: runs of other spaces are drawn as one
    names = (4 * gap).join(f'<tspan class="s{i}">\u25a0</tspan>{gap}{escape(s.name)}' for i, s in enumerate(series, 1))
    return f'<text class="key" text-anchor="end" x="{WIDTH - 12}" y="{LINE}">{names}</text>'


def _y_axis(marks: Sequence[float], scale: _Scale, label: str, right: float = WIDTH - RIGHT) -> str:
    parts = [f'<text class="tick" x="4" y="{LINE}">{escape(label)}</text>']
    for value in marks:
        y = scale(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        text = number_text(value)
        parts.append(f'<text class="tick" text-anchor="end" x="{LEFT - 6}" y="{y + 4:.1f}">{text}</text>')
    return "\n".join(parts)


def _x_axis(marks: Sequence[float], scale: _Scale, label: str) -> str:
    shown = [value for value in marks if value <= scale.high * 1.001]
    parts = [
        f'<text class="tick" text-anchor="middle" x="{scale(v):.1f}" y="{HEIGHT - 20}">{number_text(v)}</text>'
        for v in shown
    ]
    return "\n".join([*parts, _axis_label(label, (LEFT + WIDTH - RIGHT) / 2)])


def _axis_label(label: str, x: float) -> str:
    return f'<text class="tick" text-anchor="middle" x="{x:.1f}" y="{HEIGHT - 4}">{escape(label)}</text>'


def _apart(places: Sequence[float], gap: float = 13.0) -> list[float]:
    """Heights of names that do not cover each other, near where they belong."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved, last = list(places), -math.inf
    for i in order:
        moved[i] = last = max(places[i], last + gap)
    return moved
