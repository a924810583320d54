"""`python -m benchmarks.studies.survival`: shared fits that lose a worker or their driver by kill -9, at any moment.

Each of `--kills` fits is on nine tenths of the training rows, in processes over torch's gloo, with a checkpoint every
16,384 samples in a temporary folder. In turn a worker is killed while blocks are trained, while a checkpoint is
written, while two workers become three, and while three become two; then the process that started them, after which the
fit goes on from what the workers saved. Times are seconds since the kill: until a block was reported again, and until
there were as many workers as there should be. P@1 is of the tenth that was held out, beside that of a fit that lost
nobody. Needs torch, as studies.cluster.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import slide
from benchmarks.harness import commands, environment, shapes, tables
from slide.distributed.transport import supervise
from slide.distributed.transport.membership import Membership
from slide.training.callbacks import Shown

SAVED_AFTER = 16_384  # samples, two windows: what a lost worker's labels are set back by, at most
MOMENTS = "training", "saving", "growing", "shrinking", "driver"
PATIENCE = 2.0  # seconds that workers go on without the driver


@dataclass
class Watch:
    """What shows a fit: notes when blocks were reported and groups formed, and acts when it is time.

    act : called at each report with (this, the share of the samples that is done)
    """

    act: Callable[[Watch, float], None] = lambda watch, share: None
    reports: list[tuple[float, int]] = field(default_factory=list)  # seconds, samples done
    groups: list[tuple[float, int]] = field(default_factory=list)  # seconds, workers
    said: list[tuple[float, str]] = field(default_factory=list)
    supervisor: Any = None
    killed: float | None = None

    def begin(self, progress: Any) -> None:
        """See Follower."""

    def __call__(self, progress: Any) -> None:
        """See Follower."""
        self.reports.append((time.monotonic(), progress.done))
        self.act(self, progress.done / progress.total)

    def say(self, text: str) -> None:
        """See Follower."""
        self.said.append((time.monotonic(), text))

    def close(self) -> None:
        """See Follower."""

    def kill(self, number: int) -> None:
        """Ends the worker of that number, of those that there are, once."""
        if self.killed is None:
            workers = processes()
            self.killed = time.monotonic()
            os.kill(workers[number % len(workers)], signal.SIGKILL)

    def want(self, workers: int) -> None:
        """Asks for so many, as a worker may."""
        self.supervisor.notices.put(("wanted", workers))

    def after(self, at: float, what: list[tuple[float, int]], ok: Callable[[int], bool] = lambda value: True) -> float:
        """When the first of these came after a moment, nan if none did."""
        return next((when for when, value in what if when > at and ok(value)), float("nan"))


def processes() -> list[int]:
    """Those of the workers, in the order in which they were started."""
    children = sorted(multiprocessing.active_children(), key=lambda child: int(child.name.rpartition("-")[2] or 0))
    return [child.pid for child in children if child.pid and child.name.startswith("slide-")]


@contextlib.contextmanager
def watching(watch: Watch, formed: Callable[[int], None] = lambda workers: None) -> Iterator[None]:
    """While a fit runs in this process. formed : hears of groups, when workers are told of them."""
    announce, begin = Membership._announce, supervise._Supervisor.run

    def noted(self: Membership, workers: list[str], leavers: list[str]) -> None:
        announce(self, workers, leavers)
        watch.groups.append((time.monotonic(), len(workers)))
        formed(len(workers))

    def run(self: Any, poll: float) -> Any:
        watch.supervisor = self
        return begin(self, poll)

    Membership._announce, supervise._Supervisor.run = noted, run  # type: ignore[method-assign]
    try:
        yield
    finally:
        Membership._announce, supervise._Supervisor.run = announce, begin  # type: ignore[method-assign]


@dataclass(frozen=True)
class Plan:
    """How fits are made. options : of SlideClassifier"""

    data: Any
    workers: int
    threads: int
    recovery: str
    options: dict[str, Any]

    def fit(self, folder: str, watch: Watch, most: int | None = None, resume: bool = False) -> slide.SlideClassifier:
        """With checkpoints in the folder; workers up to `most`."""
        X, Y = self.data[:2]
        clf = slide.SlideClassifier(n_threads=self.threads, random_state=0, **self.options)
        checkpoint = slide.Checkpoint(f"{folder}/run", minutes=None, samples=SAVED_AFTER, resume=resume)
        some = self.workers if most is None else (self.workers, most)
        each = max(1, self.threads // self.workers)
        cluster = slide.distributed.Torch(some, each, patience=PATIENCE, recovery=self.recovery)
        with mock.patch.object(slide.distributed.Torch, "_scaling", return_value=None):  # here the study says how many
            return clf.fit(X, Y, cluster=cluster, checkpoint=checkpoint, callback=Shown(watch))

    def score(self, clf: slide.SlideClassifier) -> float:
        """P@1 of the held-out rows, in percent."""
        return round(100 * clf.evaluate(*self.data[2:])["p@1"], 2)


def lost_worker(plan: Plan, moment: str, who: int, share: float, delay: float) -> dict[str, Any]:
    """A fit that loses one: at a share of the samples, or so many seconds after what should be happening began."""
    most = plan.workers + 1 if moment in ("growing", "shrinking") else None
    early, late = min(share, 0.4), max(share, 0.6)  # when three are asked for, and two again
    asked: set[str] = set()

    def act(watch: Watch, done: float) -> None:
        if most is not None and done >= early and "more" not in asked:
            asked.add("more")
            watch.want(most)
        if moment == "shrinking" and done >= late and "fewer" not in asked:
            asked.add("fewer")
            watch.want(plan.workers)
        if moment == "training" and done >= share:
            watch.kill(who)
        if moment == "saving" and done >= share and "saving" not in asked:
            asked.add("saving")
            threading.Thread(target=when_saving, daemon=True).start()

    def formed(workers: int) -> None:
        grown, fewer = workers == most and moment == "growing", "fewer" in asked and workers == plan.workers
        if grown or fewer:
            threading.Timer(delay, watch.kill, (who,)).start()

    def when_saving() -> None:
        before = set(Path(folder).glob("run/step-*"))
        while not set(Path(folder).glob("run/step-*")) - before:
            time.sleep(0.001)
        time.sleep(delay / 10)
        watch.kill(who)

    watch = Watch(act)
    with tempfile.TemporaryDirectory() as folder, watching(watch, formed):
        clf = plan.fit(folder, watch, most)
    return {"moment": moment, "worker": who, "p@1": plan.score(clf), **_times(watch, plan.workers, most)}


def _times(watch: Watch, workers: int, most: int | None) -> dict[str, Any]:
    """Seconds since the kill."""
    if watch.killed is None:
        return {"on": float("nan"), "whole": float("nan"), "longest": float("nan")}
    formed = watch.after(watch.killed, watch.groups)
    again = watch.after(watch.killed, watch.groups, lambda n: n >= workers)
    on, whole = (watch.after(when, watch.reports) - watch.killed for when in (formed, again))
    times = [watch.killed, *(when for when, _ in watch.reports if when > watch.killed)]
    longest = max(np.diff(times), default=float("nan"))
    return {"on": round(on, 2), "whole": round(whole, 2), "longest": round(float(longest), 2)}


def lost_driver(plan: Plan, share: float) -> dict[str, Any]:
    """A fit whose driver is killed; another goes on when the workers have left."""
    with tempfile.TemporaryDirectory() as folder:
        driver = multiprocessing.get_context("spawn").Process(target=_drive, args=(plan, folder, share))
        driver.start()
        ready = Path(folder, "workers")
        while not ready.exists() and driver.is_alive():
            time.sleep(0.005)
        killed = time.monotonic()
        driver.kill()
        driver.join()
        pids = json.loads(ready.read_text())
        while any(_is_python(pid) for pid in pids):
            time.sleep(0.01)
        left, watch = time.monotonic() - killed, Watch()
        clf = plan.fit(folder, watch, resume=True)
        on = watch.reports[0][0] - killed
    facts = {"moment": "driver", "worker": "driver", "p@1": plan.score(clf), "left": round(left, 2)}
    return facts | {"on": round(on, 2), "whole": round(on, 2), "longest": round(on, 2)}


def _drive(plan: Plan, folder: str, share: float) -> None:
    def act(watch: Watch, done: float) -> None:
        if done >= share and not Path(folder, "workers").exists():
            Path(folder, "new").write_text(json.dumps(processes()))
            Path(folder, "new").rename(Path(folder, "workers"))

    plan.fit(folder, Watch(act))


def _is_python(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"python" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def survived(plan: Plan, kills: int, moments: Sequence[str]) -> list[dict[str, Any]]:
    """One fit that loses nobody, then one for each kill, the moments in turn."""
    rng, found = np.random.default_rng(0), []
    with tempfile.TemporaryDirectory() as folder:
        whole = plan.fit(folder, Watch())
    found.append({"moment": "none", "worker": "", "p@1": plan.score(whole)})
    commands.say(json.dumps(found[-1]))
    for number in range(kills):
        moment, share = moments[number % len(moments)], float(rng.uniform(0.1, 0.8))
        who, delay = int(rng.integers(plan.workers)), float(rng.uniform(0, 0.4))
        one = lost_driver(plan, share) if moment == "driver" else lost_worker(plan, moment, who, share, delay)
        found.append(one | {"share": round(share, 2), "delay": round(delay, 2)})
        commands.say(json.dumps(found[-1]))
    return found


HEADERS = "moment", "worker", "others go on, s", "whole again, s", "longest pause, s", "P@1"


def _row(one: dict[str, Any]) -> list[str]:
    times = [f"{one[name]:.2f}" if name in one else "" for name in ("on", "whole", "longest")]
    return [one["moment"], str(one["worker"]), *times, f"{one['p@1']:.2f}"]


def main(argv: Sequence[str] | None = None) -> int:
    p = commands.data_parser("studies.survival", __doc__, f"or a synthetic shape: {', '.join(shapes.SHAPES)}")
    p.add_argument("--workers", type=int, default=2)
    p.add_argument("--network-only", action="store_true", help="without the sparse part")
    p.add_argument("--epochs", type=int, help="default: as the classifier")
    p.add_argument("--recovery", choices=("partial", "exact"), default="partial")
    p.add_argument("--kills", type=int, default=20, metavar="N")
    p.add_argument("--moments", nargs="+", choices=MOMENTS, default=MOMENTS)
    commands.add_run_options(p, "survival")
    args = p.parse_args(argv)
    options: dict[str, Any] = {"wide": False} if args.network_only else {}
    options |= {} if args.epochs is None else {"epochs": args.epochs}
    plan = Plan(shapes.find(args.data).held_out(), args.workers, args.threads, args.recovery, options)
    env = environment.describe(args.threads, [0], data=args.data, recovery=args.recovery)
    found = survived(plan, args.kills, args.moments)
    path = environment.save("survival", {"rows": found}, env, args.out)
    print(environment.summary(env), end="\n\n")
    print(tables.markdown(HEADERS, [_row(one) for one in found]))
    commands.say(f"written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
