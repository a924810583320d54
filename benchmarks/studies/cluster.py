"""`python -m benchmarks.studies.cluster`: a fit by one process, and by two and three workers of this machine.

With the defaults of `SlideClassifier`, everything counted, on nine tenths of the training rows; P@k on the tenth that
was held out. Needs torch: `make test-cluster` makes `.venvs/cluster`, whose Python has it. Threads are shared out, so
that processor seconds say what sharing costs; on one machine nothing is won.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

import slide
from benchmarks.harness import commands, environment, tables
from benchmarks.harness.data import resolve

HEADERS = ("workers", "P@1", "P@3", "P@5", "seconds", "CPU-s", "parameters a worker", "bytes a sample")


def measured(data: Any, workers: int, threads: int, seed: int, network_only: bool) -> dict[str, Any]:
    X, Y, X_held, Y_held = data
    clf = slide.SlideClassifier(n_threads=threads, random_state=seed, wide=not network_only)
    cluster = slide.distributed.Torch(workers=workers, threads=max(1, threads // workers)) if workers else None
    began, cpu = time.perf_counter(), time.process_time()
    clf.fit(X, Y, cluster=cluster)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    scores = clf.evaluate(X_held, Y_held)
    whole = clf.network_.n_bytes
    shared = clf.shared_fit_.workers if workers else ()
    cpu += sum(one.cpu_seconds for one in shared)
    return {
        "workers": workers or "one process",
        **{f"p@{k}": round(100 * scores[f"p@{k}"], 2) for k in (1, 3, 5)},
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "parameters": max((one.parameters for one in shared), default=whole) / whole,
        "bytes_a_sample": max((one.sent / max(one.steps, 1) for one in shared), default=0.0),
        "network_samples": clf.network_.step,
    }


class Killer(slide.Callback):
    """Kills a worker after a share of the samples, and takes down how long nothing came after that."""

    def __init__(self, share: float, worker: int, signal_: int) -> None:
        self._share, self._worker, self._signal = share, worker, signal_
        self.killed: float | None = None
        self.pause = 0.0

    def on_chunk(self, progress: Any, network: Any) -> None:
        now = time.perf_counter()
        if self.killed is not None and not self.pause:
            self.pause = now - self.killed
        if self.killed is None and progress.done >= self._share * progress.total:
            children = sorted(multiprocessing.active_children(), key=lambda child: child.name)
            os.kill(children[self._worker % len(children)].pid or 0, self._signal)
            self.killed = time.perf_counter()


def survived(data: Any, workers: int, threads: int, times: int, network_only: bool) -> list[dict[str, Any]]:
    """Fits of which each loses a worker at a random moment, with a checkpoint in a temporary folder."""
    X, Y, X_held, Y_held = data
    rng, found = np.random.default_rng(0), []
    for _ in range(times):
        killer = Killer(float(rng.uniform(0.1, 0.9)), int(rng.integers(workers)), signal.SIGKILL)
        clf = slide.SlideClassifier(n_threads=threads, random_state=0, wide=not network_only)
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = slide.Checkpoint(f"{folder}/run", minutes=0.2)
            cluster = slide.distributed.Torch(workers=workers, threads=max(1, threads // workers))
            clf.fit(X, Y, cluster=cluster, checkpoint=checkpoint, callback=killer)
        changes = [str(change) for change in clf.shared_fit_.changes]
        score = round(100 * clf.evaluate(X_held, Y_held)["p@1"], 2)
        found.append({"at": killer._share, "p@1": score, "pause": round(killer.pause, 2), "changes": changes})
        commands.say(json.dumps(found[-1]))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    p = commands.data_parser("studies.cluster", __doc__)
    p.add_argument("--workers", type=int, nargs="+", default=[0, 2, 3], help="0: one process, without a cluster")
    p.add_argument("--seeds", type=int, nargs="+", default=[0])
    p.add_argument("--network-only", action="store_true", help="without the sparse part")
    p.add_argument("--kill", type=int, default=0, metavar="N", help="instead: N fits that lose a worker each")
    commands.add_run_options(p, "cluster")
    args = p.parse_args(argv)
    data, found = resolve(args.data).held_out(), []
    env = environment.describe(args.threads, args.seeds, data=args.data)
    if args.kill:
        lost = survived(data, max(args.workers), args.threads, args.kill, args.network_only)
        commands.say(f"written to {environment.save('cluster-kill', {'rows': lost}, env, args.out)}")
        return 0
    for seed in args.seeds:
        for workers in args.workers:
            commands.say(f"{args.data}, seed {seed}: {workers or 'no'} workers ...")
            found.append(measured(data, workers, args.threads, seed, args.network_only) | {"seed": seed})
            path = environment.save("cluster", {"rows": found}, env, args.out)
    print(environment.summary(env), end="\n\n")
    print(tables.markdown(HEADERS, [_row(one) for one in found]))
    commands.say(f"written to {path}")
    return 0


def _row(one: dict[str, Any]) -> list[str]:
    scores = [f"{one[f'p@{k}']:.2f}" for k in (1, 3, 5)]
    costs = [f"{one['seconds']:.1f}", f"{one['cpu_seconds']:.1f}", f"{one['parameters']:.2f}"]
    return [str(one["workers"]), *scores, *costs, f"{one['bytes_a_sample']:,.0f}"]


if __name__ == "__main__":
    sys.exit(main())
