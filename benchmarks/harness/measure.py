"""Run a command in a process of its own and say what it cost: wall and CPU seconds, peak resident memory.

Two parts. As a library, `run` starts the second part. As a script it is a small launcher that forks, executes and
waits, because Linux counts the memory of the process that called `exec` towards the peak of the one it became: a large
parent would be charged to a small child. What the child computes is not this file's business.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """What a finished process cost; `peak_rss_bytes` and `cpu_seconds` cover it and the children it waited for."""

    returncode: int
    wall_seconds: float
    cpu_seconds: float
    peak_rss_bytes: int
    timed_out: bool
    output: str

    def last_words(self, limit: int = 160) -> str:
        """The last line that says something, for a table's cell."""
        if self.timed_out:
            return f"stopped after {self.wall_seconds:.0f} s"
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        how = f"signal {-self.returncode}" if self.returncode < 0 else f"exit {self.returncode}"
        return f"{how}: {lines[-1][:limit]}" if lines else how


def run(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    on_line: Callable[[str], None] | None = None,
) -> Cost:
    """Run `command` to its end (or to `timeout` seconds) and return its cost; each line it prints goes to `on_line`."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "cost.json"
        launcher = [sys.executable, "-I", "-S", str(Path(__file__).resolve()), str(report), str(timeout or 0)]
        lines: list[str] = []
        with subprocess.Popen(
            [*launcher, *command],
            cwd=cwd,
            env=dict(env) if env is not None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    lines.append(line)
                    if on_line:
                        on_line(line.rstrip("\n"))
            except BaseException:
                process.terminate()  # the launcher stops the command and all it started
                raise
        if not report.exists():
            raise OSError(f"could not start {command[0]}: {''.join(lines[-3:]).strip()}")
        return Cost(**json.loads(report.read_text()), output="".join(lines))


def _launch(report: str, timeout: float, command: list[str]) -> int:
    """Fork, execute, wait; write what the kernel counted."""
    start = time.perf_counter()
    child = os.fork()
    if child == 0:
        try:
            os.setpgid(0, 0)
            os.execvp(command[0], command)
        except OSError as error:
            os.write(2, f"{command[0]}: {error}\n".encode())
        os._exit(127)
    with contextlib.suppress(OSError):  # the child may have done it, or be gone
        os.setpgid(child, child)
    timed_out = False

    def stop(signum: int, _frame: object) -> None:
        nonlocal timed_out
        timed_out = timed_out or signum == signal.SIGALRM
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)

    for signum in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, stop)
    if timeout > 0:
        signal.setitimer(signal.ITIMER_REAL, timeout)
    _, status, usage = os.wait4(child, 0)
    cost = {
        "returncode": os.waitstatus_to_exitcode(status),
        "wall_seconds": time.perf_counter() - start,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_rss_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        "timed_out": timed_out,
    }
    Path(report).write_text(json.dumps(cost))
    return 0


if __name__ == "__main__":
    sys.exit(_launch(sys.argv[1], float(sys.argv[2]), sys.argv[3:]))
