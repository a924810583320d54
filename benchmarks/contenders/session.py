"""The child's side of the harness for networks: data, budget, evaluation, and events for the parent.

A contender trains however it likes, calls `session.step` now and then, and `session.evaluate` when asked to. The
session decides when it is over. Runs in the contender's own environment: NumPy, SciPy, slide.metrics, nothing else.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.harness.memory import peak_rss_bytes

PREFIX = "@event "


class Over(Exception):
    """The budget is spent or the target reached: stop training now."""


class Session:
    """One training run of one contender.

    The job's fields: folder, threads, seed, hidden, activation, batch, options; and the budget: `epochs`, or `seconds`
    of training after `warmup_seconds` that do not count (evaluation counts in neither), `target` P@1 or None,
    `eval_rows` test rows judged (0: all), `evaluate_epochs` whether to judge after every epoch.
    """

    def __init__(self, path: Path) -> None:
        import scipy.sparse as sp

        self.job: dict[str, Any] = json.loads(path.read_text())
        folder = Path(self.job["folder"])
        load = lambda name: sp.load_npz(folder / f"{name}.npz").tocsr()  # noqa: E731
        self.X, self.Y = load("X_train"), load("Y_train")
        rows = self.job["eval_rows"] or None
        self.X_test, self.Y_test = load("X_test")[:rows], load("Y_test")[:rows]
        self.samples = 0
        self._away = 0.0
        self._warm: tuple[int, float] | None = None
        self._last = (0, 0.0)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["job"][name]
        except KeyError:
            raise AttributeError(name) from None

    def emit(self, event: str, **fields: Any) -> None:
        """One line for the parent, stamped here, where the work is."""
        line = {"event": event, "time_ms": round(time.time() * 1000), **fields}
        print(PREFIX + json.dumps(line), flush=True)

    def ready(self, **facts: Any) -> None:
        """The model stands, training begins: device, precision, version and the like go along."""
        self.emit("ready", **facts)
        self._start = time.perf_counter()

    def clock(self) -> float:
        """Seconds of training so far, evaluation left out."""
        return time.perf_counter() - self._start - self._away

    def step(self, samples: int) -> None:
        """Tell that training now stands at `samples` in all. Raises Over when the time is spent."""
        now = self.clock()
        self.samples, self._last = samples, (samples, now)
        if self._warm is None:
            self._warm = (samples, now) if now >= self.job["warmup_seconds"] else None
        elif self.job["seconds"] and now - self._warm[1] >= self.job["seconds"]:
            raise Over

    def epoch_start(self, epoch: int) -> None:
        self.emit("epoch_start", epoch=epoch, samples=self.samples)

    def epoch_stop(self, epoch: int, predict: Callable[[Any], Any]) -> None:
        """Close an epoch and judge it if the job says so. Raises Over when the target is reached."""
        self.emit("epoch_stop", epoch=epoch, samples=self.samples, seconds=self.clock())
        if not self.job["evaluate_epochs"]:
            return
        quality = self.evaluate(epoch, predict)
        target = self.job["target"]
        if target is not None and quality >= target:
            raise Over

    def evaluate(self, epoch: int, predict: Callable[[Any], Any]) -> float:
        """P@1 over the test rows; `predict` maps CSR rows to ids [n, 1 or more]. Its time is not training time."""
        from slide.metrics import precision_at_k

        seconds, begin = self.clock(), time.perf_counter()
        self.emit("eval_start", epoch=epoch, samples=self.samples)
        quality = float(precision_at_k(self.Y_test, predict(self.X_test), k=1))
        self._away += time.perf_counter() - begin
        self.emit("eval", epoch=epoch, samples=self.samples, seconds=seconds, quality=quality)
        self.emit("eval_stop", epoch=epoch, samples=self.samples)
        return quality

    def finish(self, epoch: int, predict: Callable[[Any], Any] | None = None, **facts: Any) -> None:
        """Close the run: rate after the warm-up, memory, and a last evaluation when `predict` is given."""
        seconds = self.clock()
        if predict is not None:
            self.evaluate(epoch, predict)
        warm = self._warm or (0, 0.0)
        done, span = self._last[0] - warm[0], self._last[1] - warm[1]
        self.emit(
            "stop",
            samples=self.samples,
            seconds=seconds,
            samples_per_second=done / span if span > 0 else None,
            peak_rss_bytes=peak_rss_bytes(),
            **facts,
        )


def main(run: Callable[[Session], None]) -> None:
    run(Session(Path(sys.argv[1])))
