"""The parent's side of the harness for networks: starts a contender, gathers its events.

Which contenders there are is said here; what they do is in the module each one names. A contender that cannot be
installed, or dies, is an outcome with a reason, never an exception.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.contenders.session import PREFIX
from benchmarks.harness import commands, environment, measure, venvs

TORCH = ("torch==2.13.0", "numpy>=1.26", "scipy>=1.11")
GPU_BATCH = 1024  # a GPU is idle most of the time with the 128 that do for a processor


@dataclass(frozen=True)
class Contender:
    """A network and how to start it; `pins` empty means the interpreter that runs the benchmark."""

    name: str
    title: str
    module: str
    pins: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"

    def with_options(self, **more: Any) -> Contender:
        return dataclasses.replace(self, options={**self.options, **more})


def _torch(kind: str, device: str) -> Contender:
    words = {"full": "full softmax", "sampled": "sampled softmax"}[kind]
    suffix = "" if device == "cpu" else f"-{device}"
    title = f"PyTorch {words} ({'CPU' if device == 'cpu' else 'GPU'})"
    options = {"kind": kind, "device": device, **({"batch": GPU_BATCH} if device == "cuda" else {})}
    return Contender(f"torch-{kind}{suffix}", title, "benchmarks.contenders.torch_net", TORCH, options, device)


SLIDE = "benchmarks.contenders.slide_net"
ALL = (
    Contender("slide", "slide (network, Adagrad)", SLIDE),
    Contender("slide-adam", "slide (network, Adam 1e-3)", SLIDE, options={"optimizer": "adam", "lr": 1e-3}),
    Contender("slide-estimator", "slide (estimator defaults)", SLIDE, options={"estimator": True}),
    _torch("sampled", "cpu"),
    _torch("full", "cpu"),
    _torch("sampled", "cuda"),
    _torch("full", "cuda"),
)


@dataclass(frozen=True)
class Budget:
    """How long a run lasts and how it is judged; see Session."""

    seconds: float | None = None
    epochs: int = 1
    target: float | None = None
    warmup_seconds: float = 0.0
    eval_rows: int = 0
    evaluate_epochs: bool = False


@dataclass
class Outcome:
    """What became of a run: its events in order, its cost, and the reason when `status` is not ok."""

    status: str
    reason: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    peak_rss_bytes: int = 0
    wall_seconds: float = 0.0

    def last(self, event: str) -> dict[str, Any]:
        """The latest event of that name, or an empty one."""
        return next((e for e in reversed(self.events) if e["event"] == event), {})


def choose(names: str | None, cuda: bool) -> list[Contender]:
    """Contenders by comma-separated names, or all of one architecture that this machine has a device for."""
    if not names:
        return [c for c in ALL if (c.device == "cpu" or cuda) and not c.options.get("estimator")]
    return commands.pick(names, {c.name: c for c in ALL}, "contender")


def interpreter(contender: Contender, say: Callable[[str], None]) -> Path:
    """The Python a contender runs in; `SLIDE_BENCH_TORCH` names one that has PyTorch. Raises venvs.InstallError."""
    if not contender.pins:
        return Path(sys.executable)
    own = os.environ.get("SLIDE_BENCH_TORCH")
    return Path(own) if own else venvs.ensure("torch", contender.pins, say=say)


def run(
    contender: Contender,
    folder: Path,
    budget: Budget,
    *,
    threads: int,
    seed: int,
    network: dict[str, Any],
    timeout: float | None = None,
    say: Callable[[str], None] = print,
    on_event: Callable[[dict[str, Any]], None] | None = None,
) -> Outcome:
    """One run. `network` holds hidden, activation and batch; a contender's options override nothing in it."""
    try:
        python = interpreter(contender, say)
    except (venvs.InstallError, OSError) as error:
        return Outcome("not installed", str(error))
    events: list[dict[str, Any]] = []

    def hear(line: str) -> None:
        if line.startswith(PREFIX):
            events.append(json.loads(line[len(PREFIX) :]))
            if on_event:
                on_event(events[-1])

    with tempfile.TemporaryDirectory(prefix="slide-net-") as work:
        job = {"folder": str(folder), "threads": threads, "seed": seed, "options": contender.options}
        path = Path(work) / "job.json"
        path.write_text(json.dumps({**job, **network, **dataclasses.asdict(budget)}))
        cost = measure.run(
            [str(python), "-m", contender.module, str(path)],
            cwd=environment.ROOT,
            env=venvs.child_environment(threads),
            timeout=timeout,
            on_line=hear,
        )
    finished = cost.returncode == 0 and any(e["event"] == "stop" for e in events)
    status, reason = ("ok", "") if finished else ("failed", cost.last_words())
    return Outcome(status, reason, events, cost.peak_rss_bytes, cost.wall_seconds)
