"""``slide train``: data and options become a fit, a model file and scores, whatever the kind of data.

The kinds are in slide/cli/data.py and slide/cli/text_data.py, what the fit is given and leaves in slide/cli/fitting.py.
"""

from __future__ import annotations

import json
import os
import sys
import time
from argparse import Namespace
from typing import Any

from slide.autotuning import autotune
from slide.cli.data import BlockData, TrainingData
from slide.cli.files import is_stream, size
from slide.cli.fitting import (
    FitOptions,
    apply_preset,
    classifier_options,
    interrupted,
    kind_of_data,
    output,
    save,
    stoppable,
    training_facts,
    which_model,
)
from slide.cli.options import (
    add_classifier,
    add_format,
    add_json,
    add_propensity,
    add_recovery,
    add_text,
    add_workers,
)
from slide.cli.parser import Parser, Verb
from slide.cli.scoring import score, table
from slide.estimator.classifier import SlideClassifier
from slide.training import bars
from slide.training.callbacks import Shown
from slide.training.evaluation import METRICS

EXAMPLES = """\
examples:
  slide train wordnet-hypernym --out model.slide
  slide train train.txt.gz --test test.txt.gz --epochs 10 --hidden 256 --n-active 1500
  slide train train.txt --out model.slide --checkpoint run.checkpoint --resume   goes on where it was stopped
  slide train --config run.toml --epochs 3
  slide train data.csv --text title,body --labels tags --label-separator ';' --out tags.slide
  slide train data.csv --text title --labels tags --autotune 10 --out tags.slide   finds options by itself
  slide train train.txt --validation 0.1 --patience 2 --log run.csv --out model.slide
  slide train train.txt --engine torch --workers 4 --out model/   each worker writes its part of the model
  slide train train.txt --test test.txt --json | tail -n 1 | jq '."p@1"'

Ctrl-C and SIGTERM stop within a second; with --out the model so far is saved, with --checkpoint the state to go on
from. --json: percentages are 0 to 100.
"""


def add_options(parser: Parser) -> None:
    """Data, files, and every option of a fit."""
    text = "training data: a file, or the name of an embedded data set"
    parser.add_argument("data", metavar="DATA", nargs="?", help=text)
    add_format(parser)
    text = "options from this TOML file, named as here with _ for -; flags override it"
    parser.add_argument("--config", metavar="FILE", help=text)
    text = "print all options in effect as such a file, and do nothing else"
    parser.add_argument("--print-config", action="store_true", help=text)
    parser.add_argument("--test", metavar="DATA", help="score on this file (an embedded data set brings its own)")
    text = "save the model to this file; with --engine, FOLDER/: each worker writes its part of it there"
    parser.add_argument("--out", metavar="MODEL", help=text)
    text = "read DATA, which is XMC text, N rows at a time: for files larger than memory"
    parser.add_argument("--rows-at-once", type=int, metavar="N", help=text)
    parser.add_argument("--checkpoint", metavar="FILE", help="save the state of the training to this file")
    text = (
        "minutes between two checkpoints; the first comes after 30 s, and one at an epoch's end (default: %(default)g)"
    )
    parser.add_argument("--checkpoint-minutes", type=float, metavar="X", default=5.0, help=text)
    parser.add_argument("--resume", action="store_true", help="go on from --checkpoint FILE, if it is there")
    text = "score this after each epoch, without training on it: data, or the share of DATA to hold out, like 0.1"
    parser.add_argument("--validation", metavar="DATA|X", help=text)
    text = (
        "learn probabilities on this, without training on it: data; or no: train on all rows (default: a share of DATA)"
    )
    parser.add_argument("--calibrate", metavar="DATA|no", help=text)
    text = "stop after N epochs without a better score there, and keep the best model"
    parser.add_argument("--patience", type=int, metavar="N", help=text)
    text = "try options on held-out rows for so many minutes, the last fit included; those given here stay"
    parser.add_argument("--autotune", type=float, metavar="MINUTES", help=text)
    text = "which score: p, psp, ndcg, psndcg or recall @1, @3 or @5 (default: %(default)s)"
    parser.add_argument("--metric", choices=METRICS, metavar="NAME", default="p@1", help=text)
    text = "train by several workers: of ray or torch, here or on a cluster, or under mpirun"
    add_workers(parser, ("ray", "torch", "mpi"), text, "default: 2; what torchrun or mpirun started")
    add_recovery(parser)
    parser.add_argument("--log", metavar="FILE", help="write how the training went to this file (.csv, .jsonl)")
    add_json(parser)
    add_propensity(parser)
    add_text(parser)
    add_classifier(parser)


def run(args: Namespace) -> int:
    """Trains, saves, scores; saves what there is if interrupted."""
    apply_preset(args)
    if args.print_config:
        return _print_config(args)
    if not args.data:
        wanted = "a file, or the name of an embedded data set (see slide train --help)"
        raise ValueError(f"DATA: found none, wanted {wanted}")
    kind = kind_of_data(args)
    kind.check(args)
    target = output(args)
    options = FitOptions.of(args)
    if options.cluster is not None and not options.cluster.is_first:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (to the end: the first worker speaks for all)
    clf = kind.classifier(args, classifier_options(args))
    data = kind.read(args)
    test = data.held_out(args.test)
    print(data.describe(test), flush=True)
    try:
        clf, seconds = _fit(clf, data, options)
    except KeyboardInterrupt as e:
        return interrupted(clf, target, options.checkpoint, e)
    facts = training_facts(clf, data, seconds)
    validation = {name.partition("_")[2]: v for name, v in facts.items() if name.startswith("validation_")}
    if validation:
        clf.card_.scored("rows held out", validation)
    if target and not (test and is_stream(target)):  # what went into a pipe cannot be written again
        facts |= save(clf, target)
    print(f"trained {facts['n_trained']:,} samples in {bars.duration(seconds)}: {data.summary(facts)}", flush=True)
    if clf.network_.traffic:
        print(f"rows in a file: {clf.network_.traffic.summary(facts['n_trained'])}", flush=True)
    if clf.plan_.rank or clf.plan_.is_table:
        print(clf.plan_, flush=True)
    if target:
        print(f"model: {target} ({size(target)})", flush=True)
    if test and not clf.network_.is_ready:
        print(f"not scored, since the workers have left: slide eval {target} TEST --engine torch", flush=True)
    elif test:
        facts |= score(clf, test.encoded(clf), data.indicator(clf), A=args.A, B=args.B)
        clf.card_.scored(facts["test"], facts)
        if target:
            facts |= save(clf, target)  # again: the scores are in the model's card
        print(table(facts))
    if options.checkpoint:
        options.checkpoint.remove()
    if args.json:
        print(json.dumps(facts))
    return 0


def _fit(clf: SlideClassifier, data: TrainingData, options: FitOptions) -> tuple[SlideClassifier, float]:
    """The fitted classifier, and wall-clock seconds of the fit, preparation included."""
    if options.autotune is not None:
        return _autotuned(clf, data, options, options.autotune)
    fit_kwargs: dict[str, Any] = {"eval_set": options.eval_set(data), "early_stopping": options.early_stopping}
    fit_kwargs["calibrate"] = options.calibration_rows(data)
    if options.checkpoint:
        fit_kwargs["checkpoint"] = options.checkpoint
    if options.cluster is not None:
        fit_kwargs["cluster"] = options.cluster
    fit = clf.fit_blocks if isinstance(data, BlockData) else clf.fit
    begin = time.perf_counter()
    with stoppable(), bars.follow_fit(clf.epochs * data.n_rows) as shown:
        callbacks = [Shown(shown, options.metric), *([options.log] if options.log else [])]
        fit(*data.rows, callback=callbacks, **fit_kwargs)
    if options.early_stopping:
        print(which_model(clf, options.early_stopping))
    return clf, time.perf_counter() - begin


def _autotuned(
    clf: SlideClassifier, data: TrainingData, options: FitOptions, minutes: float
) -> tuple[SlideClassifier, float]:
    """The same of a classifier whose options were searched for; says what was tried as it goes on."""
    held_out = options.eval_set(data)
    how: dict[str, Any] = {} if held_out is None else {"eval_set": held_out}
    with stoppable():
        best = autotune(clf, *data.rows, minutes=minutes, metric=options.metric, say=_say, **how)
    print(f"chosen: {best!r}", flush=True)
    return best, best.tuned_.seconds


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _print_config(args: Namespace) -> int:
    """Options in effect as a configuration file."""
    from slide.cli.config_file import dump

    classifier_options(args)  # refuses what contradicts itself
    print(dump(args, options_parser()), end="")
    return 0


def options_parser() -> Parser:
    """A parser of this verb's options alone: the keys of a configuration file."""
    parser = Parser()
    add_options(parser)
    return parser


VERB = Verb(
    "train",
    "DATA [--test DATA] [--out MODEL] [--config FILE] [--json] [options]",
    "train a network and say how good it is",
    add_options,
    run,
    EXAMPLES,
)
