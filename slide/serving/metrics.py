"""Counters of a server in Prometheus' text format; the one module that imports prometheus_client.

With several processes (`slide serve --workers`), each writes its own files in PROMETHEUS_MULTIPROC_DIR, which
workers.py sets, and any of them answers for all.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slide.serving.models import Slot

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def prometheus() -> Any:
    """The third party; ImportError that says how to get it."""
    try:
        import prometheus_client
    except ImportError as e:
        raise ImportError("slide serve needs prometheus-client: pip install 'slide-xmc[serve]'") from e
    return prometheus_client


def forget_process(number: int) -> None:
    """One of several processes has ended: the rows that were queued there, and its models' ages, count no more."""
    prometheus()
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(number)  # type: ignore[no-untyped-call]


class Metrics:
    """What is counted: requests by status, latency, rows of a batch, rows queued, what was shed, reloads."""

    def __init__(self) -> None:
        client = prometheus()
        from prometheus_client import multiprocess, values

        self._client = client
        self._multiprocess: Any = multiprocess  # part of which has types
        self._shared = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        # Chosen when prometheus_client is imported; a server that was started before, alone, may have been the first.
        assert not self._shared or values.ValueClass is not values.MutexValue
        self.registry = client.CollectorRegistry()
        own = {"registry": self.registry}
        self._requests = client.Counter("slide_requests", "Requests by route and status", ["route", "status"], **own)
        self._seconds = client.Histogram(
            "slide_request_seconds", "From a request's arrival to its reply", ["route"], buckets=SECONDS, **own
        )
        self._rows = client.Histogram("slide_batch_rows", "Rows predicted in one call", buckets=ROWS, **own)
        self._queued = client.Gauge("slide_queue_rows", "Rows queued", multiprocess_mode="livesum", **own)
        self._shed = client.Counter("slide_shed", "Requests refused under load", ["reason"], **own)
        self._reloads = client.Counter("slide_reloads", "Reloads of a model", ["model", "result"], **own)
        loaded = "slide_model_loaded_timestamp_seconds"
        self._loaded = client.Gauge(loaded, "When a model was loaded", ["model"], multiprocess_mode="livemin", **own)
        self._age = client.Gauge("slide_model_age_seconds", "Since then", ["model"], multiprocess_mode="livemax", **own)
        self._of_route: dict[tuple[str, int], tuple[Any, Any]] = {}
        self._at_the_door = self._requests.labels("none", "503")
        self._full, self._late = self._shed.labels("queue"), self._shed.labels("deadline")

    def request(self, route: str, status: int, seconds: float) -> None:
        """One was answered."""
        pair = self._of_route.get((route, status))
        if pair is None:
            pair = self._requests.labels(route, str(status)), self._seconds.labels(route)
            self._of_route[route, status] = pair
        pair[0].inc()
        pair[1].observe(seconds)
        if status == 503:
            self._full.inc()
        elif status == 504:
            self._late.inc()

    def refused_at_the_door(self) -> None:
        """One was told that the queue is full before its path was read."""
        self._at_the_door.inc()
        self._full.inc()

    def batch(self, rows: int, queued: int) -> None:
        """One was predicted, and so many rows are queued."""
        self._rows.observe(rows)
        self._queued.set(queued)

    def loaded(self, slot: Slot) -> None:
        """A model came into its place."""
        self._loaded.labels(slot.name).set(slot.hosted.loaded_at)

    def reload(self, slot: Slot, ok: bool) -> None:
        """One was tried."""
        self._reloads.labels(slot.name, "ok" if ok else "failed").inc()
        if ok:
            self.loaded(slot)

    def page(self, slots: list[Slot], now: float) -> tuple[bytes, str]:
        """The text and its media type."""
        for slot in slots:
            self._age.labels(slot.name).set(now - slot.hosted.loaded_at)
        registry = self.registry
        if self._shared:
            registry = self._client.CollectorRegistry()
            self._multiprocess.MultiProcessCollector(registry)
        return self._client.generate_latest(registry), self._client.CONTENT_TYPE_LATEST
