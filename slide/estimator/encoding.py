"""How a classifier's data become matrices and predictions become labels again: a reader, a scaling and the labels.

What is learned of X and y when training begins is here, as one value that goes with the network into the model file.
A reader turns X into rows of features: MatrixReader takes matrices and data frames, TextReader (slide/text/reader.py)
texts. The options of `normalize` are in slide/estimator/scaling.py, what y means in slide/estimator/labels.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.checks import among, check_lengths, check_pair, check_X, warn
from slide.engine.layout import IntArray
from slide.engine.one_row import Row, examples, one_row
from slide.engine.protocol import Examples
from slide.estimator.class_weight import row_weights
from slide.estimator.labels import Labels, Truth
from slide.estimator.scaling import Scaling, is_dense
from slide.estimator.sklearn_api import check_feature_names, feature_names
from slide.labels.forms import Values, class_names, read_labels
from slide.training.weights import TrainingRows

Pair = tuple[sp.csr_array, sp.csr_array]
Mask = npt.NDArray[np.bool_]

#: Labels of files from before labels had names.
UNNAMED = {"kind": "sparse", "dtype": "float32", "named": False, "nonempty": True, "class_dtype": "<i8"}


class Reader(Protocol):
    """Turns X as people have it into rows of features.

    Attributes
    ----------
    reads_tables : bool
        Whether X may be a table of measurements, whose columns `normalize="auto"` centres and scales.
    column_names : array [n_features] of str, or None
        Of the data frame that it was fitted with.
    names : sequence of str, or None
        What a person would call the features.
    """

    @property
    def reads_tables(self) -> bool: ...

    @property
    def column_names(self) -> npt.NDArray[np.object_] | None: ...

    @property
    def names(self) -> Sequence[Any] | None: ...

    def fit(self, X: Any, counts: Mask | None = None, n_threads: int | None = None) -> tuple[Self, sp.csr_array]:
        """A reader of such data, and X as checked rows, of which only those that count; this one stays as it is.

        n_threads : that may read; None: as many as this process may use
        """
        ...

    def read(self, X: Any, *, check_names: bool = True, n_threads: int | None = None) -> sp.csr_array:
        """X as rows of the features that `fit` learned, checked as slide.checks.check_X does, and not yet scaled."""
        ...

    def read_few(self, X: Any) -> list[Row] | None:
        """What `read` gives, where X is one row or a few that can be read in a shorter way; None also for faults."""
        ...

    def config(self) -> dict[str, Any]:
        """For a model file, as JSON values."""
        ...

    def arrays(self) -> dict[str, Values]:
        """For a model file."""
        ...


@dataclass(frozen=True)
class MatrixReader:
    """Reads sparse and dense matrices and data frames; `owner` is the class that its messages name."""

    owner: str
    n_features: int = 0
    column_names: npt.NDArray[np.object_] | None = None
    reads_tables = True

    @property
    def names(self) -> Sequence[Any] | None:
        """Names of a data frame's columns."""
        return None if self.column_names is None else self.column_names.tolist()

    def fit(
        self, X: Any, counts: Mask | None = None, n_threads: int | None = None
    ) -> tuple[MatrixReader, sp.csr_array]:
        """A reader of matrices with as many columns as X, of the same names if it is a data frame; and X."""
        rows = check_X(X, owner=self.owner)
        if counts is not None:
            check_lengths(rows.shape[0], len(counts))
            rows = rows[counts]
        return replace(self, n_features=rows.shape[1], column_names=feature_names(X)), rows

    def read(self, X: Any, *, check_names: bool = True, n_threads: int | None = None) -> sp.csr_array:
        """X as CSR float32 [n, n_features]; check_names: whether columns must be named as in `fit`."""
        if check_names:
            check_feature_names(X, self.column_names, self.owner)
        return check_X(X, self.n_features, self.owner)

    def read_few(self, X: Any) -> list[Row] | None:
        """The columns and values of X, if it is a matrix of one row and needs no names."""
        row = None if self.column_names is not None else one_row(X, self.n_features)
        return None if row is None else [row]

    def config(self) -> dict[str, Any]:
        """As JSON values."""
        return {"feature_names": None if self.column_names is None else self.column_names.tolist()}

    def arrays(self) -> dict[str, Values]:
        """None."""
        return {}

    @classmethod
    def restored(cls, config: Mapping[str, Any], n_features: int, owner: str) -> MatrixReader:
        """The inverse of `config`."""
        names = config.get("feature_names")
        return cls(owner, n_features, np.array(names, dtype=object) if names else None)


@dataclass(frozen=True)
class Encoding:
    """What a fitted classifier knows of its data's form; immutable, so that a failed fit leaves the earlier one."""

    reader: Reader
    scaling: Scaling
    labels: Labels

    @classmethod
    def fit(
        cls,
        reader: Reader,
        X: Any,
        y: Any,
        classes: Any,
        normalize: bool | str,
        sample_weight: Any,
        class_weight: Any,
        prepare: Callable[[TrainingRows], TrainingRows],
        n_threads: int | None = None,
    ) -> tuple[Encoding, TrainingRows]:
        """What training data say of features, scale and labels, and these data encoded.

        Labels are known of all rows; rows of weight 0 have no say in anything else. prepare : what is done to the rows
        before their scale is found

        Raises
        ------
        ValueError
            For data that cannot be read, or of which nothing can be learned; says what was found.
        """
        given = read_labels(y, n_labels=None if classes is None else len(class_names(classes)))
        labels = Labels.of(given, classes)
        Y = labels.encode(given)
        weights = row_weights(sample_weight, class_weight, labels, Y)
        counts = None if weights is None or weights.all() else weights > 0
        reader, X = reader.fit(X, counts, n_threads)
        if weights is not None and counts is not None:
            Y, weights = Y[counts], weights[counts]
        check_pair(X, Y)
        rows = prepare(TrainingRows.of(X, Y, weights))
        labels = replace(labels, nonempty=bool(np.diff(Y.indptr).all()))
        # A text that has most of a small vocabulary is still no row of measurements.
        normalize = True if among(normalize, ("auto",)) and not reader.reads_tables else normalize
        scaling = Scaling.of(rows.X, normalize, rows.weights)
        return cls(reader, scaling, labels), replace(rows, X=scaling(rows.X))

    def is_table(self, rows: sp.csr_array) -> bool:
        """Whether training rows, as the network sees them, are a dense table: columns that are constant are then 0."""
        return self.scaling.kind == "standard" or (self.reader.reads_tables and is_dense(rows))

    def rows(self, X: Any, *, check_names: bool = True, n_threads: int | None = None) -> sp.csr_array:
        """X as the network sees it: CSR float32 [n, n_features], checked and scaled."""
        return self.scaling(self.reader.read(X, check_names=check_names, n_threads=n_threads))

    def examples(self, X: Any, n_threads: int | None = None) -> Examples:
        """The same as the engine reads them; a row or a few texts get there without SciPy, which takes longer."""
        found = [self.scaling.row(row) for row in self.reader.read_few(X) or ()]
        rows = [row for row in found if row is not None]
        if not rows or len(rows) < len(found):
            return Examples.of(self.rows(X, n_threads=n_threads))
        return examples(rows)

    def training_rows(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        class_weight: Any = None,
        *,
        some_count: bool = True,
        n_threads: int | None = None,
    ) -> TrainingRows:
        """More training data, of the labels that are known: X as the network sees it, and an indicator."""
        rows, Y = self.reader.read(X, n_threads=n_threads), self.labels.encode(y)
        check_pair(rows, Y)
        weights = row_weights(sample_weight, class_weight, self.labels, Y, some_count=some_count)
        return TrainingRows.of(self.scaling(rows), Y, weights)

    def test_pair(self, X: Any, y: Any, where: str = "", n_threads: int | None = None) -> Pair:
        """X as the network sees it and an indicator, to score by; unknown labels have columns behind the others."""
        rows, truth = self.test_rows(X, y, where, n_threads)
        return rows, truth.Y

    def test_rows(self, X: Any, y: Any, where: str = "", n_threads: int | None = None) -> tuple[sp.csr_array, Truth]:
        """The same, with what the columns are called; warns of labels that are not known."""
        rows, truth = self.rows(X, n_threads=n_threads), self.labels.truth(y)
        if remark := truth.remark():
            warn(f"{where}y: {remark}")
        return rows, truth

    def decode(self, predicted: sp.csr_array) -> Any:
        """Predicted label sets, CSR [n, n_labels], in the form in which y was given."""
        return self.labels.decode(predicted)

    def resized(self, keep: IntArray, new: Values) -> Encoding:
        """With the labels `keep`, and new ones behind them."""
        return replace(self, labels=self.labels.resized(keep, new))

    def with_unlabelled(self, n_unlabelled: int) -> Encoding:
        """After a pass over all rows, so many of which had no label."""
        return replace(self, labels=replace(self.labels, nonempty=not n_unlabelled))

    # -- files ------------------------------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """For a model file, as JSON values."""
        return {"labels": self.labels.config(), "scaling": self.scaling.config(), **self.reader.config()}

    def arrays(self) -> dict[str, Values]:
        """For a model file."""
        return self.labels.arrays() | self.reader.arrays()

    @classmethod
    def restored(
        cls, reader: Reader, config: Mapping[str, Any], arrays: Mapping[str, Values], n_features: int, n_labels: int
    ) -> Encoding:
        """The inverse of `config` and `arrays`, the reader restored before; ValueError for what does not fit."""
        older: dict[str, Any] = {"kind": "unit" if config["params"]["normalize"] else "none", "mean": [], "factor": []}
        scaling = Scaling.restored(config.get("scaling", older), n_features)
        return cls(reader, scaling, Labels.restored(config.get("labels", UNNAMED), arrays, n_labels))
