"""What a fit tells while it goes on: callbacks, and those that write its history to files or show a bar.

Loggers of other libraries are in loggers.py beside this file, evaluation in evaluation.py, early stopping in
early_stopping.py, and the calls in loop.py.
"""

from __future__ import annotations

import csv
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from slide.checks import require
from slide.training.progress import Progress

Record = dict[str, Any]


class Callback:
    """Base of what wants to know how a fit goes on; override what you need.

    Methods get the fit's slide.training.progress.Progress, and the slide.Network as it is at that moment: it may be
    read and asked for predictions, its weights belong to the fit. ``progress.stop = True`` ends the fit before the next
    chunk; what follows a fit is done as ever. An exception ends it as Ctrl-C does.

    Examples
    --------
    >>> import slide
    >>> class StopAt(slide.Callback):
    ...     def on_chunk(self, progress, network):
    ...         progress.stop = progress.done >= 1000
    >>> X, Y = slide.datasets.synthetic(2000, 500, 100, nnz=10, labels_per_row=2)
    >>> clf = slide.SlideClassifier(hidden=(8,), epochs=9, n_threads=1).fit(X, Y, callback=StopAt())
    >>> 1000 <= clf.network_.step < 18000
    True
    """

    def on_fit_begin(self, progress: Progress, network: Any) -> None:
        """Before the first chunk; after a resumed fit has read its checkpoint."""

    def on_chunk(self, progress: Progress, network: Any) -> None:
        """About ten times a second."""

    def on_rebuild(self, progress: Progress, network: Any) -> None:
        """Tables were filled, or a thread has begun to fill them."""

    def on_checkpoint(self, progress: Progress, network: Any) -> None:
        """A checkpoint is complete."""

    def on_epoch_end(self, progress: Progress, network: Any) -> None:
        """After the evaluation, whose results are in ``progress.metrics``: what is added there goes into the record."""

    def on_record(self, record: Record, progress: Progress) -> None:
        """A record was added to ``progress.history``: some 200 in a fit, and one at the end of each epoch."""

    def on_ranking(self, network: Any) -> None:
        """Every second or two while rows that rank (slide.Rank) are learned, after the end of the network's fit."""

    def on_fit_end(self, progress: Progress, network: Any) -> None:
        """Also after a fit that was interrupted."""


class _Function(Callback):
    """A plain function of the progress, called after every chunk."""

    def __init__(self, function: Callable[[Progress], Any]) -> None:
        self._function = function

    def on_chunk(self, progress: Progress, network: Any) -> None:
        self._function(progress)


def listed(callback: Any) -> list[Any]:
    """What `fit` takes as `callback`, as a list."""
    return list(callback) if isinstance(callback, Iterable) else [] if callback is None else [callback]


class Callbacks:
    """Several as one, told in their order."""

    def __init__(self, members: Sequence[Callback]) -> None:
        self._members = members

    @classmethod
    def of(cls, callback: Any) -> Callbacks:
        """From what `fit` takes: None, a function, a Callback, or a sequence of both.

        Raises
        ------
        ValueError
            For anything else.
        """
        members = listed(callback)
        for one in members:
            ok = (isinstance(one, Callback) or callable(one)) and not isinstance(one, type)
            require(ok, "callback", one, "a function, a slide.Callback, or a sequence of them")
        return cls([one if isinstance(one, Callback) else _Function(one) for one in members])

    def say(self, text: str) -> None:
        """A sentence for those who look on."""
        for one in self._members:
            if isinstance(one, Shown):
                one.say(text)

    def tell(self, event: str, *told: Any) -> None:
        """Calls the method of that name of each."""
        for one in self._members:
            getattr(one, event)(*told)


# -- files -------------------------------------------------------------------------------------------------------------


class FileLogger(Callback, ABC):
    """Base of loggers that write a line for each record, at once. A resumed fit writes its whole history again.

    Parameters
    ----------
    path : path of the file, which is replaced
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        require(
            Path(path).parent.is_dir(), f"{type(self).__name__}(path=)", str(path), "a file in a folder that exists"
        )
        self.path = Path(path)
        self._file: IO[str] | None = None

    def on_fit_begin(self, progress: Progress, network: Any) -> None:
        self._file = open(self.path, "w", newline="", encoding="utf-8")  # noqa: SIM115 (closed by on_fit_end)
        self._begin(self._file, progress)
        for record in progress.history:
            self.on_record(record, progress)

    def on_record(self, record: Record, progress: Progress) -> None:
        if self._file:
            self._write(self._file, record)
            self._file.flush()

    def on_fit_end(self, progress: Progress, network: Any) -> None:
        if self._file:
            self._file.close()
            self._file = None

    def _begin(self, file: IO[str], progress: Progress) -> None:
        """What stands before the first record."""

    @abstractmethod
    def _write(self, file: IO[str], record: Record) -> None:
        """One record as a line."""


class CSVLogger(FileLogger):
    """Writes the history of a fit to a CSV file: a column for each value, empty where an epoch has not ended.

    Metrics that a callback adds in the course of a fit have no column; JSONLogger writes them too.
    """

    def _begin(self, file: IO[str], progress: Progress) -> None:
        self._writer = csv.DictWriter(file, progress.columns, extrasaction="ignore", lineterminator="\n")
        self._writer.writeheader()

    def _write(self, file: IO[str], record: Record) -> None:
        self._writer.writerow(record)


class JSONLogger(FileLogger):
    """Writes the history of a fit to a file with one JSON object a line."""

    def _write(self, file: IO[str], record: Record) -> None:
        file.write(json.dumps(record) + "\n")


def file_logger(path: str | os.PathLike[str]) -> FileLogger:
    """The logger that a file's name asks for: ``.csv``, ``.jsonl`` or ``.json``.

    Raises
    ------
    ValueError
        For other names.
    """
    kinds: dict[str, type[FileLogger]] = {".csv": CSVLogger, ".jsonl": JSONLogger, ".json": JSONLogger}
    kind = kinds.get(Path(path).suffix)
    if kind is None:
        raise ValueError(f"log: found {str(path)!r}, wanted a name that ends in {' or '.join(kinds)}")
    return kind(path)


# -- bar ---------------------------------------------------------------------------------------------------------------


class Follower(Protocol):
    """What shows a fit: see slide/training/bars.py."""

    def begin(self, progress: Progress) -> None: ...
    def __call__(self, progress: Progress) -> None: ...
    def say(self, text: str) -> None: ...
    def close(self) -> None: ...


class Shown(Callback):
    """Hands a fit to what shows it; who made that closes it. metric : to be shown, where rows are scored."""

    def __init__(self, follower: Follower, metric: str | None = None) -> None:
        self._follower, self._metric = follower, metric

    def on_fit_begin(self, progress: Progress, network: Any) -> None:
        progress.metric = self._metric or progress.metric
        self._follower.begin(progress)

    def on_chunk(self, progress: Progress, network: Any) -> None:
        self._follower(progress)

    def say(self, text: str) -> None:
        """A line of its own."""
        self._follower.say(text)


class ProgressBar(Callback):
    """Shows a live bar: in a notebook, on a terminal, or as a few plain lines on standard error elsewhere.

    What is trained on stands before it: rows, features, labels, and labels a row.

    Parameters
    ----------
    stream : text stream or None
        Where to write instead; a notebook's bar needs none.
    """

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream
        self._shown: Any = None

    def on_fit_begin(self, progress: Progress, network: Any) -> None:
        from slide.training.bars import shown

        self._shown = shown(progress.total, self._stream)
        self._shown.begin(progress)

    def on_chunk(self, progress: Progress, network: Any) -> None:
        if self._shown:
            self._shown(progress)

    def on_fit_end(self, progress: Progress, network: Any) -> None:
        if self._shown:
            self._shown.close()
            self._shown = None
