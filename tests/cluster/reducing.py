"""One worker in a namespace, for test_namespaces.py: `reducing.py RANK SIZE FOLDER SIZES`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from slide.distributed.transport import topology
from slide.distributed.transport.gloo import GlooGroup, Store, join_store
from slide.distributed.transport.topology import PlannedGroup

TIMES = 5


def main(rank: int, size: int, folder: Path, sizes: list[int]) -> None:
    first = "10.77.0.1"
    place = folder / "port"
    if rank == 0:
        kept = Store(first)
        place.with_suffix(".new").write_text(str(kept.port))
        place.with_suffix(".new").rename(place)
    while not place.exists():
        time.sleep(0.05)
    group = GlooGroup(join_store(first, int(place.read_text()), "slide/0"), rank, size, host=f"10.77.0.{rank + 1}")
    planned = topology.planned(group, group.host)
    assert isinstance(planned, PlannedGroup)
    found = [compared(group, planned, nbytes) for nbytes in sizes]
    if rank == 0:
        print(json.dumps(found))
    group.all_reduce(np.zeros(1))
    time.sleep(0.5)  # the store is rank 0's


def compared(group: Any, planned: PlannedGroup, nbytes: int) -> dict[str, Any]:
    plan = planned.plan_for(nbytes)
    best = {"library": np.inf, "planned": np.inf}
    for _ in range(TIMES):
        for name, reduce in (("library", group.all_reduce), ("planned", planned.all_reduce)):
            array = np.full(nbytes // 4, group.rank, np.float32)
            group.all_reduce(np.zeros(1))
            began = time.perf_counter()
            reduce(array)
            seconds = time.perf_counter() - began
            assert (array == sum(range(group.size))).all()
            best[name] = min(best[name], float(group.all_gather(np.array([seconds])).max()))
    network = planned._network
    return {
        "bytes": nbytes,
        "plan": plan.name,
        "trees": [tree.parents for tree in plan.trees],
        "order": plan.order,
        "racks": None if network is None else network.racks,
        "mbit": None if network is None else (network.alone * 8e-6).round().tolist(),
        "library_ms": round(1000 * best["library"], 2),
        "ms": round(1000 * best["planned"], 2),
    }


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4]))
