"""``slide predict``: the best labels of each row of data, or of texts on the command line."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from slide.cli.data import ModelInput
from slide.cli.files import binary, opened, writable
from slide.cli.models import Model, load_classifier, load_model, network_of, warn_of_uncalibrated
from slide.cli.options import add_format, add_model, add_prediction_workers, add_scoring
from slide.cli.parser import Parser, Verb
from slide.cli.rows import RowsToPredict, cut, gathered, numbered
from slide.cli.scoring import answered, input_of, top_k
from slide.cli.text_data import TextRows
from slide.estimator.classifier import SlideClassifier
from slide.estimator.deciding import decide_by
from slide.io.packed import packed
from slide.io.predictions import FORMATS, prediction_writer
from slide.text.classifier import SlideTextClassifier
from slide.text.table_files import kind_of_name

DEFAULT_K = 5
PAIRS = "pairs"

Best = Iterator[tuple[RowsToPredict, Any, Any]]  # rows, and the labels and scores of each

EXAMPLES = """\
examples:
  slide predict model.slide test.txt -k 5 > best.txt
  slide predict tags.slide --text "a feline that hunts mice"
  slide predict model.slide test.txt --proba --min-score 0.5
  slide predict tags.slide new.csv --threshold model --out tags.csv
  cut -f 2 new.tsv | slide predict tags.slide - -k 1
  slide predict model.slide test.txt -k 100 --n-candidates 2000 --header --out scores.txt
  slide predict tags.slide new.csv --id-column article --min-score 0.2 --out best.csv
  slide predict tags.slide new.jsonl --out-format jsonl | jq .labels
  tail -f texts.log | slide predict tags.slide - --out-format jsonl

A line of output belongs to a row of DATA and holds label:score pairs, best first. Labels in DATA are ignored. For a
model trained on text, DATA is a table with the columns it was trained on, or anything else with a text a line, and
pairs have names and tabs between. DATA - is standard input. Rows are read, predicted and written a block at a time,
those of a pipe as they arrive. Where --out ends in .csv, .tsv, .jsonl or .parquet, or --out-format says so: csv and tsv
have a line for each label (row, rank, label, score), JSON lines and Parquet a row for each row, with labels and scores
as lists. Rows count from 0.
"""


def add_options(parser: Parser) -> None:
    """The model, rows or texts, and what is written of each."""
    add_model(parser)
    parser.add_argument("data", metavar="DATA", nargs="?", help="a file, - for standard input, or an embedded data set")
    add_format(parser)
    text = "print the best labels of this text, with a model trained on text; may be repeated"
    parser.add_argument("--text", metavar="TEXT", action="append", help=text)
    parser.add_argument("-k", type=int, metavar="N", help="labels a row (default: 5, or all there are)")
    parser.add_argument("--out", metavar="FILE", help="write here instead of to standard output")
    kinds = (PAIRS, *FORMATS)
    text = "write %(choices)s (default: by the ending of --out, else pairs)"
    parser.add_argument("--out-format", choices=kinds, metavar="NAME", help=text)
    text = "column of DATA that names the rows in what is written (default: their numbers)"
    parser.add_argument("--id-column", metavar="COLUMN", help=text)
    text = "what slide train --threshold takes, or model: only labels that are predicted so, with their probabilities"
    parser.add_argument("--threshold", metavar="X", help=text)
    text = "probabilities instead of scores: how often such a label is right"
    parser.add_argument("--proba", action="store_true", help=text)
    parser.add_argument("--min-score", type=float, metavar="X", help="leave out labels that score less")
    parser.add_argument("--header", action="store_true", help='a first line "rows labels", as score files have it')
    add_scoring(parser)
    add_prediction_workers(parser)


def run(args: Namespace) -> int:
    """Writes the best labels of each row."""
    kind = _kind_of(args)
    if args.text and kind == PAIRS:
        return _print_texts(args)
    if not (args.data or args.text):
        raise ValueError("DATA: found none, wanted a file, or texts after --text")
    if args.data and args.text:
        raise ValueError("--text: found DATA too, wanted either texts or a table")
    target = writable(args.out, args.data, args.model) if args.out else None
    model = _model(args)
    given = input_of(model, args.model)
    rows = numbered(_texts(model, args) if args.text else given.arriving(args.data, args.format, args.id_column))
    all_ids = None
    if args.header or (args.id_column and kind == "parquet"):  # how many rows there are, or of what type, comes first
        rows, all_ids = gathered(rows)
    best = _best(args, model, rows)
    if kind == PAIRS:
        _write_pairs(args, target, model, given, best)
    else:
        _write_table(args, kind, target, model, best, all_ids)
    return 0


def _model(args: Namespace) -> Model:
    """The model, which must know what its scores are worth if that is asked."""
    if not (args.proba or args.threshold):
        return load_model(args)
    clf = load_classifier(args, "probabilities are a SlideClassifier's")
    warn_of_uncalibrated(clf, args.model)
    if args.threshold not in (None, "model"):
        decide_by(clf, args.threshold)
    return clf


def _kind_of(args: Namespace) -> str:
    """What is written: as --out-format says, or the ending of --out."""
    named = kind_of_name(args.out) if args.out else None
    kind: str = args.out_format or (named if named in FORMATS else PAIRS)
    if args.out_format is None and named not in (None, *FORMATS):
        raise ValueError(
            f"{args.out}: found the ending of {named} files, wanted one of {', '.join(FORMATS)}, or another"
        )
    for flag, value in (("--header", args.header), ("--id-column", args.id_column)):
        if value and (kind == PAIRS) == (flag == "--id-column"):
            wanted = f"--out-format {' or '.join(FORMATS)}" if kind == PAIRS else "pairs: these files have a header"
            raise ValueError(f"{flag}: found {kind} to be written, wanted {wanted}")
    return kind


def _best(args: Namespace, model: Model, rows: Iterable[RowsToPredict]) -> Best:
    """Rows, labels and scores of a block of rows at a time; -1 for labels under --min-score."""
    k = min(DEFAULT_K, network_of(model).n_labels) if args.k is None else args.k
    answer = top_k(model, k, args.n_candidates, proba=args.proba)
    if args.threshold:
        assert isinstance(model, SlideClassifier)
        answer = partial(model._decided, k=args.k)
    for block, ids, scores in answered(rows, answer):
        yield block, (ids if args.min_score is None else np.where(scores >= args.min_score, ids, -1)), scores


def _write_pairs(args: Namespace, target: Path | None, model: Model, given: ModelInput, best: Best) -> None:
    """A line of label:score pairs for each row."""
    with opened(target) as out:
        begun = False
        for rows, ids, scores in best:
            if args.header and not begun:  # after the first block is scored: what cannot be predicted leaves no output
                out.write(f"{rows.total} {network_of(model).n_labels}\n")
            out.writelines(given.lines(ids, scores))
            out.flush()  # who reads it may wait for it before sending more rows
            begun = True


def _write_table(
    args: Namespace, kind: str, target: Path | None, model: Model, best: Best, all_ids: Sequence[Any] | None
) -> None:
    """A file for programs; a block of rows is written when it is scored. all_ids : None for numbers"""
    classes = model.classes_ if isinstance(model, SlideClassifier) else np.arange(model.n_labels)
    first = next(best)
    name, of_type = args.id_column or "row", first[0].ids if all_ids is None else all_ids
    with (
        binary(target) as file,
        packed(file, args.out or "") as stream,
        prediction_writer(stream, kind, classes, name, of_type or ()) as writer,
    ):
        for rows, ids, scores in chain([first], best):
            writer.write(rows.ids or (), ids, scores)


def _texts(model: Model, args: Namespace) -> Iterator[RowsToPredict]:
    """The texts on the command line as rows."""
    if not isinstance(model, SlideTextClassifier):
        raise ValueError(f"{args.model}: found a model of other features, wanted one trained on text")
    if args.id_column:
        raise ValueError("--id-column: found --text, wanted a table with that column")
    return cut(TextRows(args.text, model.n_features_in_))


def _print_texts(args: Namespace) -> int:
    """Prints the best labels of the texts on the command line."""
    if args.data or args.out:
        wanted = "either texts or a table; texts are written to files that end in .csv, .tsv, .jsonl or .parquet"
        raise ValueError(f"--text: found DATA or --out too, wanted {wanted}")
    clf = _model(args)
    if not isinstance(clf, SlideTextClassifier):
        raise ValueError(f"{args.model}: found a model of other features, wanted one trained on text")
    k = DEFAULT_K if args.k is None else args.k
    if args.threshold:
        ids, scores = clf._decided(args.text, args.k)
        names = clf._labels.names(ids)
    else:
        names, scores = clf.predict_topk(args.text, k, n_candidates=args.n_candidates, names=True, proba=args.proba)
    for number, text in enumerate(args.text):
        if len(args.text) > 1:
            print(("\n" if number else "") + text)
        for name, score in zip(names[number], scores[number], strict=True):
            if name is not None and (args.min_score is None or score >= args.min_score):
                print(f"{round(float(score), 3) + 0.0:8.3f}  {name}")
    return 0


VERB = Verb(
    "predict",
    "MODEL DATA | --text TEXT [-k N] [--out FILE] [options]",
    "write the best labels of each row",
    add_options,
    run,
    EXAMPLES,
)
