"""Learns to rank: shortlists of the training rows, sparse rows by label, and how their scores and the logits combine.

The parts are slide/model/sparse_rows.py (the solver) and slide/model/ranker.py (what comes out). Sizes that nobody gave
are chosen here, from the data.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.checks import number, require, whole
from slide.engine.layout import FloatArray, IntArray
from slide.model.model import Model
from slide.model.ranker import Ranker, calibrate, found_among, log_loss
from slide.model.shortlists import leaf_candidates
from slide.model.sparse_rows import SolverOptions, SparseRows, solve

PAIRS = 6_000_000  # negative pairs that are learned on, about, where rows and labels are many
FEWEST, MOST = 30, 1_000  # negatives of a row
CALIBRATION_SHARE, CALIBRATION_ROWS = 0.05, 5_000
LEAST_CALIBRATION = 500  # rows, but a fifth of them where they are few
WEIGHTS_TRIED = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # of C, where none was given
FIRST_TRIED = 3.0
LABELS_TRIED = 3_000  # that it is chosen on
DEFAULT_C = 1.0
FEW_HELD = 0.04  # a share of the rows
UPDATE_C, UPDATE_BLOCKS, UPDATE_ROWS = 1.0, 8, 256  # of rows that come later
EXACT_LABELS = 30_000  # up to so many, a network without leaves scores all of them for its shortlists
CANDIDATES_OF = 20  # labels that the tables are asked for, for each one of a shortlist
LEARNED_OF = 10  # the same of leaves, for what is learned from: more find no wrong labels that matter


@dataclass(frozen=True)
class Rank:
    """Retrieve and rank: the network's best labels, ranked by a sparse row for each label (slide.model.ranker).

    A row is learned on the label's examples and on those training rows whose shortlist has the label wrongly (hard
    negatives: Jain et al., "Slice", WSDM 2019), as an L2-regularised squared hinge by dual coordinate descent (Hsieh et
    al., ICML 2008).

    Parameters
    ----------
    n_negatives : int or None
        Length of a training row's shortlist. None: what makes 6 million pairs, 30 to 1,000.
    n_ranked : int or None
        Labels of a row that are ranked in prediction. None: as many as n_negatives. Labels further down were never told
        apart from a row's own, and would come up.
    C : float or None
        Weight of a row's loss against that of the norm. None: the one of 0.3, 1, 3, 10, 30 and 100 under which the rows
        held out for the calibration are most probable, found on 3,000 of the labels.
    positive_weight : float
        Of the loss of a label's examples, beside that of the negatives.
    prune : float
        Weights under this in absolute value are dropped. Rows of X of unit length have weights of about 0.1 to 1.
    eps, max_passes : float, int
        A label is solved when its projected gradients lie within eps of each other; one of more than 128 rows is left
        after so many passes.
    """

    n_negatives: int | None = None
    n_ranked: int | None = None
    C: float | None = None
    positive_weight: float = 1.0
    prune: float = 0.05
    eps: float = 0.1
    max_passes: int = 20

    def __post_init__(self) -> None:
        for name in ("n_negatives", "n_ranked"):
            value = getattr(self, name)
            require(value is None or whole(value) >= 1, f"Rank({name}=)", value, "an int, 1 or more, or None")
        for name in ("C", "positive_weight"):
            value = getattr(self, name)
            ok = (name == "C" and value is None) or 0 < number(value) < np.inf
            require(ok, f"Rank({name}=)", value, "a positive number")
        for name in ("prune", "eps"):
            value = getattr(self, name)
            require(0 <= number(value) < np.inf, f"Rank({name}=)", value, "a number, 0 or more")
        require(whole(self.max_passes) >= 1, "Rank(max_passes=)", self.max_passes, "an int, 1 or more")

    def sized(self, n_rows: int, n_labels: int) -> Rank:
        """With sizes for so many rows and labels."""
        m = self.n_negatives or int(np.clip(PAIRS // max(n_rows, 1), FEWEST, MOST))
        m = min(m, n_labels)
        return replace(self, n_negatives=m, n_ranked=min(self.n_ranked or m, n_labels))


@dataclass(frozen=True)
class RankingFacts:
    """What learning to rank chose, and why: print it.

    Attributes
    ----------
    n_negatives, n_ranked : int
        Labels of a training row that its sparse rows are told apart from, and labels of a row that are ranked.
    C : float
    held_losses : dict of float to float
        Log loss of held-out rows under each C that was tried; empty if C was given.
    n_weights : int
        Of all sparse rows together.
    n_calibration : int
        Rows held out for C and the calibration.
    logit_share : float
        What a logit adds to the log odds of a label.
    seconds : dict of str to float
        Of each part of the ranker.
    """

    n_negatives: int
    n_ranked: int
    C: float
    held_losses: dict[float, float]
    n_weights: int
    n_calibration: int
    logit_share: float
    seconds: dict[str, float]

    def __str__(self) -> str:
        tried = ", ".join(f"{C:g}: {loss:.4f}" for C, loss in sorted(self.held_losses.items()))
        why = (
            f"least log loss on {self.n_calibration:,} held-out rows of those tried ({tried})" if tried else "as given"
        )
        return "\n".join(
            [
                f"  ranked           a row's best {self.n_ranked:,} labels, by {self.n_weights:,} weights",
                f"  negatives a row  {self.n_negatives:,}",
                f"  C                {self.C:g}: {why}",
                f"  calibration      on {self.n_calibration:,} rows; a logit counts {self.logit_share:.2f}",
                "  seconds          " + ", ".join(f"{name} {value:.1f}" for name, value in self.seconds.items()),
            ]
        )


def held_for_calibration(n_rows: int, seed: int) -> npt.NDArray[np.bool_]:
    """bool [n_rows]: which rows neither the network nor the sparse rows see before the calibration."""
    n = min(max(int(n_rows * CALIBRATION_SHARE), min(LEAST_CALIBRATION, n_rows // 5)), CALIBRATION_ROWS)
    held = np.zeros(n_rows, np.bool_)
    if n:
        held[np.random.default_rng([seed, 20]).choice(n_rows, n, replace=False)] = True
    return held


def shortlists(net: Model, X: sp.csr_array, m: int, at_most: int | None = None) -> tuple[IntArray, FloatArray]:
    """ids int32 [n, m] and logits float32 [n, m] of the network's best labels, best first, -1 where there are fewer.

    at_most : candidates from leaves for each label of a shortlist
    """
    exact = net.n_labels <= EXACT_LABELS or net.states[-1].lsh is None
    n_candidates = net.n_labels if exact else min(max(CANDIDATES_OF * m, 2_000), net.n_labels)
    from_leaves = leaf_candidates(net, m)
    if at_most is not None:
        from_leaves = min(from_leaves, at_most * m)
    return net.shortlist(X, m, n_candidates=from_leaves or n_candidates)


class RankingSource:
    """Where `learn_ranker` gets shortlists and sparse rows from: one network here, or the parts of one elsewhere."""

    def __init__(self, net: Model, between: Callable[[], None] | None = None) -> None:
        self._net, self._between = net, between
        self.n_labels, self.n_features = net.n_labels, net.n_features

    def shortlists(self, X: sp.csr_array, m: int, at_most: int | None = None) -> tuple[IntArray, FloatArray]:
        """As the function of this name."""
        return shortlists(self._net, X, m, at_most)

    def solve(
        self, X: sp.csr_array, Y: sp.csr_array, lists: IntArray, options: SolverOptions, **more: Any
    ) -> SparseRows:
        """As slide.model.sparse_rows.solve."""
        how = {"backend": self._net.backend, "between": self._between, **more}
        return solve(X, Y, lists, replace(options, n_threads=self._net.n_threads), **how)

    def scores(self, rows: SparseRows, X: sp.csr_array, ids: IntArray) -> FloatArray:
        """As SparseRows.scores, of rows that `solve` returned."""
        return rows.scores(X, ids, self._net.n_threads, self._net.backend)

    def n_weights(self, rows: SparseRows) -> int:
        """Of rows that `solve` returned."""
        return len(rows.features)

    def rank_by(self, ranker: Ranker) -> None:
        """From now on the network's predictions are ranked by it."""
        self._net.rank_by(ranker)


def learn_ranker(
    net: Model | RankingSource,
    X: sp.csr_array,
    Y: sp.csr_array,
    held: npt.NDArray[np.bool_],
    options: Rank,
    seed: int,
    weights: FloatArray | None = None,
    before_held: Callable[[], None] | None = None,
    between: Callable[[], None] | None = None,
) -> RankingFacts:
    """Gives a trained network a ranker, learned on X and Y; rows that are `held` were not trained on.

    weights : of the rows' losses; C and the calibration follow from held rows as if all had the same
    before_held : called when the network ranks, but has learned nothing of the held rows yet
    between : called every second or two of the work; what it raises ends it

    Returns what was chosen and how long each part took.
    """
    source = net if isinstance(net, RankingSource) else RankingSource(net, between)
    sized = options.sized(X.shape[0], source.n_labels)
    n_negatives, n_ranked = sized.n_negatives, sized.n_ranked
    assert n_negatives is not None
    assert n_ranked is not None
    clock = [time.perf_counter()]
    main = ~held if held.any() else np.ones(len(held), np.bool_)
    lists, _ = source.shortlists(X, n_negatives, LEARNED_OF)
    clock.append(time.perf_counter())
    losses: dict[float, float] = {}
    if sized.C is None and held.any():
        losses = _tried(source, (X, Y), lists, held, sized, seed, _some(weights, ~held))
    if sized.C is None:
        sized = replace(sized, C=min(losses, key=losses.__getitem__) if losses else DEFAULT_C)
    clock.append(time.perf_counter())
    first = _solved(source, X[main], Y[main], lists[main], sized, seed, row_weights=_some(weights, main))
    clock.append(time.perf_counter())
    sample = np.flatnonzero(held) if held.any() else np.arange(len(held))[:CALIBRATION_ROWS]
    curve, logit_share, sum_share = _calibrated(source, first, X[sample], Y[sample], n_ranked)
    clock.append(time.perf_counter())
    source.rank_by(Ranker(first, n_ranked, curve, logit_share, sum_share))
    if before_held is not None:
        before_held()
    few = held.mean() < FEW_HELD  # then they are not worth a second solution with them
    rows = first if few else _solved(source, X, Y, lists, sized, seed, row_weights=weights, warm=first)
    clock.append(time.perf_counter())
    source.rank_by(Ranker(rows, n_ranked, curve, logit_share, sum_share))
    seconds = dict(
        zip(("shortlists", "choosing", "rows", "calibration", "rows_again"), np.diff(clock).tolist(), strict=True)
    )
    return RankingFacts(
        n_negatives=n_negatives,
        n_ranked=n_ranked,
        C=float(sized.C or DEFAULT_C),
        held_losses=losses,
        n_weights=source.n_weights(rows),
        n_calibration=len(sample) if held.any() else 0,
        logit_share=logit_share,
        seconds=seconds,
    )


def update_ranker(net: Model, X: sp.csr_array, Y: sp.csr_array, weights: FloatArray | None = None) -> None:
    """Sparse rows that rank learn of more rows, whose losses have these weights; nothing where there are none.

    Each row moves its labels, and those of its shortlist that are not its own, to their side of the margin: one step of
    dual coordinate ascent on the same loss (passive-aggressive II: Crammer et al., JMLR 2006). A label that several
    rows of a block move goes to the mean of them.
    """
    ranker = net.ranker
    if ranker is None or not X.shape[0]:
        return
    for block in np.array_split(np.arange(X.shape[0]), min(UPDATE_BLOCKS, -(-X.shape[0] // UPDATE_ROWS))):
        rows = _moved(net, ranker, X[block], Y[block], None if weights is None else weights[block])
        ranker = replace(ranker, rows=rows)
        net.rank_by(ranker)


def _moved(net: Model, ranker: Ranker, X: sp.csr_array, Y: sp.csr_array, weights: FloatArray | None) -> SparseRows:
    old, C = ranker.rows, UPDATE_C * (np.ones(X.shape[0], np.float32) if weights is None else weights)
    ids = _with_own(shortlists(net, X, ranker.n)[0], Y)
    z = old.scores(X, ids, net.n_threads, net.backend)
    sign = np.where(found_among(Y, ids), np.float32(1), np.float32(-1))
    miss = np.where(ids >= 0, np.maximum(0, 1 - sign * np.where(ids >= 0, z, 0)), 0)
    row, place = np.nonzero(miss)
    label = ids[row, place]
    lengths = np.asarray(X.multiply(X).sum(axis=1)).reshape(-1)
    step = (sign * miss)[row, place] / (lengths[row] + 1 + 0.5 / C[row]) / np.bincount(label)[label]
    moves = sp.csr_array((step.astype(np.float32), (label, row)), shape=(net.n_labels, X.shape[0]))
    steps = sp.csr_array(moves @ X)
    steps.sort_indices()
    return old.moved(steps, np.bincount(label, step, net.n_labels).astype(np.float32))


def _with_own(ids: IntArray, Y: sp.csr_array) -> IntArray:
    """Shortlists [n, m] and, behind them, those of a row's labels that they lack, -1 padded."""
    counts = np.diff(Y.indptr)
    own = np.full((len(ids), int(counts.max(initial=0))), -1, np.int32)
    own[np.arange(own.shape[1]) < counts[:, None]] = Y.indices
    own[(own[:, :, None] == ids[:, None, :]).any(axis=2)] = -1
    return np.concatenate([ids, own], axis=1)


def _tried(
    source: RankingSource,
    pair: tuple[sp.csr_array, sp.csr_array],
    lists: IntArray,
    held: npt.NDArray[np.bool_],
    options: Rank,
    seed: int,
    weights: FloatArray | None,
) -> dict[float, float]:
    """By C: what the held rows' log loss is, after the calibration, over some of the labels in their shortlists.

    From 3 on upwards, for as long as it gets better; if it never does, downwards.
    """
    X, Y = pair
    ids, logits = source.shortlists(X[held], min(options.n_negatives or FEWEST, FEWEST))
    some = _some_labels(ids, seed)
    place = np.full(source.n_labels + 1, -1, np.int32)  # the last is that of an empty one, -1
    place[some] = np.arange(len(some), dtype=np.int32)
    own, hits = place[ids], found_among(Y[held], ids)
    train = X[~held], sp.csr_array(Y[~held][:, some]), place[lists[~held]]
    losses: dict[float, float] = {}

    def loss(C: float) -> float:  # from scratch: the multipliers of another C are a bad start
        rows = _solved(source, *train, replace(options, C=C), seed, row_weights=weights)
        z = source.scores(rows, X[held], own)
        return log_loss(z, np.where(own < 0, -np.inf, logits), hits)

    at = WEIGHTS_TRIED.index(FIRST_TRIED)
    losses[FIRST_TRIED] = loss(FIRST_TRIED)
    for way in (WEIGHTS_TRIED[at + 1 :], WEIGHTS_TRIED[:at][::-1]):
        for C in way:
            losses[C] = loss(C)
            if losses[C] > min(losses.values()):
                break
        if min(losses, key=losses.__getitem__) != FIRST_TRIED:
            break
    return losses


def _some(weights: FloatArray | None, rows: npt.NDArray[np.bool_]) -> FloatArray | None:
    return None if weights is None else weights[rows]


def _some_labels(ids: IntArray, seed: int) -> IntArray:
    """Labels of the shortlists, drawn at random, ascending."""
    listed = np.unique(ids[ids >= 0])
    drawn = np.random.default_rng([seed, 21]).choice(listed, min(LABELS_TRIED, len(listed)), replace=False)
    return np.sort(drawn).astype(np.int32)


def _solved(
    source: RankingSource, X: sp.csr_array, Y: sp.csr_array, lists: IntArray, options: Rank, seed: int, **more: Any
) -> SparseRows:
    solver = SolverOptions(
        n_features=source.n_features,
        C=DEFAULT_C if options.C is None else options.C,
        positive_weight=options.positive_weight,
        eps=options.eps,
        prune=options.prune,
        max_passes=options.max_passes,
        seed=seed,
    )
    return source.solve(X, Y, lists, solver, **more)


def _calibrated(
    source: RankingSource, rows: SparseRows, X: sp.csr_array, Y: sp.csr_array, n_ranked: int
) -> tuple[FloatArray, float, float]:
    ids, logits = source.shortlists(X, n_ranked)
    z = source.scores(rows, X, ids)
    return calibrate(z, logits, found_among(Y, ids))
