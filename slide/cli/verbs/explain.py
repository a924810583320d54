"""``slide explain``: why a label scores as it does for one text or one row."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from slide.cli.data import counted
from slide.cli.models import load_classifier
from slide.cli.options import add_format, add_machine, add_model
from slide.cli.parser import Parser, Verb
from slide.cli.scoring import input_of
from slide.estimator.classifier import SlideClassifier
from slide.text.classifier import SlideTextClassifier

EXAMPLES = """\
examples:
  slide explain tags.slide "a feline that hunts mice"
  slide explain tags.slide "a feline that hunts mice" --label dog --label cat
  slide explain tags.slide new.csv --row 17 -k 3
  slide explain model.slide test.txt --row 17

What each word (column, feature) added to the score, from the one that spoke most for the label to the one that spoke
most against it. All add up to the score.
"""


def add_options(parser: Parser) -> None:
    """The model, what is explained, and which labels."""
    add_model(parser)
    text = "a text; or data to take a row of, with --row or a model of features"
    parser.add_argument("data", metavar="TEXT|DATA", help=text)
    add_format(parser)
    parser.add_argument("--row", type=int, metavar="N", help="this row of DATA, from 0")
    text = "the label to explain; may be repeated (default: the best)"
    parser.add_argument("--label", metavar="NAME", action="append", help=text)
    parser.add_argument("-k", type=int, metavar="N", default=1, help="explain the N best (default: %(default)s)")
    add_machine(parser)


def run(args: Namespace) -> int:
    """Prints an explanation for each label."""
    clf = load_classifier(args, "explanations are a SlideClassifier's")
    row = _row(clf, args)
    for number, label in enumerate(_labels(clf, row, args)):
        print(("\n" if number else "") + str(clf.explain(row, label)))
    return 0


def _row(clf: SlideClassifier, args: Namespace) -> Any:
    """A text in a list, or a matrix of one row."""
    if isinstance(clf, SlideTextClassifier) and args.row is None:
        return [args.data]
    X = input_of(clf, args.model).predicted(args.data, args.format).X
    row = args.row or 0
    if not 0 <= row < X.shape[0]:
        raise ValueError(
            f"--row: found {row}, wanted 0 to {X.shape[0] - 1:,}: {args.data} has {counted(X.shape[0], 'row')}"
        )
    return X[row : row + 1]


def _labels(clf: SlideClassifier, row: Any, args: Namespace) -> list[Any]:
    """As `explain` names them: those asked for, or the best."""
    if args.label:
        return [clf.classes_[i] for i in clf._labels.ids(args.label, argument="--label")]
    return [clf.classes_[i] for i in clf.predict_topk(row, args.k)[0][0] if i >= 0]


VERB = Verb(
    "explain",
    "MODEL TEXT|DATA [--row N] [--label NAME] [-k N] [options]",
    "why a label scores as it does for a text or a row: what each word or feature added",
    add_options,
    run,
    EXAMPLES,
)
