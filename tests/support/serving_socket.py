"""A model served on a socket of this machine, by a thread of this process. Needs the extra serve."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from slide.serving.app import application
from slide.serving.hosted import Hosted
from slide.serving.limits import Limits
from slide.serving.models import Slot
from slide.serving.server import Options, listening, make_server
from slide.serving.service import Service

PATIENCE = 60  # seconds until a test gives up; none of them waits for it


@contextlib.contextmanager
def served(model: Any, **options: Any) -> Iterator[int]:
    """The port of a server that runs in a thread of this process."""
    with service_of(model, **options) as (port, _):
        yield port


@contextlib.contextmanager
def service_of(model: Any, **options: Any) -> Iterator[tuple[int, Service]]:
    """Its port and the application in it."""
    given = Options([], port=0, **({"limits": Limits(deadline=PATIENCE)} | options))
    service = application([Slot("things", Hosted(model))], given.limits, given.token)
    server = make_server(service, given)
    sock = listening(given)
    port = sock.getsockname()[1]
    thread = threading.Thread(target=server.run, args=([sock],))
    thread.start()
    try:
        yield port, service
    finally:
        server.should_exit = True
        thread.join()
        sock.close()
