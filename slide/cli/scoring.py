"""How well a model predicts labelled rows, and what is printed of it. The metrics: slide/metrics/."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

import slide
from slide.cli.data import LabelledRows, MatrixInput, ModelInput, refuse_unlabelled
from slide.cli.models import Model, network_of
from slide.cli.rows import RowsToPredict, cut
from slide.cli.text_data import TextInput
from slide.engine.layout import FloatArray, IntArray
from slide.text.classifier import SlideTextClassifier
from slide.training import bars
from slide.training.evaluation import KS, widened

Pairs = npt.NDArray[np.int64]
NAMES = ("p", "psp", "psndcg")  # of the metrics that people are shown
METRICS = [f"{name}@{k}" for name in NAMES for k in KS]
ROWS_AT_ONCE = 1024  # scored by one call, so that Ctrl-C and the bar are served in between


def input_of(model: Model, source: str) -> ModelInput:
    """How the data of this model are read, matrices or tables of text; source is the model's file, for errors."""
    return TextInput(model, source) if isinstance(model, SlideTextClassifier) else MatrixInput(model, source)


def score(
    model: Model,
    data: LabelledRows,
    Y_train: sp.csr_array | None,
    n_candidates: int | None = None,
    pairs: Pairs | None = None,
    **propensity: float,
) -> dict[str, Any]:
    """Every metric in percent, and how long scoring took; pairs of a row and a label are left out."""
    begin = time.perf_counter()
    n = data.Y.shape[0]
    n_unlabelled = unlabelled(data)
    more = int(np.bincount(pairs[:, 0]).max()) if pairs is not None and len(pairs) else 0
    ids: npt.NDArray[Any] = predicted(model, data, n_candidates, more)[0]
    seconds = time.perf_counter() - begin
    if pairs is not None:
        Y, ids = slide.metrics.without_pairs(data.Y, ids, pairs)
        data, ids = replace(data, Y=Y), ids[:, : max(KS)]
    Y_train = None if Y_train is None else widened(Y_train, data.Y.shape[1])
    found = slide.metrics.evaluate(data.Y, ids, Y_train, KS, **propensity)
    facts = {
        "test": data.name,
        "n_test_samples": n,
        "n_unlabelled_samples": n_unlabelled,
        "n_unknown_labels": data.truth.n_unknown if data.truth else 0,
        "predict_seconds": round(seconds, 3),
        **percent(found),
    }
    if pairs is not None:
        facts["n_filtered_pairs"] = len(pairs)
    if Y_train is None:
        return facts
    groups = slide.metrics.by_frequency(data.Y, ids, Y_train, max(KS))
    return facts | {"by_frequency": [group._asdict() for group in groups]}


def unlabelled(data: LabelledRows) -> int:
    """Rows that have no label which the model knows: they count, and score 0. ValueError if that is all of them."""
    refuse_unlabelled(data.name, data.Y.shape[0], data.known.nnz, " that the model knows")
    return int(np.count_nonzero(np.diff(data.known.indptr) == 0))


def filtered_pairs(name: str, data: LabelledRows) -> Pairs:
    """The pairs of a row and a label in a file, labels by column; where labels have names, the file has those."""
    pairs = slide.read_filter_labels(name)
    n, n_labels = data.Y.shape
    if data.truth:
        pairs[:, 1] = data.truth.labels.ids(pairs[:, 1], drop_unknown=True, argument=name)
        pairs = pairs[pairs[:, 1] >= 0]  # what is no label is neither true nor predicted
    wrong = pairs[(pairs[:, 0] >= n) | (pairs[:, 1] >= n_labels)]
    if len(wrong):
        found, wanted = "row {:,} and label {:,}".format(*wrong[0]), f"rows under {n:,} and labels under {n_labels:,}"
        raise ValueError(f"{name}: found {found}, wanted {wanted}, those of {data.name}")
    return pairs


def predicted(
    model: Model, data: LabelledRows, n_candidates: int | None = None, more: int = 0, *, proba: bool = False
) -> tuple[IntArray, FloatArray]:
    """The best labels of each row, [n, 5 + more], -1 where there are fewer, and their scores or probabilities."""
    if data.truth and (remark := data.truth.remark()):
        print(f"slide: warning: {data.name}: {remark}", file=sys.stderr, flush=True)
    shape = data.Y.shape[0], max(KS) + more
    k = min(shape[1], network_of(model).n_labels)
    ids, scores = np.full(shape, -1, np.int32), np.zeros(shape, np.float32)
    for rows, best, values in blocks(model, data.X, k, n_candidates, proba=proba):
        ids[rows, :k], scores[rows, :k] = best, values
    return ids, scores


def percent(found: Mapping[str, float]) -> dict[str, float | None]:
    """Fractions as percentages to print; None for what is not defined."""
    return {name: round(100 * value, 2) if math.isfinite(value) else None for name, value in found.items()}


def frequency_table(facts: dict[str, Any]) -> str:
    """What the labels of each frequency are worth."""
    lines = [f"{'training rows':>16}{'labels':>11}{'true':>11}{'recall@5':>11}{'precision@5':>13}"]
    for group in [slide.metrics.Frequency(**g) for g in facts["by_frequency"]]:
        span = f"{group.least:,}" if group.least == group.most else f"{group.least:,} to {group.most:,}"
        shares = [f"{100 * x:.2f}" if math.isfinite(x) else "" for x in (group.recall, group.precision)]
        lines.append(f"{span:>16}{group.labels:>11,}{group.true:>11,}{shares[0]:>11}{shares[1]:>13}")
    return "\n".join(lines)


def table(facts: dict[str, Any]) -> str:
    """P@k, PSP@k and PSnDCG@k as people read them."""
    lines = ["  %   " + "".join(f"{'@' + str(k):>8}" for k in KS)]
    for name in NAMES:
        values = [facts[f"{name}@{k}"] for k in KS]
        if None not in values:
            lines.append(f"{bars.metric_name(name):<6}" + "".join(f"{v:8.2f}" for v in values))
    n, seconds, unlabelled = (facts[name] for name in ("n_test_samples", "predict_seconds", "n_unlabelled_samples"))
    if unlabelled:
        lines.append(f"{unlabelled:,} of these rows have no label that the model knows, and count as missed")
    if facts.get("n_filtered_pairs") is not None:
        lines.append(f"left out: {facts['n_filtered_pairs']:,} pairs of a row and a label")
    lines.append(f"scored {n:,} rows in {bars.duration(seconds)}: {1000 * seconds / max(n, 1):.3g} ms a row")
    return "\n".join(lines)


def blocks(
    model: Model, X: sp.csr_array, k: int, n_candidates: int | None, *, proba: bool = False
) -> Iterator[tuple[slice, Any, Any]]:
    """Rows, ids and scores of predict_topk, or probabilities, a block of rows at a time."""
    return blocks_of(X, top_k(model, k, n_candidates, proba=proba))


def top_k(model: Model, k: int, n_candidates: int | None, *, proba: bool = False) -> Callable[[Any], tuple[Any, Any]]:
    """predict_topk with these arguments."""
    how: dict[str, Any] = {"n_candidates": n_candidates}
    if proba:
        how["proba"] = True
    return lambda some: model.predict_topk(some, k, **how)


def blocks_of(X: Any, answer: Callable[[Any], tuple[Any, Any]]) -> Iterator[tuple[slice, Any, Any]]:
    """Rows, and what is answered to them, a block of rows at a time."""
    first = 0
    for block, ids, scores in answered(cut(X, ROWS_AT_ONCE), answer, X.shape[0]):
        yield slice(first, first + block.n_rows), ids, scores
        first += block.n_rows


def answered(
    rows: Iterable[RowsToPredict], answer: Callable[[Any], tuple[Any, Any]], total: int | None = None
) -> Iterator[tuple[RowsToPredict, Any, Any]]:
    """Blocks of rows with what is answered to them, as they come; total : of rows, where it is known from the start."""
    with bars.follow_rows("scoring", total) as advance:
        for block in rows:
            yield block, *answer(block.X)
            advance(block.n_rows, block.total)
