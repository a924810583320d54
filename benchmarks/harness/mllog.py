"""Logs in MLPerf's `:::MLLOG` form, and their check by the mlperf-logging package with our rule file.

Writing needs no package. Checking runs the package's compliance checker with `mllog_rules.yaml`: in this
interpreter where the package is installed, else in an environment of its own. Which runs are logged is
time_to_quality.py's business.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import venvs

TOKEN = ":::MLLOG "
RULES = Path(__file__).with_name("mllog_rules.yaml")
RULESET = "5.1.0"  # the parser's dialect; the rules are ours
PINS = ("mlperf-logging==4.1.68",)
START, STOP, POINT = "INTERVAL_START", "INTERVAL_END", "POINT_IN_TIME"


def line(key: str, value: Any, time_ms: int, kind: str = POINT, **metadata: Any) -> str:
    """One log line."""
    record = {
        "namespace": "",
        "time_ms": time_ms,
        "event_type": kind,
        "key": key,
        "value": value,
        "metadata": metadata,
    }
    return TOKEN + json.dumps(record)


def compose(facts: dict[str, Any], started_ms: int, events: Sequence[dict[str, Any]], reached: bool) -> list[str]:
    """The whole log of a finished run, from the facts about it and a contender's events.

    `facts` become lines of their own; events are those of contenders/session.py.
    """
    lines = [line(key, value, started_ms) for key, value in facts.items()]
    lines.append(line("init_start", None, started_ms, START))
    for event in events:
        lines += _lines_of(event, reached)
    return lines


def _lines_of(event: dict[str, Any], reached: bool) -> list[str]:
    name, now = event["event"], event["time_ms"]
    if name == "ready":
        return [line("init_stop", None, now, STOP), line("run_start", None, now, START)]
    if name == "stop":
        return [line("run_stop", None, now, STOP, status="success" if reached else "aborted")]
    meta = {"epoch_num": event["epoch"], "samples_count": event["samples"]}
    if name == "eval":
        return [line("eval_accuracy", event["quality"], now, POINT, **meta)]
    kind = START if name.endswith("_start") else STOP
    return [line(name, None, now, kind, **meta)]


def checker(say: Callable[[str], None] = print) -> Path:
    """An interpreter that has the mlperf-logging package. Raises venvs.InstallError."""
    if importlib.util.find_spec("mlperf_logging") is not None:
        return Path(sys.executable)
    return venvs.ensure("mlperf", PINS, say=say)


def check(lines: Sequence[str], python: Path) -> tuple[bool, str]:
    """Whether the compliance checker accepts a log under our rules, and what it said."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.txt"
        log.write_text("\n".join(lines) + "\n")
        command = [str(python), "-m", "mlperf_logging.compliance_checker", "--usage", "training"]
        command += ["--ruleset", RULESET, "--config", str(RULES), "--werror"]
        command += ["--log_output", str(Path(folder) / "said.txt"), str(log)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    return done.returncode == 0, (done.stdout + done.stderr).strip()
