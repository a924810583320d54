"""The side of `retrieval.py` that runs in the libraries' environment: builds one index, measures it, writes JSON.

Never imports slide. `python -m benchmarks.studies.ann_child NAME problem.npz out.json THREADS`.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PINS = ("hnswlib==0.8.0", "faiss-cpu==1.15.1", "numpy>=1.26")
TITLES = {"hnswlib": "hnswlib HNSW", "faiss-hnsw": "faiss HNSW", "faiss-ivf": "faiss IVF"}
M, EF_CONSTRUCTION = 16, 200
BREADTHS = (10, 20, 40, 80, 160, 320)
PROBES = (1, 2, 4, 8, 16, 32)
TOP = 10
SECONDS = 0.5  # each search is repeated for as long
UPDATED = 0.01  # share of the rows that are put in again


class Hnswlib:
    """hnswlib: rows can be moved in place; how many it compares a query with, it does not say."""

    settings = tuple(("ef", ef) for ef in BREADTHS)
    n_guides = 0

    def __init__(self, vectors: Any, threads: int) -> None:
        import hnswlib
        import numpy as np

        self.index = hnswlib.Index(space="ip", dim=vectors.shape[1])
        self.index.init_index(max_elements=len(vectors), M=M, ef_construction=EF_CONSTRUCTION, random_seed=0)
        self.index.set_num_threads(threads)
        self.index.add_items(vectors, np.arange(len(vectors)))

    def search(self, queries: Any, setting: int) -> Any:
        self.index.set_ef(setting)
        return self.index.knn_query(queries, TOP)[0]

    def compared(self, queries: Any, setting: int) -> float | None:
        return None

    def update(self, vectors: Any, ids: Any) -> bool:
        self.index.add_items(vectors[ids], ids)
        return True

    def n_bytes(self) -> int:
        return int(self.index.index_file_size())


class Faiss:
    """What both indexes of faiss share."""

    index: Any
    n_guides = 0  # products with a query that say where to look, beside those with labels

    def __init__(self, threads: int) -> None:
        import faiss

        self.faiss = faiss
        faiss.omp_set_num_threads(threads)

    def n_bytes(self) -> int:
        return int(self.faiss.serialize_index(self.index).nbytes)


class FaissHnsw(Faiss):
    """The same kind of graph; rows cannot be taken out or moved."""

    settings = tuple(("ef", ef) for ef in BREADTHS)

    def __init__(self, vectors: Any, threads: int) -> None:
        super().__init__(threads)
        self.index = self.faiss.IndexHNSWFlat(vectors.shape[1], M, self.faiss.METRIC_INNER_PRODUCT)
        self.index.hnsw.efConstruction = EF_CONSTRUCTION
        self.index.add(vectors)

    def search(self, queries: Any, setting: int) -> Any:
        self.index.hnsw.efSearch = setting
        return self.index.search(queries, TOP)[1]

    def compared(self, queries: Any, setting: int) -> float | None:
        self.faiss.cvar.hnsw_stats.reset()
        self.search(queries, setting)
        return self.faiss.cvar.hnsw_stats.ndis / len(queries)

    def update(self, vectors: Any, ids: Any) -> bool:
        return False


class FaissIvf(Faiss):
    """Inverted lists around k-means centres of the rows; 4 sqrt(n) lists, as its documentation advises."""

    settings = tuple(("probes", n) for n in PROBES)

    def __init__(self, vectors: Any, threads: int) -> None:
        super().__init__(threads)
        dim, metric = vectors.shape[1], self.faiss.METRIC_INNER_PRODUCT
        self.coarse = self.faiss.IndexFlatIP(dim)
        self.n_guides = max(1, min(round(4 * len(vectors) ** 0.5), len(vectors) // 39))
        self.index = self.faiss.IndexIVFFlat(self.coarse, dim, self.n_guides, metric)
        self.index.train(vectors)
        self.index.add(vectors)

    def search(self, queries: Any, setting: int) -> Any:
        self.index.nprobe = min(setting, self.n_guides)
        return self.index.search(queries, TOP)[1]

    def compared(self, queries: Any, setting: int) -> float | None:
        self.faiss.cvar.indexIVF_stats.reset()
        self.search(queries, setting)
        return self.faiss.cvar.indexIVF_stats.ndis / len(queries)

    def update(self, vectors: Any, ids: Any) -> bool:
        self.index.remove_ids(self.faiss.IDSelectorBatch(ids))
        self.index.add_with_ids(vectors[ids], ids)
        return True


INDEXES: dict[str, Callable[[Any, int], Any]] = {"hnswlib": Hnswlib, "faiss-hnsw": FaissHnsw, "faiss-ivf": FaissIvf}


def timed(call: Callable[[], Any], seconds: float = SECONDS) -> tuple[Any, float]:
    """What the call returns, and the median of its times when repeated for so long, at least three times."""
    result, times = call(), []
    stop = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < stop:
        begin = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - begin)
    return result, statistics.median(times)


def recall(exact: Any, found: Any) -> float:
    """Share of the exact ids [n, k] that are among the found [n, m], -1 padded."""
    import numpy as np

    return float(np.mean([np.isin(e, f).mean() for e, f in zip(exact, found, strict=True)]))


def measure(name: str, vectors: Any, queries: Any, exact: Any, threads: int) -> dict[str, Any]:
    """Everything the table and the plots show of one index."""
    import numpy as np

    begin = time.perf_counter()
    index = INDEXES[name](vectors, threads)
    build_seconds = time.perf_counter() - begin
    points = []
    for what, setting in index.settings:
        found, seconds = timed(lambda setting=setting: index.search(queries, setting))
        compared = index.compared(queries, setting)
        points.append(
            {
                "setting": f"{what} {setting}",
                "candidates": None if compared is None else compared / len(vectors),
                "recall": recall(exact, found),
                "queries_per_second": len(queries) / seconds,
            }
        )
    memory = index.n_bytes()
    moved = np.random.default_rng(0).permutation(len(vectors))[: max(1, round(UPDATED * len(vectors)))].astype(np.int64)
    begin = time.perf_counter()
    done = index.update(vectors, moved)
    return {
        "status": "ok",
        "build_seconds": build_seconds,
        "update_seconds": time.perf_counter() - begin if done else None,
        "extra_bytes": memory,
        "guides": index.n_guides,
        "points": points,
    }


def main(name: str, problem: str, out: str, threads: str) -> None:
    import numpy as np

    arrays = np.load(problem)
    row = measure(name, arrays["vectors"], arrays["queries"], arrays["exact"], int(threads))
    Path(out).write_text(json.dumps(row))


if __name__ == "__main__":
    main(*sys.argv[1:])
