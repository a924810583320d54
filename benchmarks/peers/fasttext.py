"""Adapter for fastText with hierarchical softmax, on features written as words.

fastText knows words, not weights: a feature becomes the word `fN` and its value is lost. 25 passes at a rate of 0.5
do far better here than its defaults of 5 and 0.1.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers.child import Job, Peer, main, pad

PEERS = [
    Peer(
        "fasttext",
        "fastText hs",
        __name__,
        ("fasttext-wheel==0.9.2", "numpy<2", "scipy<1.14"),
        options={"epoch": 25, "lr": 0.5},
        note="25 epochs, lr 0.5; feature values are lost",
    )
]


def run(job: Job) -> None:
    from importlib.metadata import version

    import fasttext

    text = job.work / "train.words"
    write_words(text, job)
    with job.stage("train"):
        model = fasttext.train_supervised(
            str(text), loss="hs", thread=job.threads, seed=job.seed, minCount=1, verbose=0, **job.options
        )
    X = job.matrix("X_test")
    lines = [" ".join(f"f{i}" for i in X.indices[a:b]) for a, b in zip(X.indptr[:-1], X.indptr[1:], strict=True)]
    with job.stage("predict"):
        top, _ = model.predict(lines, k=5)
    model.save_model(str(job.work / "model.bin"))
    ids = [[int(label.removeprefix("__label__")) for label in row] for row in top]
    job.finish(pad(ids), job.work / "model.bin", version("fasttext-wheel"))


def write_words(path: Path, job: Job) -> None:
    """One training row a line: its labels with fastText's prefix, then its features as words."""
    X, Y = job.matrix("X_train"), job.matrix("Y_train")
    with open(path, "w") as out:
        for row in range(X.shape[0]):
            labels = (f"__label__{i}" for i in Y.indices[Y.indptr[row] : Y.indptr[row + 1]])
            words = (f"f{i}" for i in X.indices[X.indptr[row] : X.indptr[row + 1]])
            out.write(" ".join([*labels, *words]) + "\n")


if __name__ == "__main__":
    main(run)
