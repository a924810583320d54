"""``slide eval``: scores a saved model on data with known labels."""

from __future__ import annotations

import json
import os
from argparse import Namespace

import slide
from slide.cli.models import load_model, network_of
from slide.cli.options import add_format, add_json, add_model, add_prediction_workers, add_propensity, add_scoring
from slide.cli.parser import Parser, Verb
from slide.cli.scoring import METRICS, filtered_pairs, frequency_table, input_of, score, table

EXAMPLES = """\
examples:
  slide eval model.slide test.txt --train train.txt
  slide eval model.slide wordnet-hypernym --by-frequency
  slide eval folder/ test.txt --engine torch --workers 2
  slide eval model.slide tst_X_Xf.txt --train trn_X_Xf.txt --filter-labels filter_labels_test.txt
"""


def add_options(parser: Parser) -> None:
    """The model, rows, and where label frequencies come from."""
    add_model(parser)
    parser.add_argument("data", metavar="DATA", help="a file, or an embedded data set (its test part)")
    add_format(parser)
    parser.add_argument("--train", metavar="DATA", help="what it was trained on: label frequencies for PSP@k")
    text = "pairs of a row and a label that are not scored, as in the repository's filter_labels_test.txt"
    parser.add_argument("--filter-labels", metavar="FILE", help=text)
    text = "also recall and precision of rare and frequent labels"
    parser.add_argument("--by-frequency", action="store_true", help=text)
    add_json(parser)
    add_propensity(parser)
    add_scoring(parser)
    add_prediction_workers(parser)


def _bytes_of(path: str) -> int:
    """Of a file, or of all files in a folder."""
    files = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names] or [path]
    return sum(os.path.getsize(file) for file in files)


def run(args: Namespace) -> int:
    """Scores and prints."""
    known = args.train or args.data in slide.datasets.names()
    if args.by_frequency and not known:
        raise ValueError("--by-frequency: found no --train, wanted the training data to count labels in")
    model = load_model(args)
    data, Y_train = input_of(model, args.model).scored(args.data, args.train, args.format)
    pairs = filtered_pairs(args.filter_labels, data) if args.filter_labels else None
    print(data, flush=True)
    net = network_of(model)
    facts = {
        "model": args.model,
        "model_bytes": _bytes_of(args.model),
        "n_features": net.n_features,
        "n_labels": net.n_labels,
        "train_seconds": getattr(model, "fit_seconds_", None),
        "samples_per_second": getattr(model, "samples_per_second_", None),
        **dict.fromkeys(METRICS),
        **score(model, data, Y_train, args.n_candidates, pairs, A=args.A, B=args.B),
    }
    print(table(facts))
    if Y_train is None:
        print("PSP@k and PSnDCG@k need the training data: --train DATA")
    if args.by_frequency:
        print(frequency_table(facts))
    if args.json:
        print(json.dumps(facts))
    return 0


VERB = Verb(
    "eval",
    "MODEL DATA [--train DATA] [--json] [options]",
    "score a saved model on data with known labels",
    add_options,
    run,
    EXAMPLES,
)
