"""Peak memory of the process that asks. Runs in the peers' environments too: the standard library alone."""

from __future__ import annotations

import re
import sys
from pathlib import Path


def peak_rss_bytes() -> int:
    """Peak resident memory of this process since it was executed (not of the parent it came from)."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) * 1024  # type: ignore[union-attr]
    except (OSError, AttributeError):
        import resource

        scale = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
