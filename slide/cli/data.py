"""The kinds of data that commands read: matrices in memory, and files in blocks of rows. Text: slide/cli/text_data.py.

Two small interfaces hold whatever the kind: `TrainingData` is what ``slide train`` asks of its data, `ModelInput` is
how the data that a saved model is given are read, and its predictions written.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import Any, Protocol

import scipy.sparse as sp

import slide
from slide.cli.models import Model, network_of
from slide.cli.rows import RowsToPredict, or_none
from slide.cli.sources import STANDARD_INPUT, check_named, is_text_table, label, read_blocks, read_matrices
from slide.estimator.classifier import SlideClassifier
from slide.estimator.labels import Truth
from slide.io import formats
from slide.io.row_blocks import RowBlock, slices
from slide.training.bars import waiting

TEXT_OPTIONS = (
    "labels",
    "label_separator",
    "words",
    "characters",
    "stop_words",
    "strip_accents",
    "token_pattern",
    "min_rows",
    "max_share",
    "max_features",
    "buckets",
)


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """Rows that a model predicts, [n, n_features], and the indicator of their labels, CSR [n, at least n_labels].

    X is a CSR matrix, or texts that are cut into blocks and counted as one (slide/cli/text_data.py: TextRows). Where
    labels have names, `truth` has Y with those, and labels that the model does not know behind the others. `ids` are
    what a column of the table calls the rows, if one was asked for.
    """

    name: str
    X: Any
    Y: sp.csr_array
    truth: Truth | None = field(default=None, kw_only=True)
    ids: Sequence[Any] | None = field(default=None, kw_only=True)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Rows, features, labels."""
        return *self.X.shape, self.Y.shape[1]

    @property
    def known(self) -> sp.csr_array:
        """Y without the labels that the model does not know."""
        return self.Y if self.truth is None else self.Y[:, : self.Y.shape[1] - self.truth.n_unknown]

    def __str__(self) -> str:
        return f"{self.name}: {_in_words(self.sizes)}"


class HeldOut(Protocol):
    """Data of any kind that are in memory and not trained on."""

    @property
    def rows(self) -> tuple[Any, Any]:
        """X and y as ``SlideClassifier.fit`` takes them in eval_set."""

    def encoded(self, clf: Any) -> LabelledRows:
        """As a fitted classifier is scored on them; labels that it does not know are missed ones."""


class TrainingData(ABC):
    """What ``slide train`` asks of its data."""

    name: str

    @classmethod
    @abstractmethod
    def check(cls, args: Namespace) -> None:
        """Refuses options that do not go with this kind of data, before any is read."""

    @classmethod
    @abstractmethod
    def read(cls, args: Namespace) -> TrainingData:
        """The data that the command line names."""

    @staticmethod
    def classifier(args: Namespace, options: Mapping[str, Any]) -> SlideClassifier:
        """What is to be trained; options are those of SlideClassifier."""
        return SlideClassifier(**options)

    @property
    @abstractmethod
    def rows(self) -> tuple[Any, ...]:
        """Positional arguments of the fit."""

    @abstractmethod
    def encoded(self, clf: Any) -> LabelledRows:
        """As a fitted classifier is scored on them; labels that it does not know are left out."""

    @property
    @abstractmethod
    def n_rows(self) -> int:
        """How many there are."""

    @abstractmethod
    def held_out(self, name: str | None) -> HeldOut | None:
        """The data of that name, read as these were; without a name, the test part that these brought, if any."""

    @abstractmethod
    def indicator(self, clf: Any) -> sp.csr_array:
        """The labels of all rows, [n, n_labels], as the fitted classifier numbers them."""

    def describe(self, test: HeldOut | None) -> str:
        """What is printed before the fit."""
        return f"{self}\n{test}" if test else str(self)

    def summary(self, facts: Mapping[str, Any]) -> str:
        """What is printed after the fit, of the facts of the training (slide/cli/fitting.py: training_facts)."""
        return f"{facts['samples_per_second']:,.0f} samples/s, {counted(facts['n_threads'], 'thread')}"


@dataclass(frozen=True, eq=False)
class MatrixData(LabelledRows, TrainingData):
    """Rows and labels in memory, and the test part of an embedded data set."""

    test: MatrixData | None = None

    @classmethod
    def check(cls, args: Namespace) -> None:
        refuse_table(args.data, args.format)
        refuse_text_options(args)

    @classmethod
    def read(cls, args: Namespace) -> MatrixData:
        return read_data(args.data, args.format)

    @property
    def rows(self) -> tuple[Any, Any]:
        """X and Y."""
        return self.X, self.Y

    @property
    def n_rows(self) -> int:
        return self.X.shape[0]

    def held_out(self, name: str | None) -> MatrixData | None:
        test = read_test(name) if name else self.test
        if test:
            refuse_unlabelled(test.name, test.X.shape[0], test.Y.nnz)
        return test and widened(test, *self.sizes[1:], self.name)

    def encoded(self, clf: Any) -> LabelledRows:
        """Themselves: labels are numbers already."""
        return self

    def indicator(self, clf: Any) -> sp.csr_array:
        return self.Y


@dataclass(frozen=True, eq=False)
class BlockData(TrainingData):
    """A file of XMC text that is read in blocks of rows: it may be larger than memory."""

    name: str
    blocks: slide.XMCBlocks

    @classmethod
    def check(cls, args: Namespace) -> None:
        refuse_table(args.data, args.format)
        refuse_text_options(args)
        if args.checkpoint and args.engine is None:
            raise ValueError(
                "--checkpoint: found --rows-at-once, wanted one of them, or --engine: only a fit in memory is resumed"
            )
        if isinstance(validation_of(args), float):
            raise ValueError(f"--validation: found {args.validation} and --rows-at-once, wanted a file to score by")

    @classmethod
    def read(cls, args: Namespace) -> BlockData:
        name = args.data
        kind = args.format or formats.format_of(name)
        if name in slide.datasets.names() or name == STANDARD_INPUT:
            kind = "an embedded data set" if name != STANDARD_INPUT else "standard input"
        if kind != "xmc":
            raise ValueError(f"{name}: found {kind}, wanted a file of XMC text, which alone is read in blocks")
        return cls(name, slide.XMCBlocks(name, args.rows_at_once))

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Rows, features, labels."""
        return self.blocks.n_rows, self.blocks.n_features, self.blocks.n_labels

    @property
    def rows(self) -> tuple[Any]:
        """The blocks, which ``SlideClassifier.fit_blocks`` takes."""
        return (self.blocks,)

    @property
    def n_rows(self) -> int:
        return self.blocks.n_rows

    def held_out(self, name: str | None) -> MatrixData | None:
        if not name:
            return None
        test = read_test(name)
        refuse_unlabelled(test.name, test.X.shape[0], test.Y.nnz)
        return widened(test, *self.sizes[1:], self.name)

    def encoded(self, clf: Any) -> LabelledRows:
        """All of them in memory."""
        X, Y = (sp.csr_array(sp.vstack(parts, format="csr")) for parts in zip(*self.blocks, strict=True))
        return LabelledRows(self.name, X, Y)

    def indicator(self, clf: Any) -> sp.csr_array:
        """Read anew, a block after the other."""
        return sp.csr_array(sp.vstack([Y for _, Y in self.blocks], format="csr"))

    def __str__(self) -> str:
        return f"{self.name}: {_in_words(self.sizes)}, {self.blocks.rows:,} rows at once"


def _in_words(sizes: tuple[int, int, int]) -> str:
    return ", ".join(map(counted, sizes, ("row", "feature", "label")))


def counted(n: int, noun: str) -> str:
    """How many, in words.

    >>> counted(1, "thread"), counted(1234, "row")
    ('1 thread', '1,234 rows')
    """
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


# -- what a saved model is given ---------------------------------------------------------------------------------------


class ModelInput(ABC):
    """Reads the data that a saved model is given, and writes its predictions as lines."""

    @abstractmethod
    def scored(
        self, name: str, train: str | None = None, kind: str | None = None
    ) -> tuple[LabelledRows, sp.csr_array | None]:
        """Rows to score (an embedded data set's test part), and the labels it was trained on: train's, an embedded
        data set's own, or None. kind is the format of the first file, None for what it looks like.
        """

    @abstractmethod
    def predicted(self, name: str, kind: str | None = None) -> LabelledRows:
        """Rows to predict; their labels are not read where they need not be there."""

    @abstractmethod
    def arriving(self, name: str, kind: str | None = None, id_column: str | None = None) -> Iterator[RowsToPredict]:
        """The same rows a block at a time, as they are read, at least one; id_column : of a table, what names them."""

    @abstractmethod
    def lines(self, ids: Any, scores: Any) -> Iterator[str]:
        """``label:score`` pairs, a line a row; ids and scores [n, k], best first, -1 where there is no label."""


class MatrixInput(ModelInput):
    """For a model whose features and labels are numbers; source names it in errors."""

    def __init__(self, model: Model, source: str) -> None:
        net = network_of(model)
        self._n_features, self._n_labels, self._source = net.n_features, net.n_labels, source

    def scored(
        self, name: str, train: str | None = None, kind: str | None = None
    ) -> tuple[LabelledRows, sp.csr_array | None]:
        data = self._read(name, kind)
        Y_train = data.Y if data.test else None
        scored = self._checked(data.test or data)
        if train:
            Y_train = self._checked(self._read(train)).Y
        return scored, Y_train

    def predicted(self, name: str, kind: str | None = None) -> LabelledRows:
        data = self._read(name, kind, labels=False)
        return widened(data.test or data, self._n_features, None, self._source)

    def arriving(self, name: str, kind: str | None = None, id_column: str | None = None) -> Iterator[RowsToPredict]:
        if id_column:
            raise ValueError("--id-column: found rows of features, whose columns have no names, wanted a table of text")
        if name in slide.datasets.names():
            blocks = slices(self.predicted(name, kind).X)
        else:
            check_named(name)
            self._refuse_table(name, kind)
            blocks = read_blocks(name, kind)
        return or_none(map(self._to_predict, repeat(label(name)), blocks), sp.csr_array((0, self._n_features)))

    def _to_predict(self, name: str, block: RowBlock) -> RowsToPredict:
        X, total = block
        data = MatrixData(name, X, sp.csr_array((X.shape[0], 0)))
        return RowsToPredict(widened(data, self._n_features, None, self._source).X, total)

    def _refuse_table(self, name: str, kind: str | None) -> None:
        refuse_table(name, kind, f"rows of features: {self._source} was not trained on text")

    def _read(self, name: str, kind: str | None = None, *, labels: bool = True) -> MatrixData:
        self._refuse_table(name, kind)
        return read_data(name, kind, labels=labels)

    def _checked(self, data: MatrixData) -> MatrixData:
        return widened(data, self._n_features, self._n_labels, self._source)

    def lines(self, ids: Any, scores: Any) -> Iterator[str]:
        for labels, values in zip(ids.tolist(), scores.tolist(), strict=True):
            yield " ".join(f"{i}:{s:.6g}" for i, s in zip(labels, values, strict=True) if i >= 0) + "\n"


# -- files -------------------------------------------------------------------------------------------------------------


def read_data(name: str, kind: str | None = None, *, labels: bool = True) -> MatrixData:
    """A file or two, standard input, or an embedded data set with its test part; labels False: they may be missing."""
    if name in slide.datasets.names():
        with waiting(f"unpacking {name} ..."):
            X, Y, X_test, Y_test = slide.datasets.load(name)
        return MatrixData(name, X, Y, test=MatrixData(f"{name}, test part", X_test, Y_test))
    check_named(name)
    with waiting(f"reading {name} ..."):
        X, Y = read_matrices(name, kind, labels=labels)
        return MatrixData(label(name), X, sp.csr_array((X.shape[0], 0)) if Y is None else Y)


def read_test(name: str) -> MatrixData:
    """A file, or an embedded data set's test part."""
    data = read_data(name)
    return data.test or data


def widened(data: MatrixData, n_features: int, n_labels: int | None, source: str) -> MatrixData:
    """The data, of these widths; n_labels None: whatever their labels are.

    A file may be narrower, whatever its format: rows need not hold the last features and labels of those trained on.

    Raises
    ------
    ValueError
        For what is wider: source does not know those features or labels.
    """
    widths = [("features", data.X, n_features), ("labels", data.Y, data.Y.shape[1] if n_labels is None else n_labels)]
    for what, matrix, wanted in widths:
        if matrix.shape[1] > wanted:
            raise ValueError(
                f"{data.name}: found {matrix.shape[1]:,} {what}, wanted the {wanted:,} of {source}, or fewer"
            )
    X, Y = (_of_width(matrix, wanted) for _, matrix, wanted in widths)
    return replace(data, X=X, Y=Y)


def _of_width(matrix: sp.csr_array, width: int) -> sp.csr_array:
    if matrix.shape[1] == width:
        return matrix
    return sp.csr_array((matrix.data, matrix.indices, matrix.indptr), shape=(matrix.shape[0], width))


def refuse_unlabelled(name: str, n_rows: int, n_labels: int, known: str = "") -> None:
    """Refuses to score on no rows, or on rows none of which has a label; known : which labels count."""
    if not n_rows:
        raise ValueError(f"{name}: found no rows, wanted at least one to score")
    if not n_labels:
        raise ValueError(
            f"{name}: found no label{known} in {n_rows:,} rows, wanted labels to score by (slide predict needs none)"
        )


def refuse_table(name: str, kind: str | None = None, wanted: str = "") -> None:
    """Refuses a table where nothing says which columns hold what; Parquet may hold matrices (slide/io/formats.py)."""
    if not is_text_table(name, kind):
        return
    if wanted:
        raise ValueError(f"{label(name)}: found a table of text, wanted {wanted}")
    raise ValueError(f"{label(name)}: is a table; say which columns hold what with --text and --labels")


def refuse_text_options(args: Namespace) -> None:
    """Options of texts, which would change nothing."""
    for name in TEXT_OPTIONS:
        if getattr(args, name, None) is not None:
            option = "--" + name.replace("_", "-")
            raise ValueError(f"{option}: found rows of features, which have no texts, wanted --text and --labels too")


def validation_of(args: Namespace) -> float | str | None:
    """What --validation asks for: a share of the rows, the name of data, or None."""
    try:
        return float(args.validation)
    except (TypeError, ValueError):
        given: str | None = args.validation
        return given
