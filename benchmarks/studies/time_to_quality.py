"""`python -m benchmarks.studies.time_to_quality TASK`: seconds until P@1 on the test rows reaches a target.

In the manner of MLPerf Training, and unofficial: no result of MLCommons. A run's time goes from run_start (data
loaded, model built) to the end of the evaluation that first meets the target, evaluations included. The score
is the mean over seeds without the fastest and the slowest run; a run that crashed or never got there is slower
than any other. The logs are `harness/mllog.py`'s, the training is in `contenders/` and `peers/`.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.contenders import start
from benchmarks.harness import commands, environment, mllog, tables, venvs
from benchmarks.harness.data import MissingData, Problem, from_matrices, resolve
from benchmarks.harness.shapes import SHAPES, make, scaled
from benchmarks.peers import registry
from benchmarks.peers import run as peers_run
from benchmarks.peers.child import Peer

HEADERS = ("contender", "score s", "fastest", "slowest", "reached", "best P@1", "logs")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Task:
    """A data set, the P@1 to reach, and how many epochs (the evaluation interval is one) may be spent."""

    name: str
    data: str
    target: float
    max_epochs: int
    hidden: int = 128
    batch: int = 128


TASKS = {
    t.name: t
    for t in (
        Task("toy", "toy", 0.30, 20, hidden=32),
        Task("wordnet-hypernym", "wordnet-hypernym", 0.54, 5),
        Task("debian-depends", "debian-depends", 0.75, 5),
        Task("amazon-670k", "amazon-670k", 0.25, 12),  # synthetic, of that shape
    )
}


def toy() -> Problem:
    """A synthetic problem of a few seconds, for trying the harness itself."""
    from slide.datasets import synthetic

    X, Y = synthetic(4400, 800, 200, nnz=10, labels_per_row=2, seed=0)
    return from_matrices("toy", (X[:4000], Y[:4000], X[4000:], Y[4000:]), text=True)


def problem_of(task: Task, data: str | None) -> Problem:
    """The task's data. Raises MissingData where it is not here."""
    if task.data == "toy":
        return toy()
    if task.data in SHAPES and data is None:
        return make(scaled(SHAPES[task.data], "full"))
    return resolve(data or task.data)


def olympic_mean(times: Sequence[float]) -> float | None:
    """Mean without the fastest and the slowest; None when a failed run (infinite) is among the rest.

    Raises ValueError for fewer than three runs.
    """
    if len(times) < 3:
        raise ValueError(f"{len(times)} runs, wanted at least 3: the fastest and the slowest are left out")
    kept = sorted(times)[1:-1]
    return sum(kept) / len(kept) if all(map(math.isfinite, kept)) else None


def facts_of(task: Task, name: str, problem: Problem, threads: int, seed: int) -> dict[str, Any]:
    shape = problem.shape()
    return {
        "submission_benchmark": task.name,
        "submission_org": "slide, unofficial",
        "submission_division": "open",
        "submission_platform": environment.machine()["cpu"],
        "contender": name,
        "seed": seed,
        "threads": threads,
        "train_samples": shape["train_rows"],
        "eval_samples": shape["test_rows"],
        "quality_target": task.target,
    }


def run_network(
    contender: start.Contender, task: Task, problem: Problem, threads: int, seed: int, say: Say
) -> start.Outcome:
    """A network, judged after every epoch until it meets the target."""
    budget = start.Budget(epochs=task.max_epochs, target=task.target, evaluate_epochs=True)
    network = {"hidden": task.hidden, "batch": task.batch, "activation": "identity"}

    def hear(event: dict[str, Any]) -> None:
        if event["event"] == "eval":
            say(f"  epoch {event['epoch']}: P@1 {100 * event['quality']:.1f} at {event['seconds']:.1f} s")

    return start.run(
        contender,
        problem.folder,
        budget,
        threads=threads,
        seed=seed,
        network=network,
        timeout=7200,
        say=say,
        on_event=hear,
    )


def run_tree(peer: Peer, task: Task, problem: Problem, threads: int, seed: int, say: Say) -> start.Outcome:
    """A library that trains in one go: one epoch, judged once. Its times come from its own stages."""
    begin = time.time() * 1000
    row = peers_run.run_peer(peer, problem, threads, seed, 7200, say)
    if row["status"] != "ok":
        return start.Outcome(row["status"], row["reason"])
    say(f"  P@1 {100 * row['p@1']:.1f} at {row['train_seconds']:.1f} s")
    trained = begin + 1000 * row["train_seconds"]
    judged = trained + 1000 * row["predict_seconds"]
    samples = problem.shape()["train_rows"]
    marks = [("ready", begin, 0), ("epoch_start", begin, 0), ("epoch_stop", trained, samples)]
    marks += [("eval_start", trained, samples), ("eval", judged, samples), ("eval_stop", judged, samples)]
    events = [
        {"event": name, "time_ms": round(when), "epoch": 1, "samples": n, "quality": row["p@1"]}
        for name, when, n in [*marks, ("stop", judged, samples)]
    ]
    events[4]["seconds"] = row["train_seconds"]
    return start.Outcome("ok", events=events, peak_rss_bytes=row["peak_rss_bytes"])


def judge(outcome: start.Outcome, target: float) -> dict[str, Any]:
    """One run in figures: seconds to the target (infinite when it was not met), and the curve."""
    curve = [
        {"seconds": e.get("seconds"), "samples": e["samples"], "p@1": e["quality"]}
        for e in outcome.events
        if e["event"] == "eval"
    ]
    best = max((point["p@1"] for point in curve), default=0.0)
    reached = outcome.status == "ok" and best >= target
    seconds = math.inf
    if reached:
        seconds = (outcome.last("eval_stop")["time_ms"] - outcome.last("ready")["time_ms"]) / 1000
    return {
        "status": outcome.status,
        "reason": outcome.reason,
        "reached": reached,
        "seconds": seconds if reached else None,
        "best": best,
        "curve": curve,
        "peak_rss_bytes": outcome.peak_rss_bytes,
    }


def run_contender(
    contender: start.Contender | Peer,
    task: Task,
    problem: Problem,
    *,
    threads: int,
    seed: int,
    logs: Path,
    python: Path | None,
    say: Say,
) -> dict[str, Any]:
    """One run with its log written and, where the checker is at hand, checked."""
    started = round(time.time() * 1000)
    runner = run_tree if isinstance(contender, Peer) else run_network
    outcome = runner(contender, task, problem, threads, seed, say)  # type: ignore[operator]
    result = {"contender": contender.name, "title": contender.title, "seed": seed}
    result |= judge(outcome, task.target)
    if outcome.status == "ok":
        facts = facts_of(task, contender.name, problem, threads, seed)
        lines = mllog.compose(facts, started, outcome.events, result["reached"])
        logs.mkdir(parents=True, exist_ok=True)
        (logs / f"{contender.name}-{seed}.log").write_text("\n".join(lines) + "\n")
        result["compliant"] = mllog.check(lines, python)[0] if python else None
    return result


def score(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A contender's row from its runs."""
    times = [r["seconds"] if r["reached"] else math.inf for r in runs]
    finite = [t for t in times if math.isfinite(t)]
    checks = [r.get("compliant") for r in runs]
    return {
        "contender": runs[0]["contender"],
        "title": runs[0]["title"],
        "score_seconds": olympic_mean(times) if len(times) >= 3 else None,
        "fastest_seconds": min(finite, default=None),
        "slowest_seconds": max(finite, default=None),
        "reached": len(finite),
        "runs": len(runs),
        "best": max(r["best"] for r in runs),
        "logs": "unchecked" if None in checks else f"{sum(map(bool, checks))} accepted",
        "reason": next((r["reason"] for r in runs if r["reason"]), ""),
    }


def cells(row: dict[str, Any]) -> list[str]:
    failed = "failed" if row["runs"] >= 3 else "too few runs"
    return [
        row["title"],
        tables.seconds(row["score_seconds"]) if row["score_seconds"] is not None else failed,
        tables.seconds(row["fastest_seconds"]),
        tables.seconds(row["slowest_seconds"]),
        f"{row['reached']}/{row['runs']}",
        tables.percent(row["best"]),
        row["logs"],
    ]


def render(document: dict[str, Any]) -> str:
    task = document["task"]
    lines = [
        f"{task['name']}: seconds to P@1 {100 * task['target']:g} (unofficial, in the manner of MLPerf Training)",
        environment.summary(document["environment"]),
        "",
        tables.text(HEADERS, [cells(row) for row in document["rows"]]),
    ]
    lines += [f"{row['title']}: {row['reason']}" for row in document["rows"] if row["reason"]]
    lines.append("score: mean over seeds without the fastest and the slowest; a failed run is the slowest.")
    return "\n".join(lines)


def choose(names: str) -> list[start.Contender | Peer]:
    """Networks and trees by name. Raises ValueError for a name that neither list has."""
    networks = {c.name: c for c in start.ALL}
    trees = {p.name: p for p in registry.ALL if not p.ours}
    known: dict[str, Any] = {**trees, **networks}
    return commands.pick(names, known, "contender")


def parser() -> argparse.ArgumentParser:
    p = commands.parser("studies.time_to_quality", __doc__)
    p.add_argument("task", choices=sorted(TASKS))
    p.add_argument("--seeds", type=int, default=5, help="runs of each contender, at least 3 for a score")
    p.add_argument(
        "--contenders",
        default="slide-estimator,torch-sampled,omikuji-1,pecos",
        help="comma-separated, networks and trees",
    )
    p.add_argument("--target", type=float, help="P@1 to reach, instead of the task's")
    p.add_argument("--data", help="folder of the task's data (see below)")
    p.add_argument("--no-check", action="store_true", help="do not install and run the compliance checker")
    commands.add_run_options(p, "time_to_quality")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    say = commands.say
    task = TASKS[args.task]
    if args.target is not None:
        task = Task(**{**task.__dict__, "target": args.target})
    try:
        contenders, problem = choose(args.contenders), problem_of(task, args.data)
    except (MissingData, ValueError) as error:
        say(f"error: {error}")
        return 2
    python = None if args.no_check else _checker(say)
    env = environment.describe(args.threads, seeds=range(args.seeds))
    logs = environment.RESULTS / "mllog" / f"{task.name}-{env['time_utc'].replace(':', '')}"
    runs = []
    for seed in range(args.seeds):
        for c in contenders:
            say(f"{c.title}, seed {seed}")
            options = {"threads": args.threads, "seed": seed, "logs": logs, "python": python, "say": say}
            runs.append(run_contender(c, task, problem, **options))
    rows = [score([r for r in runs if r["contender"] == c.name]) for c in contenders]
    document = {"task": task.__dict__, "data": problem.name, "rows": rows, "all_runs": runs}
    path = environment.save("time_to_quality", document, env, args.out)
    print(render({**document, "environment": env}))
    say(f"logs in {logs}; written to {path}")
    return 0 if all(r.get("compliant") is not False for r in runs) else 1


def _checker(say: Say) -> Path | None:
    try:
        return mllog.checker(say)
    except (venvs.InstallError, OSError) as error:
        say(f"logs stay unchecked: {error}")
        return None


if __name__ == "__main__":
    sys.exit(main())
