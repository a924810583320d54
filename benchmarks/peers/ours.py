"""Adapter for slide itself: the estimator with its defaults, in the interpreter that runs the benchmark."""

from __future__ import annotations

from benchmarks.peers.child import Job, Peer, main

PEERS = [Peer("slide", "slide", __name__, ours=True, note="estimator defaults")]


def run(job: Job) -> None:
    import slide

    X, Y = job.matrix("X_train"), job.matrix("Y_train")
    model = slide.SlideClassifier(n_threads=job.threads, random_state=job.seed, **job.options)
    with job.stage("train"):
        model.fit(X, Y)
    X_test = job.matrix("X_test")
    with job.stage("predict"):
        ids, _ = model.predict_topk(X_test, k=min(5, Y.shape[1]))
    path = job.work / "model.slide"
    model.save(path)
    job.finish(ids, path, slide.__version__)


if __name__ == "__main__":
    main(run)
