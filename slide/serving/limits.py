"""What one request and all that wait may take. Whatever is over a limit is refused in a sentence, not queued."""

from __future__ import annotations

from dataclasses import dataclass, fields

from slide.checks import number, require, whole


@dataclass(frozen=True)
class Limits:
    """Limits of a server, each over 0.

    Parameters
    ----------
    batch_rows : int
        Rows that are predicted in one call: whatever waits, up to so many.
    queue_rows : int
        Rows that are waiting or being predicted; a request that would make it more is answered 503 at once.
    queue_seconds : float
        So long a row may have to wait, by the pace of the last batches; where that is fewer rows than queue_rows, they
        are the bound, and half of them a batch. It keeps answers quick where a model or machine is slow. One request
        may always wait while another is predicted.
    deadline : float
        Seconds from a request's arrival, after which it is answered 504.
    max_rows : int
        Rows of one request; at most batch_rows.
    max_body : int
        Bytes of a request's body.
    max_characters : int
        Of one text.
    max_k : int
        Labels a row.
    max_connections : int
        Open connections a process; more are answered 503.
    """

    batch_rows: int = 64
    queue_rows: int = 256
    queue_seconds: float = 0.1
    deadline: float = 2.0
    max_rows: int = 64
    max_body: int = 1 << 20
    max_characters: int = 100_000
    max_k: int = 100
    max_connections: int = 1000

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "int":
                require(whole(value) >= 1, field.name, value, "a whole number, 1 or more")
        for name in ("queue_seconds", "deadline"):
            require(0 < number(getattr(self, name)) < float("inf"), name, getattr(self, name), "seconds, over 0")
        wanted = f"at most batch_rows, {self.batch_rows:,}"
        require(self.max_rows <= self.batch_rows, "max_rows", self.max_rows, wanted)
        wanted = f"batch_rows, {self.batch_rows:,}, or more"
        require(self.queue_rows >= self.batch_rows, "queue_rows", self.queue_rows, wanted)
