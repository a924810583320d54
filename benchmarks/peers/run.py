"""Runs adapters one after the other and turns what they left into rows. The table is `__main__.py`'s.

Every peer gets the same files, thread count and seed, a process and an environment of its own; wall, CPU and
memory are measured from outside, metrics are computed here, once, for all. Whatever goes wrong
with a peer becomes its row.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import environment, measure, venvs
from benchmarks.harness.data import Problem
from benchmarks.peers.child import TOP, Peer

METRICS = tuple(f"{name}@{k}" for name in ("p", "psp") for k in (1, 3, TOP))
Say = Callable[[str], None]


def install(peer: Peer, say: Say) -> Path:
    """The interpreter a peer runs in."""
    if peer.ours:
        return Path(sys.executable)
    return venvs.ensure(peer.module.rpartition(".")[2], peer.requirements, peer.without_dependencies, say)


def run_peer(peer: Peer, problem: Problem, threads: int, seed: int, timeout: float | None, say: Say) -> dict[str, Any]:
    """One row: `status` is ok, refused, failed or not installed; measurements only where it is ok."""
    row: dict[str, Any] = {"peer": peer.name, "title": peer.title, "note": peer.note, "seed": seed}
    try:
        python = install(peer, say)
    except (venvs.InstallError, OSError) as error:
        return {**row, "status": "not installed", "reason": str(error)}
    with tempfile.TemporaryDirectory(prefix="slide-peer-") as folder:
        work = Path(folder)
        job = {"folder": str(problem.folder), "work": folder, "threads": threads, "seed": seed}
        (work / "job.json").write_text(json.dumps({**job, "options": peer.options}))
        command = [str(python), "-m", peer.module, str(work / "job.json")]
        cost = measure.run(
            command,
            cwd=environment.ROOT,
            env=venvs.child_environment(threads),
            timeout=timeout,
            on_line=lambda line: say(line[7:]) if line.startswith("@stage ") else None,
        )
        return {**row, **_outcome(cost, work, problem)}


def _outcome(cost: measure.Cost, work: Path, problem: Problem) -> dict[str, Any]:
    report_path = work / "report.json"
    if cost.returncode != 0 or not report_path.exists():
        return {"status": "failed", "reason": cost.last_words()}
    report = json.loads(report_path.read_text())
    if "refused" in report:
        return {"status": "refused", "reason": report["refused"]}
    try:
        metrics = score(problem, work / "ids.npy")
    except ValueError as error:
        return {"status": "failed", "reason": f"its answer is unusable: {error}"}
    train, predict = report["stages"]["train"], report["stages"]["predict"]
    return {
        "status": "ok",
        "version": report["version"],
        "train_seconds": train["wall_seconds"],
        "train_cpu_seconds": train["cpu_seconds"],
        "train_peak_rss_bytes": train["peak_rss_bytes"],
        "predict_seconds": predict["wall_seconds"],
        "wall_seconds": cost.wall_seconds,
        "cpu_seconds": cost.cpu_seconds,
        "peak_rss_bytes": cost.peak_rss_bytes,
        "model_bytes": report["model_bytes"],
        **metrics,
    }


def score(problem: Problem, ids_path: Path) -> dict[str, float]:
    """P@k and PSP@k as fractions over all test rows. Raises ValueError when the ids cannot be an answer."""
    import numpy as np

    import slide.metrics

    matrices = problem.load()
    ids = np.load(ids_path)
    Y = matrices["Y_test"]
    if len(ids) != Y.shape[0]:
        raise ValueError(f"{len(ids)} rows of ids for {Y.shape[0]} test rows")
    if ids.max(initial=-1) >= Y.shape[1]:
        raise ValueError(f"label id {ids.max()} where {Y.shape[1]} labels exist")
    found = slide.metrics.evaluate(Y, ids, Y_train=matrices["Y_train"], ks=(1, 3, TOP))
    return {name: float(found[name]) for name in METRICS}


def run_all(
    peers: Sequence[Peer],
    problem: Problem,
    threads: int,
    seed: int = 0,
    rounds: int = 1,
    timeout: float | None = None,
    say: Say = print,
) -> list[dict[str, Any]]:
    """All rows of all rounds, the rounds interleaved (A B C A B C), so that a drift of the machine hits all alike."""
    rows = []
    for turn in range(rounds):
        for place, peer in enumerate(peers, 1):
            head = f"[{turn * len(peers) + place}/{rounds * len(peers)}] {peer.title}"
            row = run_peer(peer, problem, threads, seed + turn, timeout, lambda line, h=head: say(f"{h}: {line}"))
            say(f"{head}: {_closing(row)}")
            rows.append({**row, "round": turn})
    return rows


def _closing(row: dict[str, Any]) -> str:
    if row["status"] != "ok":
        return f"{row['status'].upper()}, {row['reason']}"
    return (
        f"trained in {row['train_seconds']:.1f} s, predicted in {row['predict_seconds']:.1f} s,"
        f" P@1 {100 * row['p@1']:.1f}"
    )


def merge(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a peer: medians over its good rounds, and how many were good; first reason if none was."""
    merged = []
    for name in dict.fromkeys(row["peer"] for row in rows):
        mine = [row for row in rows if row["peer"] == name]
        good = [row for row in mine if row["status"] == "ok"]
        if not good:
            merged.append({**mine[0], "rounds": len(mine), "good_rounds": 0})
            continue
        row = dict(good[0])
        for key, value in good[0].items():
            if isinstance(value, int | float) and key not in ("seed", "round"):
                row[key] = statistics.median(r[key] for r in good)
        low, high = min(r["train_seconds"] for r in good), max(r["train_seconds"] for r in good)
        row.update(rounds=len(mine), good_rounds=len(good), train_seconds_range=[low, high])
        merged.append(row)
    return merged
