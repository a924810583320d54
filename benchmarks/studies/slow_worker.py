"""`python -m benchmarks.studies.slow_worker`: shared fits of which one of two workers is throttled to half a processor.

Each fit is of two workers of a thread each, network alone. After three tenths of the samples the second gets half a
processor, by the quota of a cgroup (needs root, two processors, and torch, as studies.cluster); after three quarters it
gets all of it again. In turn nobody is throttled, shares stay equal (`largest_share=1`), and rows move
(`--largest-share`), `--times` each. Rates are samples a second, medians of the fits, of the same blocks between 45 %
and 75 % of the samples; longer pauses (tables that are filled, rows that move) are not in them. In `all in` they are:
from the throttle to its end.

Two workers of speeds 1 and 1/2 could do 1.5 workers' worth where two do 2: the possible rate is three quarters of that
of a fit of which nobody is throttled. Won back is (moved - kept) / (possible - kept).

Where others need the processors, with `--processor 0.3` both workers get so much of one from the beginning, and the
second half of that.

`--busy`: instead nobody is throttled, and a process beside them computes all the time: how often rows move.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import slide
from benchmarks.harness import commands, environment, shapes, tables
from benchmarks.studies.survival import Watch, processes
from slide.training.callbacks import Shown

PERIOD = 100_000  # microseconds of a quota
SHARE = 0.5  # of a processor
THROTTLE, SETTLED, FREE, LAST = 0.3, 0.45, 0.75, 0.85  # shares of the samples
PAUSE = 0.25  # seconds of a whole processor
KINDS = "free", "kept", "moved"
Throttle = Callable[[int, float], None]
HEADERS = "fit", "settled", "all in", "free again", "blocks until rows moved", "moves", "P@1"


@contextlib.contextmanager
def quota() -> Iterator[Throttle]:
    """throttle(pid, share): a process gets a share of one processor; 1: all of it."""
    v1, v2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
    groups: dict[int, Path] = {}

    def throttle(pid: int, share: float) -> None:
        is_new, group = pid not in groups, (v1 if v1.exists() else v2) / f"slide-{pid}"
        if is_new:
            group.mkdir()
            groups[pid] = group
        if v1.exists():
            (group / "cpu.cfs_period_us").write_text(str(PERIOD))
            (group / "cpu.cfs_quota_us").write_text("-1" if share == 1 else str(int(share * PERIOD)))
        else:
            (group / "cpu.max").write_text(f"{'max' if share == 1 else int(share * PERIOD)} {PERIOD}")
        if is_new:
            (group / "cgroup.procs").write_text(str(pid))

    try:
        yield throttle
    finally:
        for group in groups.values():
            while (group / "cgroup.procs").read_text().split():
                time.sleep(0.1)
            group.rmdir()


def fitted(
    data: Any, kind: str, largest: float, epochs: int, throttle: Throttle | None, processor: float = 1.0
) -> dict[str, Any]:
    """One fit, of which a worker is throttled, unless its kind is "free". processor : what counts as a whole one"""
    X, Y, X_held, Y_held = data
    at: dict[str, float] = {}

    def act(watch: Watch, done: float) -> None:
        for name, when, workers, share in (
            ("begin", 0.0, (0, 1), 1.0),
            ("throttle", THROTTLE, (1,), 1.0 if kind == "free" else SHARE),
            ("free", FREE, (1,), 1.0),
        ):
            if throttle is not None and done >= when and name not in at:
                at[name] = time.monotonic()
                for worker in workers:
                    throttle(processes()[worker], share * processor)

    watch = Watch(act)
    clf = slide.SlideClassifier(n_threads=2, random_state=0, epochs=epochs, wide=False)
    clf.fit(X, Y, cluster=slide.distributed.Torch(2, 1, largest_share=largest), callback=Shown(watch))
    moved = [(when, text) for when, text in watch.said if "labels are now" in text]
    facts = {
        "fit": kind,
        "settled": rate(watch, SETTLED, FREE, PAUSE / processor),
        "all in": rate(watch, THROTTLE, FREE),
        "free again": rate(watch, LAST, 1.0, PAUSE / processor),
        "moves": len(moved),
        "said": [text for _, text in moved],
        "p@1": round(100 * clf.evaluate(X_held, Y_held)["p@1"], 2),
    }
    begun = at.get("throttle", float("inf"))
    later = [when for when, _ in moved if when > begun]
    found = sum(begun < when <= later[0] for when, _ in watch.reports) if later else None
    return facts | {"blocks until rows moved": found}


def rate(watch: Watch, first: float, end: float, pause: float = float("inf")) -> float:
    """Samples a second between two shares of them, without longer pauses; nan where there are none."""
    reports = np.array(watch.reports)
    share = reports[:, 1] / reports[-1, 1]
    seconds, samples = np.diff(reports[(share >= first) & (share <= end)], axis=0).T
    counted = seconds <= pause
    return float(samples[counted].sum() / seconds[counted].sum()) if counted.any() else float("nan")


def summary(found: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Medians, and what was won back of what was possible."""
    free, kept, moved = (_median([one for one in found if one["fit"] == kind], "settled") for kind in KINDS)
    possible = free * (1 + SHARE) / 2
    shares = {"of the possible": moved / possible, "won back": (moved - kept) / (possible - kept)}
    return {"free": free, "kept": kept, "moved": moved, "possible": possible, **shares}


def _median(found: Sequence[dict[str, Any]], name: str) -> float:
    return float(np.median([one[name] for one in found]))


def _busy() -> None:
    while True:
        pass


def beside_busy(data: Any, largest: float, epochs: int) -> dict[str, Any]:
    """A fit while another process computes."""
    process = multiprocessing.get_context("spawn").Process(target=_busy, daemon=True)
    process.start()
    try:
        return fitted(data, "busy", largest, epochs, None)
    finally:
        process.kill()


def main(argv: Sequence[str] | None = None) -> int:
    p = commands.data_parser("studies.slow_worker", __doc__, f"or a synthetic shape: {', '.join(shapes.SHAPES)}")
    p.add_argument("--epochs", type=int, default=8)
    p.add_argument("--largest-share", type=float, default=1.5, help="of fits in which rows may move")
    p.add_argument("--times", type=int, default=2, metavar="N")
    p.add_argument("--processor", type=float, default=1.0, help="what counts as a whole one, where others need them")
    p.add_argument("--busy", action="store_true", help="instead: beside a process that computes")
    commands.add_run_options(p, "slow_worker")
    args = p.parse_args(argv)
    X, Y, X_held, Y_held = shapes.find(args.data).held_out()
    data, found = (X, Y, X_held[:2000], Y_held[:2000]), []
    env = environment.describe(2, [0], data=args.data, epochs=args.epochs, processor=args.processor)
    for _ in range(args.times):
        for kind in ("busy",) if args.busy else KINDS:
            if args.busy:
                found.append(beside_busy(data, args.largest_share, args.epochs))
            else:
                largest = 1.0 if kind == "kept" else args.largest_share
                with quota() as throttle:
                    found.append(fitted(data, kind, largest, args.epochs, throttle, args.processor))
            commands.say(str(found[-1]))
    rates = {} if args.busy else summary(found)
    path = environment.save("slow_worker", {"rows": found, "summary": rates}, env, args.out)
    print(environment.summary(env), end="\n\n")
    print(tables.markdown(HEADERS, [[_text(one[name.lower()]) for name in HEADERS] for one in found]))
    print("\n".join(f"{name}: {value:,.2f}" for name, value in rates.items()))
    commands.say(f"written to {path}")
    return 0


def _text(value: Any) -> str:
    return f"{value:,.0f}" if isinstance(value, float) and value > 100 else str(value)


if __name__ == "__main__":
    sys.exit(main())
