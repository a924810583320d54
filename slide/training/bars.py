"""Shows how training and scoring go on: a live bar on a terminal, a few plain lines elsewhere. Alone imports tqdm."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Protocol

from slide.training.progress import Progress

REFRESH_SECONDS = 0.1  # of the bar
LINE_SECONDS = 5.0  # between plain lines within an epoch


class Lines:
    """Follows a fit with a line every few seconds and one at each epoch's end, for logs."""

    def __init__(self, stream: IO[str], every: float = LINE_SECONDS) -> None:
        self.stream, self.every = stream, every
        self.last = 0.0

    def begin(self, progress: Progress) -> None:
        """What is trained on."""
        self.say(_data(progress))

    def say(self, text: str) -> None:
        """A line of its own."""
        print(text, file=self.stream, flush=True)

    def __call__(self, progress: Progress) -> None:
        if progress.epoch_ended or progress.seconds - self.last >= self.every:
            self.last = progress.seconds
            self.say(f"{_where(progress)}  {_tail(progress)}")

    def close(self) -> None:
        """Nothing is left to tidy."""


class Bar:
    """Follows a fit with a bar on a terminal, and leaves a line behind for each epoch."""

    def __init__(self, stream: IO[str], total: int) -> None:
        self.stream = stream
        self.last = 0.0
        self.bar = _tqdm(
            total=total, file=stream, bar_format="getting ready |{bar}|", ncols=_columns(stream), leave=False
        )

    def begin(self, progress: Progress) -> None:
        """What is trained on."""
        self.say(_data(progress))

    def say(self, text: str) -> None:
        """A line of its own, above the bar."""
        self.bar.write(text, file=self.stream)

    def __call__(self, progress: Progress) -> None:
        if progress.epoch_ended:
            self.say(f"{_where(progress)}  {_tail(progress)}")
        if progress.epoch_ended or progress.seconds - self.last >= REFRESH_SECONDS:
            self.last = progress.seconds
            self.bar.n, self.bar.total, self.bar.ncols = progress.done, progress.total, _columns(self.stream)
            self.bar.bar_format = f"{_where(progress)} |{{bar}}| {_tail(progress)}"
            self.bar.refresh()

    def close(self) -> None:
        """Takes the bar away."""
        self.bar.close()


class NotebookBar:
    """Follows a fit with a notebook's own bar, and writes a line for each epoch."""

    def __init__(self, total: int) -> None:
        from tqdm.notebook import tqdm

        self.bar = tqdm(total=total, unit=" samples")

    def begin(self, progress: Progress) -> None:
        """What is trained on."""
        self.say(_data(progress))

    def say(self, text: str) -> None:
        """A line of its own."""
        self.bar.write(text)

    def __call__(self, progress: Progress) -> None:
        self.bar.n, self.bar.total = progress.done, progress.total
        self.bar.set_postfix_str(f"loss {progress.loss:.3f}")
        if progress.epoch_ended:
            self.say(f"{_where(progress)}  {_tail(progress)}")

    def close(self) -> None:
        """Leaves the bar as it stands."""
        self.bar.close()


def shown(total: int, stream: IO[str] | None = None) -> NotebookBar | Bar | Lines:
    """What shows a fit of that many samples, epochs counted: where a person looks, or on the stream."""
    if stream is None and _in_notebook():
        return NotebookBar(total)
    stream = stream or sys.stderr
    return Bar(stream, total) if stream.isatty() else Lines(stream)


def _in_notebook() -> bool:
    """Whether this is a kernel with a page before it, where bars are widgets."""
    shell = sys.modules.get("IPython")
    running = shell.get_ipython() if shell else None
    return type(running).__name__ == "ZMQInteractiveShell" and "ipywidgets" in sys.modules


@contextmanager
def follow_fit(total: int, stream: IO[str] | None = None) -> Iterator[Bar | Lines | NotebookBar]:
    """What shows a fit of that many samples, epochs counted, on the stream (standard error); from now on."""
    follower = shown(total, stream or sys.stderr)
    try:
        yield follower
    finally:
        follower.close()


class Advance(Protocol):
    """Is told of numbers of rows done, and of how many there are where that is known by now, or better than before."""

    def __call__(self, n: int, total: int | None = None) -> None: ...


@contextmanager
def follow_rows(what: str, total: int | None, stream: IO[str] | None = None) -> Iterator[Advance]:
    """What is to be told of rows done; shows a bar on a terminal, a line every few seconds elsewhere.

    total : None where it is not known
    """
    stream = stream or sys.stderr
    if not stream.isatty():
        yield _RowLines(what, total, stream)
        return
    form = what + _after(total)
    with _tqdm(total=total, file=stream, bar_format=form, unit=" rows", dynamic_ncols=True, leave=False) as bar:

        def advance(n: int, total: int | None = None) -> None:
            if total:
                bar.total = max(total, bar.n + n)
                bar.bar_format = what + _after(total)
            bar.update(n)

        yield advance


def _after(total: int | None) -> str:
    """A bar, or a count where the end is not known, in tqdm's words."""
    return " {percentage:3.0f}% |{bar}| {rate_fmt}  {remaining} left" if total else " {n:,} rows  {rate_fmt}"


class _RowLines:
    """Counts rows, and writes a line every few seconds; what is done before says nothing."""

    def __init__(self, what: str, total: int | None, stream: IO[str]) -> None:
        self._what, self._total, self._stream, self._done = what, total, stream, 0
        self._started = self._last = time.monotonic()

    def __call__(self, n: int, total: int | None = None) -> None:
        self._done += n
        self._total = total or self._total
        now = time.monotonic()
        if now - self._last >= LINE_SECONDS and (self._total is None or self._done < self._total):
            self._last = now
            print(self._line(self._done / (now - self._started)), file=self._stream, flush=True)

    def _line(self, rate: float) -> str:
        if self._total is None:
            return f"{self._what} {self._done:,} rows  {rate:,.0f} rows/s"
        left = duration((self._total - self._done) / rate)
        return f"{self._what} {100 * self._done // self._total:3d}%  {rate:,.0f} rows/s  {left} left"


@contextmanager
def waiting(text: str, stream: IO[str] | None = None) -> Iterator[None]:
    """Shows the text on a terminal for as long as the body takes, and nothing elsewhere."""
    stream = stream or sys.stderr
    shown = stream.isatty()
    if shown:
        print(text, end="", file=stream, flush=True)
    try:
        yield
    finally:
        if shown:
            print("\r" + " " * len(text) + "\r", end="", file=stream, flush=True)


def duration(seconds: float) -> str:
    """A length of time for people: ``8.4 s``, ``3:07``, ``1:02:00``.

    >>> duration(8.42), duration(187), duration(3720)
    ('8.4 s', '3:07', '1:02:00')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds == float("inf"):
        return "some time"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _columns(stream: IO[str]) -> int:
    """Width for a bar: room is left for the ^C that a terminal echoes, which would else begin a new line."""
    try:
        return max(os.get_terminal_size(stream.fileno()).columns - 3, 20)
    except (OSError, ValueError):
        return 77


def _where(p: Progress) -> str:
    return f"epoch {p.epoch + 1}/{p.epochs} {100 * p.done // max(p.total, 1):3d}%"


def _data(p: Progress) -> str:
    """The rows that are trained on, in a line: who sees that each has a label of its own can stop here."""
    data = p.data
    line = "training on {rows:,} rows, {features:,} features, {labels:,} labels, {labels_per_row:.2f} labels a row"
    empty, unlabelled = data["rows_without_features"], data["rows_without_labels"]
    line += f"; {empty:,} rows without features" if empty else ""
    return line.format(**data) + (f"; {unlabelled:,} rows without labels" if unlabelled else "")


def metric_name(name: str) -> str:
    """As papers write it.

    >>> metric_name("psp@3"), metric_name("ndcg@5"), metric_name("recall@1")
    ('PSP@3', 'nDCG@5', 'recall@1')
    """
    kind, at, k = name.partition("@")
    return {"p": "P", "psp": "PSP", "ndcg": "nDCG", "psndcg": "PSnDCG"}.get(kind, kind) + at + k


def _scores(p: Progress) -> str:
    """P@1, and the metric that early stopping goes by."""
    values = {name: p.metrics[name] for name in ("p@1", p.metric) if name in p.metrics}
    # One that a callback added may be of any scale.
    parts = [f"{metric_name(n)} {100 * v:.2f}" if "@" in n else f"{n} {v:.5g}" for n, v in values.items()]
    return "".join(part + "  " for part in parts)


def _rows(p: Progress) -> str:
    """Of output rows in a file."""
    if not p.rows_read:
        return ""
    return f"  {p.rows_read / max(p.done, 1):.2f} rows read a sample, {p.rows_seconds / p.seconds:.0%} waiting"


def _tail(p: Progress) -> str:
    rate = f"{p.samples_per_second:,.0f} samples/s{_rows(p)}"
    return f"loss {p.loss:.3f}  {_scores(p)}{rate}  {duration(p.seconds_left)} left"


def _tqdm(**options: Any) -> Any:
    from tqdm import tqdm

    return tqdm(**options)
