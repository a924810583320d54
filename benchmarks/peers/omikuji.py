"""Adapter for omikuji (Parabel and Bonsai trees in Rust), one tree and its default of three.

Its trainer reads the file itself, so the training time holds the reading. Its Python binding predicts one row a
call; the prediction time is mostly those calls.
"""

from __future__ import annotations

from benchmarks.peers.child import Job, Peer, main, pad

PINS = ("omikuji==0.5.2", "numpy>=1.26", "scipy>=1.11")
NOTE = "defaults; training time holds the reading of the file; predicts one row a call"
PEERS = [
    Peer("omikuji-1", "omikuji, 1 tree", __name__, PINS, options={"trees": 1}, note=NOTE),
    Peer("omikuji-3", "omikuji, 3 trees", __name__, PINS, options={"trees": 3}, note=NOTE),
]


def run(job: Job) -> None:
    import omikuji

    parameters = omikuji.Model.default_hyper_param()
    parameters.n_trees = job.options["trees"]
    with job.stage("train"):
        model = omikuji.Model.train_on_data(str(job.train_text), parameters, job.threads)
    X = job.matrix("X_test")
    model.init_prediction_thread_pool(job.threads)
    top = []
    with job.stage("predict"):
        for start, stop in zip(X.indptr[:-1], X.indptr[1:], strict=True):
            pairs = list(zip(X.indices[start:stop].tolist(), X.data[start:stop].tolist(), strict=True))
            top.append([label for label, _ in model.predict(pairs, top_k=5)])
    model.save(str(job.work / "model"))
    job.finish(pad(top), job.work / "model", omikuji.__version__)


if __name__ == "__main__":
    main(run)
