"""Makes golden model files: small models of every kind, written by the slide that is imported, with what they predict.

    python tests/io/make_golden.py WRITER [KIND ...]

writes tests/io/golden/WRITER/KIND.slide and, beside it, KIND.json with the predictions of the slide that wrote it;
without KIND, all kinds that this slide knows. WRITER says which slide that is: its version, or for a commit between two
versions the commit. Do so once for each format version, kind and option that files come to hold, before anything reads
them otherwise; never again for a WRITER that is there: the worth of these files is that nobody touches them.

The files of older commits were made by this script with PYTHONPATH at a checkout of them; kinds that such a slide does
not know are left out, and named. tests/io/test_golden_models.py reads all of them.
"""

from __future__ import annotations

import datetime
import functools
import json
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

import slide
from slide.lsh import HashFamily

GOLDEN = Path(__file__).resolve().parent / "golden"
N_TRAIN, N_ASKED, N_FEATURES, N_LABELS, HIDDEN, K = 300, 6, 24, 24, 16, 5
N_CANDIDATES = 10
EPOCHS = 3
NETWORK_EPOCHS = 2
SAVED_AFTER = 2  # this many checkpoints of a fit, the file is taken


@dataclass(frozen=True)
class Rows:
    """Rows to train on, X CSR float32 and Y an indicator, and rows to ask for, in the same form."""

    X: sp.csr_array
    Y: sp.csr_array
    X_asked: sp.csr_array
    Y_asked: sp.csr_array


@functools.cache
def rows() -> Rows:
    """The same in all versions of all libraries: whole numbers from a generator that is written out here."""
    state = 1

    def draw(n: int) -> int:
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (state >> 33) % n

    n = N_TRAIN + N_ASKED
    X, Y = np.zeros((n, N_FEATURES), np.float32), np.zeros((n, N_LABELS), np.float32)
    for i in range(n):
        for label in (draw(N_LABELS), draw(N_LABELS)):
            Y[i, label] = 1
            for j in range(3):
                X[i, (7 * label + j * (label % 5 + 1)) % N_FEATURES] += 1
        X[i, draw(N_FEATURES)] += 0.5
    sparse = [sp.csr_array(part) for part in (X[:N_TRAIN], Y[:N_TRAIN], X[N_TRAIN:], Y[N_TRAIN:])]
    return Rows(*sparse)


def texts(X: sp.csr_array) -> list[str]:
    """A word for each feature of a row."""
    return [" ".join(f"w{i}" for i in row) for row in np.split(X.indices, X.indptr[1:-1])]


def marked_texts(X: sp.csr_array) -> list[str]:
    """The same in words with marks: Hindi, and accents that stand after their letters."""
    words = ("w{}", "\u0939\u093f{}\u0928\u094d\u0926\u0940", "e\u0301te\u0301{}")
    return [" ".join(words[i % 3].format(i) for i in row) for row in np.split(X.indices, X.indptr[1:-1])]


def first_label(Y: sp.csr_array) -> Any:
    """int64 [n]: one class a row."""
    return Y.indices[Y.indptr[:-1]].astype(np.int64)


def lists(Y: sp.csr_array) -> list[list[str]]:
    """Labels by name, with a letter outside of ASCII."""
    return [[f"läbel {i}" for i in row] for row in np.split(Y.indices, Y.indptr[1:-1])]


def dense(X: sp.csr_array) -> Any:
    """A table in which most entries are not 0, so that its columns are scaled."""
    return X.toarray() + 1


class Signs(HashFamily):
    """A hash family of the user's own: the signs of the first K coordinates, of the next K in the next table."""

    def codes(self, vectors: Any, choices: Any) -> Any:
        bits = (vectors[:, : self.K * self.L] > 0).reshape(len(vectors), self.L, self.K)
        return bits @ (1 << np.arange(self.K))


# -- what there is -----------------------------------------------------------------------------------------------------

SMALL = {"K": 3, "L": 4, "capacity": 15}


def cells() -> Any:
    return slide.QueryCells(K=6, capacity=15)


def classifier(**options: Any) -> Any:
    """One of few active labels, so that its tables are asked."""
    defaults = {"hidden": (HIDDEN,), "epochs": EPOCHS, "n_active": 12, "n_random": 3, "n_threads": 1}
    return slide.SlideClassifier(**{**defaults, **options})


def text_classifier(**options: Any) -> Any:
    defaults = {"hidden": (HIDDEN,), "epochs": EPOCHS, "n_active": 12, "n_random": 3, "n_threads": 1}
    defaults |= {"features": slide.TextFeatures(words=1), "lsh": slide.SimHash(**SMALL)}
    return slide.SlideTextClassifier(**{**defaults, **options})


def network(lsh: Any = None, *, layers: Any = None, query: str = "input", **options: Any) -> Any:
    asks = {} if query == "input" else {"query": query}
    last = slide.Sampled(N_LABELS, n_active=12, n_random=3, lsh=lsh, **asks)
    stack = [slide.SparseInput(N_FEATURES, HIDDEN), *(layers or []), last]
    return slide.Network(stack, n_threads=1, **options)


def trained(lsh: Any = None, **options: Any) -> Any:
    data = rows()
    return network(lsh, **options).fit(data.X, data.Y, epochs=NETWORK_EPOCHS)


def fitted(**options: Any) -> Any:
    data = rows()
    return classifier(**options).fit(data.X, data.Y)


def with_frame() -> Any:
    import pandas as pd

    data = rows()
    columns = [f"feature {i}" for i in range(N_FEATURES)]
    return classifier().fit(pd.DataFrame(data.X.toarray(), columns=columns), lists(data.Y))


def resized() -> Any:
    data = rows()
    clf = classifier().fit(data.X, lists(data.Y))
    clf.add_labels(["new", "newer"]).forget(["läbel 3"])
    y = [[name if name != "läbel 3" else "new" for name in row] for row in lists(data.Y)]
    return clf.partial_fit(data.X, y)


def stopped_early() -> Any:
    data = rows()
    stop = slide.EarlyStopping(patience=1, metric="p@1")
    return classifier(epochs=6).fit(data.X, data.Y, eval_set=(data.X_asked, data.Y_asked), early_stopping=stop)


def interrupted() -> Any:
    """Saved in the middle of a fit: its tables are older than its weights, so that the file holds them."""
    data, net = rows(), network(slide.SimHash(**SMALL))

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    try:
        net.fit(data.X, data.Y, epochs=NETWORK_EPOCHS, callback=stop)
    except KeyboardInterrupt:
        return net
    raise AssertionError("nobody interrupted")


def calibrated(threshold: Any = None, one_class: bool = False) -> Any:
    """Probabilities, and thresholds of labels, learned on rows that stand for others."""
    data = rows()
    X, Y = data.X[:200], data.Y[:200]
    held = data.X[200:], data.Y[200:]
    if one_class:
        return classifier().fit(X, first_label(Y), calibrate=(held[0], first_label(held[1])))
    return classifier(threshold=threshold).fit(X, Y, calibrate=held)


def with_leaves() -> Any:
    """A network as from 4,096 labels and 512 rows on."""
    from unittest import mock

    from slide.model import leaves

    with mock.patch.multiple(leaves, FROM_LABELS=N_LABELS, ROWS_A_LEAF=2, CAPACITY=15):
        net = trained(cells(), batch_size=4)
    assert net.leaves is not None
    return net


def fit_text(clf: Any) -> Any:
    data = rows()
    return clf.fit(texts(data.X), lists(data.Y))


#: Names of labels that JSON does not have.
NAMES: dict[str, Callable[[int], Any]] = {
    "nanoseconds": lambda i: np.datetime64(10**18 + i, "ns"),
    "bytes": lambda i: bytes([255, i, 10]),
    "calendar": lambda i: datetime.date(2024, 2, 1 + i),
    "uuids": lambda i: uuid.UUID(int=i * 2**100),
}


def of_names(name: Callable[[int], Any]) -> Any:
    return classifier().fit(rows().X, [name(int(i)) for i in first_label(rows().Y)])


MODELS: dict[str, Callable[[], Any]] = {
    "classifier": fitted,
    "classifier-network-alone": lambda: fitted(wide=False),
    "classifier-options": lambda: fitted(
        hidden=(HIDDEN, 12),
        loss="binary",
        activation="relu",
        dropout=0.2,
        wide=slide.Wide(lr=0.1),
        optimizer=slide.Adam(),
    ),
    "classifier-schedule": lambda: fitted(schedule=slide.Cosine(warmup=0.1), rebuild=slide.Rebuild(every=200)),
    "classifier-classes": lambda: classifier().fit(rows().X, first_label(rows().Y) * 3 - 7),
    "classifier-lists": lambda: classifier().fit(rows().X, lists(rows().Y)),
    "classifier-dense": lambda: classifier().fit(dense(rows().X), rows().Y.toarray()),
    "classifier-linear": lambda: classifier(hidden=(), lsh=cells()).fit(dense(rows().X), first_label(rows().Y)),
    "classifier-linear-compressed": lambda: (
        classifier(hidden=()).fit(dense(rows().X), first_label(rows().Y)).compress()
    ),
    "classifier-dates": lambda: classifier().fit(rows().X, [f"2024-02-{day:02}" for day in 1 + first_label(rows().Y)]),
    **{f"classifier-{name}": lambda name=name: of_names(NAMES[name]) for name in NAMES},
    "classifier-frame": with_frame,
    "classifier-resized": resized,
    "classifier-stopped-early": stopped_early,
    "classifier-calibrated": calibrated,
    "classifier-calibrated-classes": lambda: calibrated(one_class=True),
    "classifier-thresholds-compressed": lambda: calibrated("macro-f1").compress(),
    "classifier-compressed": lambda: fitted(lsh=cells()).compress(),
    "classifier-bfloat16": lambda: fitted(lsh=cells(), storage="bfloat16"),
    "classifier-ranked": lambda: fitted(wide=slide.Rank(n_negatives=8, C=1.0)),
    "classifier-ranked-compressed": lambda: fitted(lsh=cells(), wide=slide.Rank(n_negatives=8, C=1.0)).compress(),
    "text": lambda: fit_text(text_classifier()),
    "text-pairs": lambda: fit_text(
        text_classifier(features=slide.TextFeatures(max_features=60, stop_words=("w1",)), lsh="auto", wide=False)
    ),
    "text-characters": lambda: fit_text(
        text_classifier(features=slide.TextFeatures(words=0, characters=(2, 3), buckets=64), wide=False)
    ),
    "text-compressed": lambda: fit_text(text_classifier()).compress(),
    "text-marks": lambda: text_classifier().fit(marked_texts(rows().X), lists(rows().Y)),
    "network-uniform": trained,
    "network-dense": lambda: slide.Network(
        [slide.SparseInput(N_FEATURES, HIDDEN), slide.Dense(N_LABELS)], optimizer=slide.SGD(0.1), n_threads=1
    ).fit(rows().X, rows().Y),
    "network-deep": lambda: trained(
        slide.SimHash(**SMALL),
        layers=[
            slide.Dense(12, activation="tanh"),
            slide.Sampled(20, n_active=12, n_random=4, lsh=slide.DWTA(K=1, L=4, capacity=15)),
        ],
        wide=slide.Wide(),
    ),
    "network-sgd": lambda: trained(slide.SimHash(**SMALL), optimizer=slide.SGD(0.1, weight_decay=0.001)),
    "network-adagrad": lambda: trained(slide.SimHash(**SMALL), optimizer=slide.Adagrad(per_row=False)),
    "network-adam": lambda: trained(slide.SimHash(**SMALL), optimizer=slide.Adam()),
    "network-simhash": lambda: trained(slide.SimHash(**SMALL)),
    "network-simhash-fifo": lambda: trained(slide.SimHash(**SMALL, policy="fifo")),
    "network-simhash-plain": lambda: trained(slide.SimHash(**SMALL, centred=False)),
    "network-simhash-threshold": lambda: trained(slide.SimHash(**SMALL, selection="threshold", min_count=1, probes=2)),
    "network-simhash-label": lambda: trained(slide.SimHash(**SMALL), query="label"),
    "network-wta": lambda: trained(slide.WTA(K=1, L=4, capacity=15)),
    "network-dwta": lambda: trained(slide.DWTA(K=1, L=4, capacity=15)),
    "network-minhash": lambda: trained(slide.MinHash(K=1, L=4, capacity=15)),
    "network-euclidean": lambda: trained(slide.EuclideanHash(K=1, L=4, capacity=15)),
    "network-query-cells": lambda: trained(cells(), batch_size=4),
    "network-custom": lambda: trained(Signs(**SMALL)),
    **{
        f"network-simhash-{name}": lambda name=name: trained(slide.SimHash(**SMALL, directions=name))
        for name in ("gaussian", "sparse", "hadamard", "trained")
    },
    **{
        f"network-simhash-{name}": lambda name=name: trained(slide.SimHash(**SMALL, transform=name))
        for name in ("norm-augmented", "norm-ranging", "sign-alsh")
    },
    "network-euclidean-l2-alsh": lambda: trained(slide.EuclideanHash(K=1, L=4, capacity=15, transform="l2-alsh")),
    "network-incremental": lambda: trained(
        slide.SimHash(**SMALL), rebuild=slide.Rebuild(every=150, drift=0.05, incremental=True)
    ),
    "network-interrupted": interrupted,
    "network-leaves": with_leaves,
    "network-leaves-compressed": lambda: with_leaves().compress(),
    "network-compressed": lambda: trained(slide.SimHash(**SMALL), wide=slide.Wide()).compress(),
    "network-compressed-query-cells": lambda: trained(cells()).compress(),
    "network-bfloat16": lambda: trained(slide.SimHash(**SMALL), storage="bfloat16"),
}

#: Fits whose checkpoint is the file: an untrained model and what `fit` is called with.
CHECKPOINTS: dict[str, Callable[[], tuple[Any, dict[str, Any]]]] = {
    "checkpoint-classifier": lambda: (classifier(lsh=cells()), {"X": rows().X, "y": rows().Y}),
    "checkpoint-lists": lambda: (
        classifier(wide=False, lsh=slide.SimHash(**SMALL)),
        {"X": rows().X, "y": lists(rows().Y)},
    ),
    "checkpoint-evaluated": lambda: (
        classifier(epochs=5, wide=False, lsh=cells()),
        {
            **{"X": rows().X, "y": rows().Y, "eval_set": (rows().X_asked, rows().Y_asked)},
            "early_stopping": slide.EarlyStopping(patience=4, metric="p@1", restore_best=False),
        },
    ),
    "checkpoint-text": lambda: (text_classifier(), {"X": texts(rows().X), "y": lists(rows().Y)}),
    "checkpoint-bfloat16": lambda: (classifier(lsh=cells(), storage="bfloat16"), {"X": rows().X, "y": rows().Y}),
    "checkpoint-network-simhash": lambda: of_network(slide.SimHash(**SMALL), wide=slide.Wide()),
    "checkpoint-network-trained": lambda: of_network(slide.SimHash(**SMALL, directions="trained")),
    "checkpoint-network-query-cells": lambda: of_network(cells(), optimizer=slide.Adam()),
    "checkpoint-network-incremental": lambda: of_network(
        slide.SimHash(**SMALL), rebuild=slide.Rebuild(every=150, incremental=True)
    ),
    "checkpoint-network-custom": lambda: of_network(Signs(**SMALL)),
}


def of_network(lsh: Any, **options: Any) -> tuple[Any, dict[str, Any]]:
    return network(lsh, **options), {"X": rows().X, "Y": rows().Y, "epochs": EPOCHS}


# -- what they predict -------------------------------------------------------------------------------------------------


def asked(kind: str, model: Any, *, training: bool = False) -> Any:
    """The rows to ask for, or those to train on, as a model of this kind takes them."""
    X = rows().X if training else rows().X_asked
    if kind.startswith(("classifier-dense", "classifier-linear")):
        return dense(X)
    if type(model).__name__ == "SlideTextClassifier":
        return marked_texts(X) if kind == "text-marks" else texts(X)
    if getattr(model, "feature_names_in_", None) is not None:
        import pandas as pd

        return pd.DataFrame(X.toarray(), columns=list(model.feature_names_in_))
    return X


def predicted(kind: str, model: Any) -> dict[str, Any]:
    """The best labels of those rows and their scores, exactly and, where there are tables, by these."""
    X = asked(kind, model)
    found = {"exact": as_json(model.predict_topk(X, k=K))}
    if getattr(getattr(model, "network_", model).layers[-1], "lsh", None) is not None:
        found["by tables"] = as_json(model.predict_topk(X, k=K, n_candidates=N_CANDIDATES))
    if hasattr(model, "predict"):
        found["predict"] = plain(model.predict(X))
    if getattr(model, "calibration_", None) is not None:
        found["probabilities"] = as_json(model.predict_topk(X, k=K, proba=True))
    return found


def plain(answer: Any) -> list[Any]:
    """What `predict` gave, as JSON has it; dates as text."""
    dense = answer.toarray() if sp.issparse(answer) else answer
    values: list[Any] = json.loads(
        json.dumps(list(dense), default=lambda v: v.tolist() if hasattr(v, "tolist") else str(v))
    )
    return values


def as_json(top: tuple[Any, Any]) -> dict[str, Any]:
    ids, scores = top
    exact = [
        [float(np.format_float_positional(s, unique=True)) if np.isfinite(s) else None for s in row] for row in scores
    ]
    return {"ids": ids.tolist(), "scores": exact}


def own_family(kind: str) -> Any:
    """What slide.load needs to be told, for these kinds."""
    return Signs(**SMALL) if kind.endswith("-custom") else None


def load(path: Path) -> Any:
    """The model in a golden file."""
    own = own_family(path.stem)
    return slide.load(path, n_threads=1, **({} if own is None else {"lsh": own}))


# -- files -------------------------------------------------------------------------------------------------------------


def make(kind: str, folder: Path) -> dict[str, Any]:
    """Writes the model's file and returns what its JSON file says."""
    path = folder / f"{kind}.slide"
    if kind in MODELS:
        model = MODELS[kind]()
        model.save(path)
        return {"step": getattr(model, "network_", model).step, "predicted": predicted(kind, model)}
    model, finished = take_checkpoint(kind, path)
    return {
        "step": getattr(model, "network_", model).step,
        "predicted": predicted(kind, model),
        "finished": {"step": getattr(finished, "network_", finished).step, "predicted": predicted(kind, finished)},
    }


def take_checkpoint(kind: str, path: Path) -> tuple[Any, Any]:
    """Copies a checkpoint while the fit goes on. The model in it, and the one at the end of the fit."""
    model, arguments = CHECKPOINTS[kind]()
    with tempfile.TemporaryDirectory() as room:
        target, replace, times = Path(room) / "run.checkpoint", os.replace, 0

        def copying(source: Any, where: Any, **options: Any) -> None:
            nonlocal times
            replace(source, where, **options)
            times += Path(where) == target
            if times == SAVED_AFTER and not path.exists():
                shutil.copy(target, path)

        os.replace = copying  # checkpoints are written beside and moved
        try:
            model.fit(**arguments, checkpoint=slide.Checkpoint(target, minutes=None, samples=1))
        finally:
            os.replace = replace
    return load(path), model


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0].startswith("-"):
        print(__doc__)
        return 2
    writer, kinds = arguments[0], arguments[1:] or [*MODELS, *CHECKPOINTS]
    folder = GOLDEN / writer
    folder.mkdir(parents=True, exist_ok=True)
    unknown = []
    for kind in kinds:
        if (folder / f"{kind}.json").exists():
            print(f"{folder / kind}: is there already", file=sys.stderr)
            return 1
        try:
            facts = make(kind, folder)
        except (AttributeError, ImportError, TypeError, ValueError) as e:
            (folder / f"{kind}.slide").unlink(missing_ok=True)
            unknown.append(f"{kind} ({type(e).__name__}: {e})")
            continue
        (folder / f"{kind}.json").write_text(json.dumps(facts, indent=None, separators=(",", ":")) + "\n")
    print(f"{writer}: {len(kinds) - len(unknown)} files by {slide.__file__}")
    for line in unknown:
        print(f"  not by this slide: {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
