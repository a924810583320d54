"""``slide bench``: where the time goes for a data set and a configuration."""

from __future__ import annotations

import json
import os
import time
from argparse import Namespace

from slide.cli.data import read_data
from slide.cli.fitting import classifier_options
from slide.cli.options import add_classifier, add_json
from slide.cli.parser import Parser, Verb
from slide.estimator.classifier import SlideClassifier
from slide.training import bars
from slide.training.callbacks import Shown

PREDICTED = 10_000  # rows at most
SHARE = 0.02  # of the labels that are candidates of the tables

EXAMPLES = """\
examples:
  slide bench wordnet-hypernym
  slide bench train.txt --epochs 1 --batch-size 1 --lsh simhash
"""


def add_options(parser: Parser) -> None:
    """Data, and every option of a fit."""
    parser.add_argument("data", metavar="DATA", help="training data: a file, or the name of an embedded data set")
    add_json(parser)
    add_classifier(parser)


def run(args: Namespace) -> int:
    """Reads, trains, predicts; prints a table for the training and a line for each way to predict."""
    from slide.report.profile import profile, speed

    begin = time.perf_counter()
    data = read_data(args.data)
    seconds = time.perf_counter() - begin
    clf = SlideClassifier(**classifier_options(args))
    print(data, flush=True)
    n_bytes = os.path.getsize(args.data) if os.path.exists(args.data) else 0
    rate = f", {n_bytes / 1e6 / seconds:,.0f} MB/s" if n_bytes else ""
    print(f"read in {seconds:.2f} s{rate}", flush=True)
    with bars.follow_fit(clf.epochs * data.n_rows) as shown:
        found = profile(clf, data.X, data.Y, callback=Shown(shown))
    print(found, flush=True)
    rows = (data.test or data).X[:PREDICTED]
    ways: list[int | None] = [None]
    if clf.network_.states[-1].lsh is not None:
        ways.append(min(max(round(SHARE * clf.n_labels_), 5), clf.n_labels_))
    speeds = [speed(clf, rows, n_candidates) for n_candidates in ways]
    for one in speeds:
        print(one)
    if args.json:
        reading = {"seconds": seconds, "bytes": n_bytes or None}
        print(json.dumps({"reading": reading, "training": found.to_dict(), "predicting": [vars(s) for s in speeds]}))
    return 0


VERB = Verb(
    "bench",
    "DATA [--json] [options]",
    "train on data and say where the time goes: hashing, passes, updates, sparse part, rebuilds, reading",
    add_options,
    run,
    EXAMPLES,
)
