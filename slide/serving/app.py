"""All routes, and the application that has them."""

from __future__ import annotations

from collections.abc import Sequence

from slide.serving import annif, native, open_inference, pages
from slide.serving.limits import Limits
from slide.serving.metrics import Metrics
from slide.serving.models import Slot
from slide.serving.service import Service

ROUTES = (*pages.ROUTES, *native.ROUTES, *open_inference.ROUTES, *annif.ROUTES)


def application(
    slots: Sequence[Slot], limits: Limits | None = None, token: str | None = None, metrics: Metrics | None = None
) -> Service:
    """The ASGI application for these models: see slide.serving.service.Service."""
    return Service(slots, ROUTES, limits, token, metrics)
