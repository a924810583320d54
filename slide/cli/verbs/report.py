"""``slide report``: gathers what slide/report/page.py makes a page of."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import slide
from slide.cli.commands import load_model, predicted
from slide.cli.data import check_columns, read_data, whole_file, writable
from slide.cli.verbs import text
from slide.estimator.classifier import SlideClassifier
from slide.inference.lsh_report import MAX_QUERIES, LshReport
from slide.report.page import ScoredRows, page
from slide.text.classifier import SlideTextClassifier

FEATURES_SHOWN = 8


def report(args: Namespace) -> int:
    """Writes the page."""
    target = writable(args.html, args.model, args.data, args.train)
    if args.examples < 0:
        raise ValueError(f"--examples: found {args.examples}, wanted 0 or more")
    clf = load_model(args)
    if not isinstance(clf, SlideClassifier):
        raise ValueError(f"{args.model}: holds a network, and the page is about a SlideClassifier")
    tried, rows, row_text = _tried(clf, args) if args.data else (None, None, str)
    title = f"{args.model}: {clf.n_labels_:,} labels"
    written = page(clf, title, tried, _tables(clf, rows), _label_names(clf, args.data), row_text, args.examples)
    with whole_file(target) as file:
        file.write(written)
    print(f"report: {target}", file=sys.stderr)
    return 0


def _tried(clf: SlideClassifier, args: Namespace) -> tuple[ScoredRows, Any, Callable[[int], str]]:
    """The model's answers, the rows as it takes them, and how a row is described."""
    if isinstance(clf, SlideTextClassifier):
        data = text.test_data(clf, args, labels=True)
        Y_train = text.train_labels(clf, args)
        texts: Sequence[str] = data.X[0 : data.X.shape[0]]
        tried, describe = data, lambda row: texts[row]
    else:
        train, test = read_data(args.data)
        tried, Y_train = test or train, train.Y if test else None
        tried = check_columns(tried, clf.n_features_in_, clf.n_labels_, args.model)
        if args.train:
            Y_train = check_columns(read_data(args.train)[0], clf.n_features_in_, clf.n_labels_, args.model).Y
        describe = _features_of(clf, tried.X)
    ids, scores = predicted(clf, tried)
    return ScoredRows(tried.name, tried.Y, ids, scores, Y_train, (args.A, args.B)), tried.X, describe


def _features_of(clf: SlideClassifier, X: Any) -> Callable[[int], str]:
    """The heaviest features of a row, by name where there are names."""
    names = getattr(clf, "feature_names_in_", None)

    def describe(row: int) -> str:
        part = slice(X.indptr[row], X.indptr[row + 1])
        order = np.argsort(-np.abs(X.data[part]), kind="stable")
        ids = X.indices[part][order].tolist()
        shown = [str(names[i]) if names is not None else str(i) for i in ids[:FEATURES_SHOWN]]
        more = f" and {len(ids) - len(shown):,} more" if len(ids) > len(shown) else ""
        return f"row {row:,}: features {', '.join(shown)}{more}" if ids else f"row {row:,}: no features"

    return describe


def _tables(clf: SlideClassifier, rows: Any) -> LshReport | None:
    if rows is None or clf.network_.states[-1].lsh is None:
        return None
    return clf.network_.lsh_report(clf._rows(rows[0 : min(MAX_QUERIES, rows.shape[0])]))


def _label_names(clf: SlideClassifier, data: str | None) -> Sequence[Any]:
    """What a person calls them: an embedded data set knows, where the model was trained on numbers."""
    if data in slide.datasets.names() and not isinstance(clf, SlideTextClassifier):
        return slide.datasets.load_label_names(data)
    return clf.classes_.tolist()
