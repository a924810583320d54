"""Whether one more worker is worth it: asked of measured throughput, one worker at a time.

A rule of the kind of Or, Zhang and Freedman's (Resource Elasticity in Distributed Deep Learning, MLSys 2020): grow for
as long as the last worker that came brought enough, and go back when it did not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

WORTH = 0.5  # of what each worker did before: less is not worth a worker
MEASURED = 4  # windows, after the first since workers changed


@dataclass
class Scaling:
    """The first worker's view of a fit that may have `least` to `most` workers.

    asked : the number asked for last, until it is there or others are
    """

    least: int
    most: int
    rates: dict[int, float] = field(default_factory=dict)  # samples a second, by the number of workers
    asked: int | None = None
    settled: bool = False
    _workers: int = 0
    _windows: list[tuple[int, float]] = field(default_factory=list)  # samples and seconds since workers changed

    def take(self, workers: int, samples: int, seconds: float) -> tuple[int, str] | None:
        """A window of so many samples took so long with so many workers. The number of workers to ask for and why, or
        None while nothing changes."""
        if workers != self._workers:
            self._workers, self._windows, self.asked = workers, [], None
        self._windows.append((samples, seconds))
        if self.settled or self.asked is not None or len(self._windows) <= MEASURED:
            return None
        some = self._windows[1:]
        rate = sum(n for n, _ in some) / max(sum(s for _, s in some), 1e-9)
        self.rates[workers] = rate
        before = self.rates.get(workers - 1)
        if before is not None and workers > self.least:
            gain = (rate - before) / (before / (workers - 1))
            if gain < WORTH:
                self.settled = True
                return self._ask(workers - 1, f"worker {workers} brought {gain:.0%} of what each did before: it goes")
        if workers >= self.most:
            self.settled = True
            return None
        now = "one worker" if workers == 1 else f"{workers} workers"
        return self._ask(workers + 1, f"{rate:,.0f} samples/s with {now}: asking for one more")

    def _ask(self, workers: int, why: str) -> tuple[int, str]:
        self.asked = workers
        return workers, why
