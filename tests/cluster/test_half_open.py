"""A worker whose packets vanish while its connections stay: the others go on, and it leaves.

`make test-cluster` runs this. All addresses are of network namespaces made here and removed in the end. Needs root.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_namespaces import PREFIX, hosts, may_make_namespaces

pytestmark = pytest.mark.skipif(not may_make_namespaces(), reason="network namespaces need root and iproute2")
SCRIPT = Path(__file__).with_name("half_open.py")


@pytest.mark.parametrize("comes_back", [False, True], ids=["for ever", "until the others have gone on"])
def test_a_worker_whose_packets_vanish_is_done_without_and_leaves(comes_back: bool) -> None:
    with hosts([200] * 4, [0] * 4, None) as names:
        switch = f"{PREFIX}s"
        command = [sys.executable, str(SCRIPT), "driver", switch, str(comes_back), *names[1:]]
        done = subprocess.run(
            ["ip", "netns", "exec", names[0], *command], capture_output=True, text=True, check=False, timeout=120
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["groups"] == [[0, 3], [1, 2]]  # whoever was lost is in none of them, also once packets arrive again
    assert found["lost"] in ("error", "left")
    assert "driver" in found["why"] or "silent" in found["why"]
