"""`python -m benchmarks.micro.texts`: from a text to names of labels, one at a time, and texts a second in batches.

A classifier of texts is trained on nine tenths of the training glosses of WordNet, or taken from --model; those of the
last tenth are asked for. Labels are not looked at, test rows neither. Everything is measured in turns, a round after
another, and figures are medians of the rounds. On a machine that others use too, look at processor time:

one text    ``clf.predict_topk(text, 5, names=True)``, over all labels and among n candidates; the same with features
            counted in Python and rows made by SciPy; and the features alone
batches     features of all glosses asked for: in C, in Python, and by scikit-learn's TfidfVectorizer with equal words
            and weights; and from these glosses to the names of five labels
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

import slide
from benchmarks.harness import commands, environment, tables
from slide.checks import Checked, check_X
from slide.text import counting

K = 5
CANDIDATES = 512
ONES, WARM_UP = 500, 50  # texts that are asked for one at a time in a round
ONE_HEADERS = ("one text", "median ms", "99th % ms", "processor ms")
BATCH_HEADERS = ("batch", "texts/s", "texts a processor second")


def classifier(model: str | None, epochs: int, threads: int) -> tuple[slide.SlideTextClassifier, list[str], list[str]]:
    """The classifier, the texts it was trained on and those that are asked for."""
    texts, labels, _, _ = slide.datasets.load_text("wordnet-hypernym")
    held = np.arange(len(texts)) % 10 == 9
    train, asked = (([t for t, h in zip(texts, held, strict=True) if h == part]) for part in (False, True))
    if model is not None:
        return slide.load(model, n_threads=threads), train, asked
    commands.say(f"training on {len(train):,} glosses ...")
    own = [names for names, h in zip(labels, held, strict=True) if not h]
    clf = slide.SlideTextClassifier(epochs=epochs, n_threads=threads, random_state=0)
    return clf.fit(train, own), train, asked


def in_python(clf: slide.SlideTextClassifier, text: str, n_candidates: int | None) -> Any:
    """The same answer by way of features counted in Python and a SciPy matrix."""
    known = clf.vocabulary_
    counts = counting.count([text], known.options, known.tokenizer, known.codes)
    rows = clf._encoding.scaling(check_X(known._weigh(counts)))
    ids, scores = clf.network_.predict_topk(Checked(rows), K, n_candidates=n_candidates)
    return clf._labels.names(ids), scores


def ways(clf: slide.SlideTextClassifier) -> dict[str, Callable[[str], Any]]:
    """What is done with one text."""
    n = min(CANDIDATES, clf.n_labels_)
    return {
        "names, all labels": lambda text: clf.predict_topk(text, K, names=True),
        "names, all labels, features in Python": lambda text: in_python(clf, text, None),
        f"names, {n} candidates": lambda text: clf.predict_topk(text, K, n_candidates=n, names=True),
        f"names, {n} candidates, features in Python": lambda text: in_python(clf, text, n),
        "features alone": clf._examples,
    }


def one_by_one(clf: slide.SlideTextClassifier, texts: list[str], rounds: int) -> list[dict[str, Any]]:
    """Times of single texts, each way in turn."""
    times: dict[str, list[float]] = {name: [] for name in ways(clf)}
    busy: dict[str, list[float]] = {name: [] for name in times}
    for _ in range(rounds):
        for name, ask in ways(clf).items():
            for text in texts[:WARM_UP]:
                ask(text)
            for text in texts[:ONES]:
                begin, begin_busy = time.perf_counter(), time.thread_time()
                ask(text)
                busy[name].append(time.thread_time() - begin_busy)
                times[name].append(time.perf_counter() - begin)
    return [
        {
            "name": name,
            "median_ms": 1e3 * float(np.median(t)),
            "p99_ms": 1e3 * float(np.quantile(t, 0.99)),
            "processor_ms": 1e3 * float(np.median(busy[name])),
        }
        for name, t in times.items()
    ]


def in_batches(
    clf: slide.SlideTextClassifier, vectorizer: TfidfVectorizer, texts: list[str], threads: int, rounds: int
) -> list[dict[str, Any]]:
    """Texts a second, each way in turn."""
    known, n = clf.vocabulary_, min(CANDIDATES, clf.n_labels_)
    jobs: dict[str, Callable[[], Any]] = {
        f"features, {threads} thread(s)": lambda: known(texts, threads),
        "features, 1 thread": lambda: known(texts, 1),
        "features in Python": lambda: counting.count(texts, known.options, known.tokenizer, known.codes),
        "TfidfVectorizer": lambda: vectorizer.transform(texts),
        f"names, {n} candidates": lambda: clf.predict_topk(texts, K, n_candidates=n, names=True),
        "names, all labels": lambda: clf.predict_topk(texts, K, names=True),
    }
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            begin = time.perf_counter(), time.process_time()
            job()
            rates[name].append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
    medians = {name: len(texts) / np.median(found, axis=0) for name, found in rates.items()}
    return [
        {"name": name, "texts_per_second": float(rate[0]), "texts_per_processor_second": float(rate[1])}
        for name, rate in medians.items()
    ]


def agreement(clf: slide.SlideTextClassifier, texts: list[str]) -> float:
    """Share of the exact best five that are among those of the candidates."""
    exact = clf.predict_topk(texts, K)[0]
    found = clf.predict_topk(texts, K, n_candidates=min(CANDIDATES, clf.n_labels_))[0]
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(exact, found, strict=True)]))


def cells(row: dict[str, Any]) -> list[str]:
    figures = [value for name, value in row.items() if name != "name"]
    return [row["name"], *(f"{value:.3f}" if "median_ms" in row else tables.count(value) for value in figures)]


def main(argv: Sequence[str] | None = None) -> int:
    p = commands.parser("micro.texts", __doc__)
    p.add_argument("--model", help="file of a classifier of texts; None: one is trained")
    p.add_argument("--epochs", type=int, default=5)
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--texts", type=int, default=8000, help="of a batch")
    commands.add_run_options(p, "texts")
    args = p.parse_args(argv)
    env = environment.describe(args.threads)
    clf, train, asked = classifier(args.model, args.epochs, args.threads)
    asked = asked[: args.texts]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, token_pattern=r"\w+").fit(train)
    ones = one_by_one(clf, asked, args.rounds)
    batches = in_batches(clf, vectorizer, asked, args.threads, args.rounds)
    result = {"one": ones, "batches": batches, "texts": len(asked), "recall": agreement(clf, asked[:1000])}
    path = environment.save("texts", result, env, args.out)
    print(environment.summary(env), end="\n\n")
    print(tables.markdown(ONE_HEADERS, [cells(row) for row in ones]), end="\n\n")
    print(tables.markdown(BATCH_HEADERS, [cells(row) for row in batches]))
    print(f"\n{100 * result['recall']:.1f} % of the exact best {K} are among those of {CANDIDATES} candidates")
    commands.say(f"written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
