"""What train, eval and predict do where X is text: tables are read, labels go by their names. See slide/cli/commands.py."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

import slide
from slide.cli import commands
from slide.cli.data import Data, size, writable
from slide.cli.verbs import train as train_verb
from slide.io import formats
from slide.text.classifier import SlideTextClassifier
from slide.text.features import TextFeatures
from slide.text.tables import TextTable, is_table, read_table
from slide.training import bars

OPTIONS = ("words", "characters", "min_rows", "max_share", "max_features", "buckets")
COLUMNS = ["text", "labels"]  # of an embedded data set


class TextRows:
    """Texts that are cut into blocks and counted as a matrix is."""

    def __init__(self, texts: Sequence[str], n_features: int) -> None:
        self.texts, self.shape = texts, (len(texts), n_features)

    def __getitem__(self, rows: slice) -> Sequence[str]:
        return self.texts[rows]


# -- train -------------------------------------------------------------------------------------------------------------


def train(args: Namespace) -> int:
    """Trains on a table, saves, scores; saves what there is if interrupted."""
    target = writable(args.out, args.data, args.test) if args.out else None
    columns = {"text": args.text.split(","), "labels": args.labels, "separator": args.label_separator}
    if args.rows_at_once is not None:
        raise ValueError("--rows-at-once: found --text, wanted a file of XMC text: the vocabulary is made of all texts")
    if not args.labels:
        raise ValueError("--labels: found none, wanted the column of labels")
    wishes = train_verb.Wishes.of(args)
    clf = SlideTextClassifier(features(args), **train_verb.classifier_options(args))
    clf.table_ = columns
    table, test = read(args.data, columns)
    if args.test:
        test = _test_part(*read(args.test, columns))
    print(f"{args.data}: {len(table.texts):,} texts", flush=True)
    eval_set = wishes.eval_set(lambda name: _pair(_test_part(*read(name, columns))))
    told = {"eval_set": eval_set, "checkpoint": wishes.checkpoint}
    fitting = train_verb.fit(clf, len(table.texts), clf.fit, (table.texts, table.labels), wishes, **told)
    if not (seconds := fitting):
        return train_verb.interrupted(clf, target, wishes.checkpoint)
    data = labelled(clf, args.data, table)
    facts = train_verb.trained(clf, data, seconds)
    if target:
        train_verb.save(clf, target)
        facts |= {"model": str(target), "model_bytes": target.stat().st_size}
    n_features, n_labels = data.X.shape[1], data.Y.shape[1]
    print(f"trained {facts['n_trained']:,} samples in {bars.duration(seconds)}: ", end="")
    print(f"{n_features:,} features, {n_labels:,} labels, {facts['n_threads']} threads", flush=True)
    if target:
        print(f"model: {target} ({size(target)})", flush=True)
    if test:
        facts |= commands.score(clf, labelled(clf, f"{args.test or args.data}, test", test), data.Y, A=args.A, B=args.B)
        train_verb.keep_score(clf, facts, target)
        print(commands.table(facts))
    train_verb.discard(wishes.checkpoint)
    if args.json:
        print(json.dumps(facts))
    return 0


def features(args: Namespace) -> TextFeatures:
    """Those options of TextFeatures that were given."""
    return TextFeatures(**{name: getattr(args, name) for name in OPTIONS if getattr(args, name) is not None})


# -- data --------------------------------------------------------------------------------------------------------------


def read(name: str, columns: dict[str, Any]) -> tuple[TextTable, TextTable | None]:
    """A table, or an embedded data set's texts with its test part."""
    if name in slide.datasets.names():
        if [*columns["text"], columns["labels"] or "labels"] != COLUMNS:
            raise ValueError(f"{name}: has the columns text and labels, so --text text --labels labels")
        with bars.waiting(f"unpacking {name} ..."):
            raw = slide.datasets.load_text(name)
        return TextTable(raw.train_texts, raw.train_labels), TextTable(raw.test_texts, raw.test_labels)
    with bars.waiting(f"reading {name} ..."):
        separator = columns["separator"] if columns["labels"] else None
        return read_table(name, columns["text"], columns["labels"], label_separator=separator), None


def labelled(clf: SlideTextClassifier, name: str, table: TextTable) -> Data:
    """Texts and the indicator of those labels that the model knows."""
    X = TextRows(table.texts, clf.n_features_in_)
    Y = clf._labels.encode(table.labels, drop_unknown=True) if table.labels else sp.csr_array((len(X.texts), 1))
    return Data(name, X, Y)


def check_columns(name: str) -> None:
    """Refuses a table where nothing says which columns hold what; Parquet may hold matrices (slide/io/formats.py)."""
    if is_table(name) and formats.format_of(name) != "parquet":
        raise ValueError(f"{name}: is a table; say which columns hold what with --text and --labels")


def _columns(clf: SlideTextClassifier, path: str) -> dict[str, Any]:
    if not hasattr(clf, "table_"):
        raise ValueError(f"{path}: was not trained on a table, so no columns are known; use predict --text")
    return clf.table_


def _test_part(table: TextTable, test: TextTable | None) -> TextTable:
    return test or table


def _pair(table: TextTable) -> tuple[Any, Any]:
    return table.texts, table.labels


# -- eval, predict -----------------------------------------------------------------------------------------------------


def test_data(clf: SlideTextClassifier, args: Namespace, *, labels: bool) -> Data:
    """The table that a text model is to be scored on, or to predict; its columns are those of its training."""
    columns = _columns(clf, args.model)
    embedded = args.data in slide.datasets.names()
    table = _test_part(*read(args.data, columns if labels or embedded else columns | {"labels": None}))
    return labelled(clf, args.data, table if labels else TextTable(table.texts, None))


def train_labels(clf: SlideTextClassifier, args: Namespace) -> sp.csr_array | None:
    """Of the table a model was trained on, where it is named or embedded: label frequencies for PSP@k."""
    name = args.train or (args.data if args.data in slide.datasets.names() else None)
    if name is None:
        return None
    return clf._labels.encode(read(name, _columns(clf, args.model))[0].labels, drop_unknown=True)


def predict_texts(args: Namespace) -> int:
    """Prints the best labels of the texts on the command line."""
    if args.data or args.out:
        raise ValueError("--text: found DATA or --out too, wanted either texts or a table")
    clf = commands.load_model(args)
    if not isinstance(clf, SlideTextClassifier):
        raise ValueError(f"{args.model}: found a model of other features, wanted one trained on text")
    k = min(args.k, clf.n_labels_)
    names, scores = clf.predict_topk(args.text, k, n_candidates=args.n_candidates, names=True)
    for number, text in enumerate(args.text):
        if len(args.text) > 1:
            print(("\n" if number else "") + text)
        for name, score in zip(names[number], scores[number], strict=True):
            if name is not None:
                print(f"{score:8.3f}  {name}")
    return 0


def lines(clf: SlideTextClassifier, ids: Any, scores: Any) -> Iterator[str]:
    """``label:score`` pairs with tabs between: names may hold spaces."""
    for labels, values in zip(clf._labels.names(np.asarray(ids)), scores.tolist(), strict=True):
        pairs = (f"{_one_line(i)}:{s:.6g}" for i, s in zip(labels, values, strict=True) if i is not None)
        yield "\t".join(pairs) + "\n"


def _one_line(name: Any) -> str:
    return " ".join(str(name).split())
