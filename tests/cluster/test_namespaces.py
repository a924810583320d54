"""The planner on networks of namespaces, whose links tc shapes: two racks with a slow trunk, a slow host, equal links.

All addresses are of namespaces made here and removed in the end. Needs root. `make test-cluster` runs this. Rates are a
fifth of those of usual networks, so that two processors can fill them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="make test-cluster has torch")
WORKER = Path(__file__).with_name("reducing.py")
PREFIX = f"sl{os.getpid() % 10000}"


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def may_make_namespaces() -> bool:
    try:
        ip("netns", "add", f"{PREFIX}t")
        ip("netns", "del", f"{PREFIX}t")
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


pytestmark = pytest.mark.skipif(not may_make_namespaces(), reason="network namespaces need root and iproute2")


@contextmanager
def hosts(mbits: list[int], racks: list[int], trunk: int | None) -> Iterator[list[str]]:
    """Namespaces with one link each into the switch of their rack; the switches are in a namespace of their own."""
    names = [f"{PREFIX}h{number}" for number in range(len(mbits))]
    switch = f"{PREFIX}s"
    try:
        ip("netns", "add", switch)
        for rack in sorted(set(racks)):
            ip("-n", switch, "link", "add", f"rack{rack}", "type", "bridge")
            ip("-n", switch, "link", "set", f"rack{rack}", "up")
        if trunk is not None:
            ip("-n", switch, "link", "add", "trunk0", "type", "veth", "peer", "name", "trunk1")
            for rack in (0, 1):
                ip("-n", switch, "link", "set", f"trunk{rack}", "master", f"rack{rack}", "up")
                shape(switch, f"trunk{rack}", trunk)
        for number, (name, mbit, rack) in enumerate(zip(names, mbits, racks, strict=True)):
            ip("netns", "add", name)
            ip("-n", switch, "link", "add", f"port{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("-n", switch, "link", "set", f"port{number}", "master", f"rack{rack}", "up")
            ip("-n", name, "address", "add", f"10.77.0.{number + 1}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
            shape(name, "eth0", mbit)
            shape(switch, f"port{number}", mbit)
        yield names
    finally:
        for name in (*names, switch):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def shape(namespace: str, device: str, mbit: int) -> None:
    limits = ["rate", f"{mbit}mbit", "burst", "64kb", "latency", "200ms"]
    ip_netns = ["ip", "netns", "exec", namespace]
    subprocess.run([*ip_netns, "tc", "qdisc", "add", "dev", device, "root", "tbf", *limits], check=True)


def reduce_on(names: list[str], sizes: list[int], folder: Path) -> list[dict[str, object]]:
    """What rank 0 found for each size: the plan, and the milliseconds of the library and of the plan, A B A B."""
    processes = [
        subprocess.Popen(
            [
                "ip",
                "netns",
                "exec",
                name,
                sys.executable,
                str(WORKER),
                str(rank),
                str(len(names)),
                str(folder),
                json.dumps(sizes),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank, name in enumerate(names)
    ]
    try:
        out = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert all(process.returncode == 0 for process in processes)
    found: list[dict[str, object]] = json.loads(out[0])
    for line in found:
        print({key: value for key, value in line.items() if key != "mbit"})
    return found


LARGE = 1 << 20


def test_two_racks_with_a_slow_trunk_and_a_bad_order(tmp_path: Path) -> None:
    with hosts([200] * 4, [0, 1, 0, 1], 40) as names:
        (found,) = reduce_on(names, [LARGE], tmp_path)
    assert found["racks"] == [[0, 2], [1, 3]]
    assert found["plan"] != "library"
    assert found["ms"] < 0.75 * found["library_ms"]  # type: ignore[operator]  # 0.4 on a machine with nothing else to do


def test_two_racks_in_a_good_order(tmp_path: Path) -> None:
    with hosts([200] * 4, [0, 0, 1, 1], 40) as names:
        (found,) = reduce_on(names, [LARGE], tmp_path)
    assert found["racks"] == [[0, 1], [2, 3]]
    assert found["plan"] != "library"


def test_a_slow_host(tmp_path: Path) -> None:
    with hosts([200, 200, 20, 200], [0] * 4, None) as names:
        (found,) = reduce_on(names, [LARGE], tmp_path)
    assert found["plan"] == "packed trees"
    assert all(2 not in parents for parents in found["trees"])  # type: ignore[attr-defined]  # a leaf of each


def test_equal_links_keep_the_library_for_large_arrays(tmp_path: Path) -> None:
    with hosts([200] * 4, [0] * 4, None) as names:
        large, small = reduce_on(names, [LARGE, 1 << 12], tmp_path)
    assert large["racks"] == [[0, 1, 2, 3]]
    assert large["plan"] in ("library", "order")
    assert small["ms"]
