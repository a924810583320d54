"""Tables of text as the commands read them: columns by name, labels by their names. Matrices: slide/cli/data.py."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

import slide
from slide.cli.data import LabelledRows, ModelInput, TrainingData, counted, refuse_unlabelled
from slide.cli.rows import RowsToPredict, cut, or_none
from slide.cli.sources import TABLES, arriving_source, check_named, label, source_of
from slide.estimator.labels import Labels
from slide.text.classifier import SlideTextClassifier
from slide.text.features import TextFeatures
from slide.training.bars import waiting

if TYPE_CHECKING:
    from slide.text.tables import TextTable

#: Options of TextFeatures that are called so on the command line too.
FEATURES = ("words", "characters", "min_rows", "max_share", "max_features", "buckets", "strip_accents")
EMBEDDED = ["text", "labels"]  # columns of an embedded data set


class TextRows:
    """Texts that are cut into blocks and counted as a matrix is."""

    def __init__(self, texts: Sequence[str], n_features: int) -> None:
        self.texts, self.shape = texts, (len(texts), n_features)

    def __getitem__(self, rows: slice) -> Sequence[str]:
        return self.texts[rows]

    def __iter__(self) -> Iterator[str]:
        return iter(self.texts)

    def first(self, n: int) -> TextRows:
        """So many of them."""
        return TextRows(self.texts[:n], self.shape[1])


@dataclass(frozen=True, eq=False)
class TextData(TrainingData):
    """Texts with labels, and the test part of an embedded data set; columns as ``SlideTextClassifier.table_``."""

    name: str
    table: TextTable
    columns: Mapping[str, Any]
    test: TextTable | None = None

    @classmethod
    def check(cls, args: Namespace) -> None:
        if args.rows_at_once is not None:
            wanted = "a file of XMC text: the vocabulary is made of all texts"
            raise ValueError(f"--rows-at-once: found --text, wanted {wanted}")
        if not args.labels:
            raise ValueError("--labels: found none, wanted the column of labels")

    @classmethod
    def read(cls, args: Namespace) -> TextData:
        columns = _columns_of(args)
        table, test = read_tables(args.data, columns, args.format)
        return cls(label(args.data), table, columns, test)

    @staticmethod
    def classifier(args: Namespace, options: Mapping[str, Any]) -> SlideTextClassifier:
        """Its file says which columns it was trained on, so that eval and predict need not be told."""
        given = {name: getattr(args, name) for name in FEATURES if getattr(args, name) is not None}
        if args.token_pattern is not None:
            given["pattern"] = args.token_pattern
        if args.stop_words:
            given["stop_words"] = _words_of(args.stop_words)
        clf = SlideTextClassifier(TextFeatures(**given), **options)
        clf.table_ = _columns_of(args)
        return clf

    @property
    def rows(self) -> tuple[Any, Any]:
        """Texts and labels."""
        return self.table.texts, self.table.labels

    @property
    def n_rows(self) -> int:
        return len(self.table.texts)

    def held_out(self, name: str | None) -> TextData | None:
        table = read_test_table(name, self.columns) if name else self.test
        if table and not any(map(has_label, table.labels or ())):
            refuse_unlabelled(name or self.name, len(table.texts), 0)
        return table and TextData(f"{name or self.name}, test", table, self.columns)

    def encoded(self, clf: SlideTextClassifier) -> LabelledRows:
        """Texts, and the indicator of their labels."""
        return labelled_rows(clf, self.name, self.table)

    def indicator(self, clf: SlideTextClassifier) -> sp.csr_array:
        return encoded_labels(clf._labels, self.table)

    def describe(self, test: Any) -> str:
        """How many features and labels there are is known after the fit."""
        return f"{self.name}: {counted(self.n_rows, 'text')}"

    def summary(self, facts: Mapping[str, Any]) -> str:
        n_features, n_labels, n_threads = (facts[name] for name in ("n_features", "n_labels", "n_threads"))
        return f"{counted(n_features, 'feature')}, {counted(n_labels, 'label')}, {counted(n_threads, 'thread')}"


def _columns_of(args: Namespace) -> dict[str, Any]:
    return {"text": args.text.split(","), "labels": args.labels, "separator": args.label_separator}


def _words_of(name: str) -> tuple[str, ...]:
    """The words of a file, in UTF-8."""
    try:
        words = Path(name).read_text(encoding="utf-8-sig").split()
    except OSError as e:
        raise ValueError(f"--stop-words: {name}: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise ValueError(f"--stop-words: {name}: found a byte that is no UTF-8 at {e.start:,}, wanted words") from e
    if not words:
        raise ValueError(f"--stop-words: found no word in {name}, wanted one or more")
    return tuple(dict.fromkeys(words))


class TextInput(ModelInput):
    """For a model trained on text: tables with the columns it was trained on; source names it in errors."""

    def __init__(self, clf: SlideTextClassifier, source: str) -> None:
        self._clf, self._source = clf, source

    def scored(
        self, name: str, train: str | None = None, kind: str | None = None
    ) -> tuple[LabelledRows, sp.csr_array | None]:
        if kind == "lines":
            raise ValueError(f"{label(name)}: found --format lines, wanted a table with labels to score by")
        scored = labelled_rows(self._clf, label(name), read_test_table(name, self._columns, kind))
        if not train and name not in slide.datasets.names():
            return scored, None
        labels = scored.truth.labels if scored.truth else self._clf._labels
        return scored, encoded_labels(labels, read_tables(train or name, self._columns)[0])

    def predicted(self, name: str, kind: str | None = None) -> LabelledRows:
        """Of a file that is no table, a text a line."""
        from slide.text.tables import TextTable, read_texts

        if name in slide.datasets.names():
            texts = read_test_table(name, self._columns).texts
        else:
            check_named(name)
            with waiting(f"reading {name} ..."):
                texts = read_texts(source_of(name), self._text_columns(name, kind), kind=kind)
        return labelled_rows(self._clf, label(name), TextTable(texts, None))

    def arriving(self, name: str, kind: str | None = None, id_column: str | None = None) -> Iterator[RowsToPredict]:
        from slide.text.table_blocks import text_blocks

        if name in slide.datasets.names():
            if id_column:
                raise ValueError(f"--id-column: found {name}, whose rows have no ids, wanted a table with that column")
            return cut(self.predicted(name).X)
        check_named(name)
        columns = self._columns["text"] if id_column else self._text_columns(name, kind)
        blocks = text_blocks(arriving_source(name), columns, id_column, kind)
        return or_none((RowsToPredict(block.texts, block.total, block.ids) for block in blocks), [])

    def _text_columns(self, name: str, kind: str | None) -> list[str] | None:
        """Those of a table; None where only lines can be read, since a model of Python knows no columns."""
        from slide.text.tables import is_table

        known = hasattr(self._clf, "table_") or is_table(name) or kind in TABLES
        return self._columns["text"] if known else None

    @property
    def _columns(self) -> dict[str, Any]:
        if not hasattr(self._clf, "table_"):
            raise ValueError(f"{self._source}: was not trained on a table, so no columns are known; use predict --text")
        return self._clf.table_

    def lines(self, ids: Any, scores: Any) -> Iterator[str]:
        """Labels go by their names, with tabs between the pairs: names may hold spaces."""
        for labels, values in zip(self._clf._labels.names(np.asarray(ids)), scores.tolist(), strict=True):
            pairs = (f"{_one_line(i)}:{s:.6g}" for i, s in zip(labels, values, strict=True) if i is not None)
            yield "\t".join(pairs) + "\n"


def _one_line(name: Any) -> str:
    return " ".join(str(name).split())


def has_label(cell: Any) -> bool:
    """Whether a row has a label: one, or a list that is not empty."""
    return len(cell) > 0 if isinstance(cell, list) else cell is not None


def labelled_rows(clf: SlideTextClassifier, name: str, table: TextTable) -> LabelledRows:
    """A table's texts, and the indicator of their labels; of none where it has no labels."""
    truth = clf._labels.truth(table.labels) if table.labels else None
    Y = truth.Y if truth else sp.csr_array((len(table.texts), clf.n_labels_))
    return LabelledRows(name, TextRows(table.texts, clf.n_features_in_), Y, truth=truth)


def encoded_labels(labels: Labels, table: TextTable) -> sp.csr_array:
    """The indicator of a table's labels, without those that are not known."""
    return labels.encode(table.labels, drop_unknown=True)


# -- files -------------------------------------------------------------------------------------------------------------


def read_tables(name: str, columns: Mapping[str, Any], kind: str | None = None) -> tuple[TextTable, TextTable | None]:
    """A table, or an embedded data set's texts with its test part."""
    from slide.text.tables import TextTable, read_table

    if name in slide.datasets.names():
        if [*columns["text"], columns["labels"] or "labels"] != EMBEDDED:
            raise ValueError(f"{name}: has the columns text and labels, so --text text --labels labels")
        with waiting(f"unpacking {name} ..."):
            raw = slide.datasets.load_text(name)
        return TextTable(raw.train_texts, raw.train_labels), TextTable(raw.test_texts, raw.test_labels)
    check_named(name)
    if kind is not None and kind not in TABLES:
        raise ValueError(f"--format: found {kind}, wanted one of {', '.join(TABLES)} for a table with text")
    with waiting(f"reading {name} ..."):
        separator = columns["separator"] if columns["labels"] else None
        source = source_of(name)
        return read_table(source, columns["text"], columns["labels"], label_separator=separator, kind=kind), None


def read_test_table(name: str, columns: Mapping[str, Any], kind: str | None = None) -> TextTable:
    """A table, or an embedded data set's test part."""
    table, test = read_tables(name, columns, kind)
    return test or table
