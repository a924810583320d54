"""Time-to-quality logs: mlperf-logging's compliance checker accepts a sound one and rejects every mutation of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("benchmarks.harness", reason="the benchmarks lie in the source tree, not in the package")

from benchmarks.harness import environment, mllog, venvs

FACTS = {
    "submission_benchmark": "toy",
    "submission_org": "slide, unofficial",
    "submission_division": "open",
    "submission_platform": "a CPU",
    "contender": "slide",
    "seed": 0,
    "threads": 2,
    "train_samples": 100,
    "eval_samples": 10,
    "quality_target": 0.5,
}


def sound(qualities: tuple[float, ...] = (0.3, 0.6), reached: bool = True) -> list[str]:
    """The log of a run that meets its target in the second epoch."""
    now, events = 2000, [{"event": "ready", "time_ms": 2000}]
    for epoch, quality in enumerate(qualities, 1):
        for name in ("epoch_start", "epoch_stop", "eval_start", "eval", "eval_stop"):
            now += 10
            samples = 100 * (epoch - (name == "epoch_start"))
            events.append({"event": name, "time_ms": now, "epoch": epoch, "samples": samples, "quality": quality})
    events.append({"event": "stop", "time_ms": now + 1})
    return mllog.compose(FACTS, 1000, events, reached)


def place(lines: list[str], key: str, turn: int = 0) -> int:
    return [i for i, line in enumerate(lines) if json.loads(line[len(mllog.TOKEN) :])["key"] == key][turn]


def without(key: str, turn: int = 0) -> Callable[[list[str]], list[str]]:
    def mutate(lines: list[str]) -> list[str]:
        i = place(lines, key, turn)
        return lines[:i] + lines[i + 1 :]

    return mutate


def swapped(first: str, second: str, turn: int = 0) -> Callable[[list[str]], list[str]]:
    def mutate(lines: list[str]) -> list[str]:
        i, j = place(lines, first, turn), place(lines, second, turn)
        lines[i], lines[j] = lines[j], lines[i]
        return lines

    return mutate


def twice(key: str) -> Callable[[list[str]], list[str]]:
    def mutate(lines: list[str]) -> list[str]:
        i = place(lines, key)
        return [*lines[: i + 1], lines[i], *lines[i + 1 :]]

    return mutate


def changed(key: str, turn: int = 0, **fields: Any) -> Callable[[list[str]], list[str]]:
    def mutate(lines: list[str]) -> list[str]:
        i = place(lines, key, turn)
        record = {**json.loads(lines[i][len(mllog.TOKEN) :]), **fields}
        lines[i] = mllog.TOKEN + json.dumps(record)
        return lines

    return mutate


def cut(lines: list[str]) -> list[str]:
    return [*lines[:-1], lines[-1][:40]]


MUTATIONS = {
    "no target": without("quality_target"),
    "no run_start": without("run_start"),
    "no init_stop": without("init_stop"),
    "no epoch_stop": without("epoch_stop"),
    "an epoch not judged": without("eval_accuracy"),
    "no end of the evaluation": without("eval_stop", 1),
    "no run_stop": without("run_stop"),
    "run before init": swapped("init_start", "run_start"),
    "evaluation before its start": swapped("eval_start", "eval_accuracy"),
    "epoch ends before it starts": swapped("epoch_start", "epoch_stop", 1),
    "names after the start": swapped("seed", "run_start"),
    "two run_stops": twice("run_stop"),
    "two accuracies": twice("eval_accuracy"),
    "time runs back": changed("eval_start", 1, time_ms=1500),
    "success below the target": changed("eval_accuracy", 1, value=0.4),
    "abort above the target": changed("run_stop", metadata={"status": "aborted"}),
    "accuracy above one": changed("eval_accuracy", 1, value=60.0),
    "an epoch left out": changed("epoch_start", 1, metadata={"epoch_num": 3, "samples_count": 100}),
    "claims to be official": changed("submission_org", value="MLCommons"),
    "a line cut short": cut,
}


@pytest.fixture(scope="module")
def checker() -> Path:
    """The checker's interpreter; not installed for a test, since that takes a network."""
    made = venvs.VENVS / "mlperf" / "bin" / "python"
    try:
        import mlperf_logging  # noqa: F401
    except ImportError:
        if os.access(made, os.X_OK):
            return made
        pytest.skip("mlperf-logging is not installed")
    return Path(sys.executable)


@pytest.mark.parametrize(("qualities", "reached"), [((0.3, 0.6), True), ((0.7,), True), ((0.1, 0.2, 0.3), False)])
def test_sound_logs_pass(checker: Path, qualities: tuple[float, ...], reached: bool) -> None:
    accepted, said = mllog.check(sound(qualities, reached), checker)
    assert accepted, said


@pytest.mark.thorough
@pytest.mark.parametrize("name", MUTATIONS)
def test_mutated_logs_are_rejected(checker: Path, name: str) -> None:
    lines = MUTATIONS[name](sound())
    assert lines != sound()
    assert not mllog.check(lines, checker)[0]


def test_a_line_is_what_the_format_says() -> None:
    line = mllog.line("eval_accuracy", 0.5, 123, epoch_num=1)
    assert line.startswith(":::MLLOG {")
    assert json.loads(line.removeprefix(":::MLLOG ")) == {
        "namespace": "",
        "time_ms": 123,
        "event_type": "POINT_IN_TIME",
        "key": "eval_accuracy",
        "value": 0.5,
        "metadata": {"epoch_num": 1},
    }


TORCH_CHECK = """
import torch
from benchmarks.contenders.torch_net import Net, full_loss, sampled_loss
torch.manual_seed(0)
net = Net(20, 8, 12, sampled=True, activation="identity")
x = torch.tensor([0, 3, 3, 7]), torch.tensor([0, 2]), torch.tensor([1.0, 2.0, 0.5, 1.0])
labels, real = torch.tensor([[1, 5], [7, 0]]), torch.tensor([[True, True], [True, False]])
h = net.hidden(x)
whole = full_loss(net, h, labels, real)
drawn = sampled_loss(net, h, labels, real, torch.arange(12), 12)
assert torch.allclose(whole, drawn, atol=1e-5), (whole, drawn)
part = sampled_loss(net, h, labels, real, torch.tensor([0, 1, 5]), 12)
assert not torch.allclose(whole, part, atol=1e-3)
"""


def test_sampled_softmax_over_every_label_is_the_full_one() -> None:
    """Checked in PyTorch's own environment, where there is one."""
    python = venvs.VENVS / "torch" / "bin" / "python"
    if not os.access(python, os.X_OK):
        pytest.skip("PyTorch is not installed (make bench-torch does it)")
    env = {**os.environ, "PYTHONPATH": str(environment.ROOT)}
    done = subprocess.run([python, "-c", TORCH_CHECK], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
