"""`python -m benchmarks.studies.cluster`: a fit by one process, and by two and three workers of this machine.

With the defaults of `SlideClassifier`, everything counted, on nine tenths of the training rows; P@k on the tenth that
was held out. Samples/s are those of the epochs, from the first chunk or block that was reported to the last: without
the start of the processes, the merging, and what is learned afterwards. Needs torch: `make test-cluster` makes
`.venvs/cluster`, whose Python has it. `--threads` is how many there are in all; workers share them out, so that
processor seconds say what sharing costs, and on one machine nothing is won.

Two workers of a thread each against one process of two, at the shape of Amazon-670K (synthetic rows), network alone:

    python -m benchmarks.studies.cluster --data amazon-670k --network-only --epochs 2 --threads 2 --workers 0 2
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import slide
from benchmarks.harness import commands, environment, shapes, tables

SCORED = 2000  # held-out rows of a synthetic shape: how well it is learned matters little
HEADERS = (
    "workers",
    "threads",
    "P@1",
    "P@3",
    "P@5",
    "samples/s",
    "of the first",
    "seconds",
    "CPU-s",
    "parameters a worker",
    "bytes a sample",
)


class Rate(slide.Callback):
    """Samples a second from the first call to the last, over all epochs."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None
        self.found = 0.0

    def on_chunk(self, progress: Any, network: Any) -> None:
        now = time.perf_counter(), progress.done
        if self._first is None:
            self._first = now
        elif now[0] > self._first[0]:
            self.found = (now[1] - self._first[1]) / (now[0] - self._first[0])


def measured(data: Any, workers: int, threads: int, seed: int, options: dict[str, Any]) -> dict[str, Any]:
    """One fit; options: of SlideClassifier."""
    X, Y, X_held, Y_held = data
    clf = slide.SlideClassifier(n_threads=threads, random_state=seed, **options)
    each = max(1, threads // workers) if workers else threads
    cluster = slide.distributed.Torch(workers=workers, threads=each) if workers else None
    rate = Rate()
    began, cpu = time.perf_counter(), time.process_time()
    clf.fit(X, Y, cluster=cluster, callback=rate)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    scores = clf.evaluate(X_held, Y_held)
    whole = clf.network_.n_bytes
    shared = clf.shared_fit_.workers if workers else ()
    cpu += sum(one.cpu_seconds for one in shared)
    return {
        "workers": workers or "one process",
        "threads": each * max(workers, 1),
        **{f"p@{k}": round(100 * scores[f"p@{k}"], 2) for k in (1, 3, 5)},
        "samples_per_second": round(rate.found, 1),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "parameters": max((one.parameters for one in shared), default=whole) / whole,
        "bytes_a_sample": max((one.sent / max(one.steps, 1) for one in shared), default=0.0),
        "network_samples": clf.network_.step,
    }


def main(argv: Sequence[str] | None = None) -> int:
    p = commands.data_parser("studies.cluster", __doc__, f"or a synthetic shape: {', '.join(shapes.SHAPES)}")
    p.add_argument("--workers", type=int, nargs="+", default=[0, 2, 3], help="0: one process, without a cluster")
    p.add_argument("--seeds", type=int, nargs="+", default=[0])
    p.add_argument("--network-only", action="store_true", help="without the sparse part")
    p.add_argument("--epochs", type=int, help="default: as the classifier")
    commands.add_run_options(p, "cluster")
    args = p.parse_args(argv)
    X, Y, X_held, Y_held = shapes.find(args.data).held_out()
    some = slice(SCORED if args.data in shapes.SHAPES else None)
    data, found = (X, Y, X_held[some], Y_held[some]), []
    options: dict[str, Any] = {"wide": False} if args.network_only else {}
    options |= {} if args.epochs is None else {"epochs": args.epochs}
    env = environment.describe(args.threads, args.seeds, data=args.data)
    for seed in args.seeds:
        for workers in args.workers:
            commands.say(f"{args.data}, seed {seed}: {workers or 'no'} workers ...")
            found.append(measured(data, workers, args.threads, seed, options) | {"seed": seed})
            path = environment.save("cluster", {"rows": found}, env, args.out)
    print(environment.summary(env), end="\n\n")
    print(tables.markdown(HEADERS, [_row(one, found) for one in found]))
    commands.say(f"written to {path}")
    return 0


def _row(one: dict[str, Any], found: Sequence[dict[str, Any]]) -> list[str]:
    first = next(other for other in found if other["seed"] == one["seed"])
    rate = one["samples_per_second"]
    scores = [f"{one[f'p@{k}']:.2f}" for k in (1, 3, 5)]
    rates = [f"{rate:,.0f}", f"{rate / max(first['samples_per_second'], 1e-9):.2f}"]
    costs = [f"{one['seconds']:.1f}", f"{one['cpu_seconds']:.1f}", f"{one['parameters']:.2f}"]
    counts = [str(one["workers"]), str(one["threads"])]
    return [*counts, *scores, *rates, *costs, f"{one['bytes_a_sample']:,.0f}"]


if __name__ == "__main__":
    sys.exit(main())
