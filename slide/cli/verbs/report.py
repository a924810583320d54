"""``slide report``: gathers what slide/report/page.py makes a page of."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

import slide
from slide.cli.data import LabelledRows
from slide.cli.files import whole_file, writable
from slide.cli.models import load_classifier, network_rows
from slide.cli.options import add_format, add_machine, add_model, add_propensity
from slide.cli.parser import Parser, Verb
from slide.cli.scoring import ROWS_AT_ONCE, blocks_of, input_of, predicted, unlabelled
from slide.cli.text_data import TextRows
from slide.estimator.classifier import SlideClassifier
from slide.inference.lsh_report import MAX_QUERIES
from slide.labels.stored_names import as_texts
from slide.text.classifier import SlideTextClassifier
from slide.text.words import FIELD_SEPARATOR
from slide.training.evaluation import widened

if TYPE_CHECKING:
    from slide.inference.lsh_report import LshReport
    from slide.report.scored import Report, ScoredRows
    from slide.report.words import Word

FEATURES_SHOWN = 8

EXAMPLES = """\
examples:
  slide report model.slide wordnet-hypernym --html report.html
  slide report model.slide test.txt --train train.txt --html report.html
  slide report model.slide test.txt --labels labels.csv
"""


def add_options(parser: Parser) -> None:
    """The model, rows, the page, and what is on it."""
    add_model(parser)
    parser.add_argument("data", metavar="DATA", nargs="?", help="rows that were not trained on, with labels")
    add_format(parser)
    parser.add_argument("--html", metavar="FILE", help="write the page here")
    text = "write how well each label is found here, as CSV; with --html or alone"
    parser.add_argument("--labels", metavar="FILE", help=text)
    parser.add_argument("--train", metavar="DATA", help="what it was trained on: label frequencies")
    parser.add_argument("--examples", type=int, metavar="N", default=12, help="rows shown (default: %(default)s)")
    add_propensity(parser)
    add_machine(parser)


def run(args: Namespace) -> int:
    """Writes the page."""
    from slide.report.page import page
    from slide.report.scored import Report

    if not (args.html or args.labels):
        raise ValueError("--html: found none and no --labels, wanted the file to write")
    if args.labels and not args.data:
        raise ValueError("--labels: found no DATA, wanted rows with labels that were not trained on")
    target, lines = (path and writable(path, args.model, args.data, args.train) for path in (args.html, args.labels))
    if args.examples < 0:
        raise ValueError(f"--examples: found {args.examples}, wanted 0 or more")
    clf = load_classifier(args, "the page is about a SlideClassifier")
    title = f"{args.model}: {clf.n_labels_:,} labels"
    report = Report(clf, title, n_examples=args.examples)
    if args.data:
        report = _with_rows(report, args)
    if lines:
        _write_labels(report, lines)
    if target:
        with whole_file(target) as file:
            file.write(page(report))
        print(f"report: {target}", file=sys.stderr)
    return 0


def _write_labels(report: Report, target: Path) -> None:
    """How well each label is found that is true or predicted somewhere, as CSV."""
    scored, clf = report.scored, report.clf
    assert scored is not None
    said = scored.ids[:, :1] if scored.decided is None else scored.decided
    cuts = None
    if clf.thresholds_ and clf.thresholds_.k is None:
        cuts = clf.thresholds_.values(np.arange(clf.n_labels_, dtype=np.int32))
    found = slide.metrics.label_report(scored.Y, said, thresholds=cuts)
    with whole_file(target) as file:
        slide.metrics.write_label_report(file, found, report.label_names)
    print(f"labels: {target}: {len(found):,} of {clf.n_labels_:,} labels", file=sys.stderr)


def _with_rows(report: Report, args: Namespace) -> Report:
    """The report, with what DATA say of the model."""
    clf = report.clf
    scored, rows = _scored(clf, args)
    named = as_texts(rows.truth.labels.classes) if rows.truth else _label_names(clf, args.data)
    return replace(
        report,
        scored=scored,
        tables=_tables(clf, rows.X),
        label_names=named,
        row_text=_describer(clf, rows.X),
        words=_words(clf, rows.X, scored),
    )


def _scored(clf: SlideClassifier, args: Namespace) -> tuple[ScoredRows, LabelledRows]:
    """The model's predictions with what is known of the rows, and the rows."""
    from slide.report.scored import ScoredRows

    data, Y_train = input_of(clf, args.model).scored(args.data, args.train, args.format)
    unlabelled(data)  # a page on rows without labels would say nothing
    proba = clf.calibration_ is not None
    ids, scores = predicted(clf, data, proba=proba)
    Y_train = None if Y_train is None else widened(Y_train, data.Y.shape[1])
    empty, decided = _without_features(clf, data.X), None if clf._one_class else _decided(clf, data)
    return ScoredRows(data.name, data.Y, ids, scores, Y_train, (args.A, args.B), empty, proba, decided), data


def _decided(clf: SlideClassifier, data: LabelledRows) -> sp.csr_array:
    """What `predict` predicts, of as many labels as the truth has."""
    n, found = data.X.shape[0], []
    for rows, ids, _ in blocks_of(data.X, clf._decided):
        row, place = np.nonzero(ids >= 0)
        found.append((rows.start + row, ids[row, place]))
    row, column = (np.concatenate(part) for part in zip(*found, strict=True))
    return sp.csr_array((np.ones(len(row), np.float32), (row, column)), shape=(n, data.Y.shape[1]))


def _words(clf: SlideClassifier, X: Any, scored: ScoredRows) -> Sequence[Word]:
    """What decided in some of the rows; nothing where features have no names."""
    from slide.report.words import deciding, some_rows

    names = _feature_names(clf)
    if not names:
        return []
    some = some_rows(X.shape[0])
    picked = sp.vstack([network_rows(clf, X[i : i + 1]) for i in some.tolist()], format="csr")
    best = scored.ids[some, 0]
    right = [label >= 0 and bool(scored.Y[[row], [label]].sum()) for row, label in zip(some, best, strict=True)]
    return deciding(clf.network_, picked, best, right, names)


def _feature_names(clf: SlideClassifier) -> Sequence[str]:
    """By column: words of a text, columns of a data frame, or nothing."""
    if isinstance(clf, SlideTextClassifier):
        return clf.vocabulary_.names
    return [str(name) for name in getattr(clf, "feature_names_in_", [])]


def _without_features(clf: SlideClassifier, X: Any) -> npt.NDArray[np.bool_]:
    """Which rows have no feature that the model knows, like empty texts; read in blocks as they were scored."""
    n = X.shape[0]
    parts = [network_rows(clf, X[first : min(first + ROWS_AT_ONCE, n)]) for first in range(0, n, ROWS_AT_ONCE)]
    return np.concatenate([np.diff(part.indptr) == 0 for part in parts])


def _describer(clf: SlideClassifier, X: Any) -> Callable[[int], str]:
    """How a row is shown: a text as it is, the columns it was joined of with a bar between."""
    return (lambda row: readable(X.texts[row])) if isinstance(X, TextRows) else _features_of(clf, X)


def readable(text: str) -> str:
    """A text of one column or several, for people.

    >>> readable("A title \x1f its body"), readable("")
    ('A title | its body', '(no text)')
    """
    parts = [part.strip() for part in text.split(FIELD_SEPARATOR)]
    return " | ".join(part for part in parts if part) or "(no text)"


def _features_of(clf: SlideClassifier, X: Any) -> Callable[[int], str]:
    """The heaviest features of a row, by name where there are names."""
    names = _feature_names(clf)

    def describe(row: int) -> str:
        part = slice(X.indptr[row], X.indptr[row + 1])
        order = np.argsort(-np.abs(X.data[part]), kind="stable")
        ids = X.indices[part][order].tolist()
        shown = [names[i] if names else str(i) for i in ids[:FEATURES_SHOWN]]
        more = f" and {len(ids) - len(shown):,} more" if len(ids) > len(shown) else ""
        return f"row {row:,}: features {', '.join(shown)}{more}" if ids else f"row {row:,}: no features"

    return describe


def _tables(clf: SlideClassifier, X: Any) -> LshReport | None:
    if X is None or clf.network_.states[-1].lsh is None:
        return None
    return clf.network_.lsh_report(network_rows(clf, X[0 : min(MAX_QUERIES, X.shape[0])]))


def _label_names(clf: SlideClassifier, data: str | None) -> Sequence[Any]:
    """What a person calls them: an embedded data set knows, where the model was trained on numbers."""
    if data in slide.datasets.names() and not isinstance(clf, SlideTextClassifier):
        return slide.datasets.load_label_names(data)
    return as_texts(clf.classes_)


VERB = Verb(
    "report",
    "MODEL [DATA] [--html FILE] [--labels FILE] [--train DATA] [options]",
    "a page of pictures: how it learned, which labels it finds, what it confuses, examples",
    add_options,
    run,
    EXAMPLES,
)
