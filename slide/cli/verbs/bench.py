"""``slide bench``: where the time goes for a data set and a configuration."""

from __future__ import annotations

import json
import os
import time
from argparse import Namespace

from slide.cli.fitting import classifier_options, kind_of_data
from slide.cli.options import add_classifier, add_format, add_json, add_text
from slide.cli.parser import Parser, Verb
from slide.cli.text_data import TextRows
from slide.training import bars
from slide.training.callbacks import Shown

PREDICTED = 10_000  # rows at most
SHARE = 0.02  # of the labels that are candidates of the tables

EXAMPLES = """\
examples:
  slide bench wordnet-hypernym
  slide bench train.txt --epochs 1 --batch-size 1 --lsh simhash
  slide bench data.csv --text title,body --labels tags --label-separator ';'
"""


def add_options(parser: Parser) -> None:
    """Data, and every option of a fit."""
    parser.add_argument("data", metavar="DATA", help="training data: a file, or the name of an embedded data set")
    add_format(parser)
    add_json(parser)
    add_text(parser)
    add_classifier(parser)
    parser.set_defaults(rows_at_once=None)


def run(args: Namespace) -> int:
    """Reads, trains, predicts; prints a table for the training and a line for each way to predict."""
    from slide.report.profile import profile, speed

    kind = kind_of_data(args)
    kind.check(args)
    clf = kind.classifier(args, classifier_options(args))
    begin = time.perf_counter()
    data = kind.read(args)
    seconds = time.perf_counter() - begin
    print(data.describe(None), flush=True)
    n_bytes = os.path.getsize(args.data) if os.path.exists(args.data) else 0
    rate = f", {n_bytes / 1e6 / seconds:,.0f} MB/s" if n_bytes else ""
    print(f"read in {seconds:.2f} s{rate}", flush=True)
    with bars.follow_fit(clf.epochs * data.n_rows) as shown:
        found = profile(clf, *data.rows, callback=Shown(shown))
    print(found, flush=True)
    X = (data.held_out(None) or data).encoded(clf).X
    rows = X.first(PREDICTED) if isinstance(X, TextRows) else X[:PREDICTED]
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
