"""Adapter for PECOS XR-Linear: its own default label features (PIFA), hierarchical k-means, linear rankers.

It needs NumPy 1 and an older SciPy, and asks for torch and transformers, which XR-Linear never imports.
Prediction goes through its predict-only model, as its manual advises: four times as fast as the one just trained.
"""

from __future__ import annotations

from benchmarks.peers.child import Job, Peer, main

PEERS = [
    Peer(
        "pecos",
        "PECOS XR-Linear",
        __name__,
        ("numpy<2", "scipy<1.14", "scikit-learn<1.8"),
        without_dependencies=("libpecos==1.2.8",),
        note="defaults (PIFA, hierarchical k-means); clustering counts as training",
    )
]


def run(job: Job) -> None:
    from importlib.metadata import version

    from pecos.xmc import Indexer, LabelEmbeddingFactory
    from pecos.xmc.xlinear.model import XLinearModel

    X, Y = job.matrix("X_train"), job.matrix("Y_train").astype("float32")
    with job.stage("train"):
        features = LabelEmbeddingFactory.create(Y, X, method="pifa")
        chain = Indexer.gen(features, threads=job.threads, seed=job.seed)
        model = XLinearModel.train(X, Y, C=chain, threads=job.threads)
    model.save(str(job.work / "model"))
    server = XLinearModel.load(str(job.work / "model"), is_predict_only=True)
    X_test = job.matrix("X_test")
    with job.stage("predict"):
        scores = server.predict(X_test, only_topk=5, threads=job.threads)
    job.finish(best_first(scores), job.work / "model", version("libpecos"))


def best_first(scores):  # type: ignore[no-untyped-def]
    """Column ids of a sparse score matrix, best first, five a row."""
    import numpy as np

    ids = np.full((scores.shape[0], 5), -1, dtype=np.int32)
    for row, (start, stop) in enumerate(zip(scores.indptr[:-1], scores.indptr[1:], strict=True)):
        order = np.argsort(-scores.data[start:stop], kind="stable")[:5]
        ids[row, : len(order)] = scores.indices[start:stop][order]
    return ids


if __name__ == "__main__":
    main(run)
