"""Adapter for napkinXC's probabilistic label tree (PLT) with its defaults."""

from __future__ import annotations

from benchmarks.peers.child import Job, Peer, main, pad

PINS = ("napkinxc==0.7.2", "numpy>=1.26", "scipy>=1.11")
PEERS = [Peer("napkinxc", "napkinXC PLT", __name__, PINS, note="defaults")]


def run(job: Job) -> None:
    from importlib.metadata import version

    from napkinxc.models import PLT

    X, Y = job.matrix("X_train"), job.matrix("Y_train")
    labels = [Y.indices[a:b].tolist() for a, b in zip(Y.indptr[:-1], Y.indptr[1:], strict=True)]
    model = PLT(str(job.work / "model"), threads=job.threads, seed=job.seed)
    with job.stage("train"):
        model.fit(X, labels)
    X_test = job.matrix("X_test")
    with job.stage("predict"):
        top = model.predict(X_test, top_k=5)
    job.finish(pad([list(row) for row in top]), job.work / "model", version("napkinxc"))


if __name__ == "__main__":
    main(run)
