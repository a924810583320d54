"""Several processes that answer on one socket, over the same mapped pages of a model, and the one that watches them."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from types import FrameType

from slide.serving import log
from slide.serving.metrics import forget_process
from slide.serving.server import Options, announce, run_alone

logger = logging.getLogger("slide.serving")

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # read by prometheus_client when it is imported
TICK_SECONDS = 0.2
SHORT_LIFE = 5.0  # a process that ends sooner is not started again: its model or machine does not let it


class Supervisor:
    """Starts processes, starts one again that has died, and passes signals on."""

    def __init__(self, options: Options, sock: socket.socket) -> None:
        self.options, self.sock = options, sock
        self.ends = False
        self.failed = False
        self._began: dict[BaseProcess, float] = {}

    def run(self) -> bool:
        """Until a signal ends it, or a process cannot live; whether all ended well."""
        log.start()
        with shared_metrics(), self._signals():
            for _ in range(self.options.workers):
                self._start()
            announce(self.options, self.sock)
            while not self.ends:
                time.sleep(TICK_SECONDS)
                if not self.ends:  # Ctrl-C ends the others too, which is no failure of theirs
                    self._look()
            self._signal(signal.SIGTERM)
            for process in self._began:
                process.join()
        return not self.failed

    def _start(self) -> None:
        # Spawned, not forked: threads of the engine do not survive a fork.
        process = multiprocessing.get_context("spawn").Process(
            target=run_alone, args=(self.options, self.sock, os.getpid())
        )
        process.start()
        self._began[process] = time.monotonic()

    def _look(self) -> None:
        for process in [process for process in self._began if not process.is_alive()]:
            lived = time.monotonic() - self._began.pop(process)
            logger.error("worker_died", extra={"worker": process.pid, "exit_code": process.exitcode})
            if process.pid is not None:
                forget_process(process.pid)
            if lived < SHORT_LIFE:
                self.ends = self.failed = True
            elif not self.ends:
                self._start()

    def _signal(self, number: int) -> None:
        for process in self._began:
            if process.pid is not None and process.is_alive():
                os.kill(process.pid, number)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def end(number: int, frame: FrameType | None) -> None:
            self.ends = True

        def follow(number: int, frame: FrameType | None) -> None:
            self._signal(signal.SIGHUP)

        handlers = {signal.SIGTERM: end, signal.SIGINT: end, signal.SIGHUP: follow}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextlib.contextmanager
def shared_metrics() -> Iterator[None]:
    """A folder where the processes count together; an earlier setting is respected."""
    if METRICS_FOLDER in os.environ:
        yield
        return
    os.environ[METRICS_FOLDER] = tempfile.mkdtemp(prefix="slide-metrics-")
    try:
        yield
    finally:
        shutil.rmtree(os.environ.pop(METRICS_FOLDER), ignore_errors=True)
