"""The server's log: a JSON object a line on standard error. What is logged is in `extra`; the message is the event."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


class JsonLines(logging.Formatter):
    """``{"time": "2026-01-31T12:00:00.000+00:00", "level": "info", "event": "reloaded", "model": "tags", ...}``."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        told: dict[str, Any] = {"time": time, "level": record.levelname.lower(), "event": record.getMessage()}
        told |= {"process": record.process}
        told |= {name: value for name, value in vars(record).items() if name not in STANDARD}
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, default=str)


def start(*, access: bool = False) -> None:
    """Logs to standard error; access: also a line for each request, which costs a tenth of the throughput or so."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name, level in (
        ("slide.serving", logging.INFO),
        ("slide.serving.access", logging.INFO if access else logging.WARNING),
        ("uvicorn", logging.ERROR),
    ):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        if name != "slide.serving.access":
            logger.handlers, logger.propagate = [handler], False
