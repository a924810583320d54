"""How a classifier's network is trained on encoded rows, and what is recorded of it: time, threshold, history, card."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import scipy.sparse as sp

from slide.checks import Checked, require
from slide.estimator.card import TrainingFacts
from slide.estimator.encoding import Pair
from slide.estimator.fitted import FittedClassifier
from slide.estimator.holdout import encoded, hold_out
from slide.inference.scores import threshold
from slide.training import bars
from slide.training.callbacks import Callback, Shown, listed
from slide.training.ranking import Rank, held_for_calibration, learn_ranker, update_ranker
from slide.training.source import BlockSource


def train(
    clf: FittedClassifier, pair: Pair, eval_set: Any, callback: Any, rank: Rank | None = None, **fit_kwargs: Any
) -> None:
    """Trains on rows in memory.

    pair : as the network sees them; eval_set, callback : as SlideClassifier.fit takes it; fit_kwargs : of Network.fit
    rank : how to learn to rank, once the network is trained; None: sparse rows that rank already learn of these rows
    """
    callbacks = [*verbose_callbacks(clf.verbose), *listed(callback)]
    (rows, Y), held = hold_out(*pair, eval_set, clf._encoding, clf.random_state)
    facts = TrainingFacts.of(rows, Y)

    def stored() -> dict[str, Any]:
        clf.threshold_ = threshold(clf.network_, rows, Y)
        return clf._stored()

    apart = held_for_calibration(rows.shape[0] if rank else 0, clf.random_state)
    main = (rows[~apart], Y[~apart]) if apart.any() else (rows, Y)
    with recorded(clf, rows, Y, lambda: facts):
        X = Checked(main[0], facts.fingerprint)
        fit_kwargs |= {"callback": callbacks, "checkpoint_adds": stored}
        clf.network_.fit(X, Checked(main[1]), eval_set=_checked(held), **fit_kwargs)
        if rank is None:
            update_ranker(clf.network_, rows, Y)
        else:
            for one in callbacks:
                if isinstance(one, Shown):
                    one.say("learning to rank the best labels of each row")
            clf.plan_.ranking = learn_ranker(clf.network_, rows, Y, apart, rank, clf.random_state)
    say_what_was_done(clf)


def train_on_blocks(
    clf: FittedClassifier, blocks: Iterable[Any], sample: Pair, eval_set: Any, callback: Any, **fit_kwargs: Any
) -> None:
    """Trains on blocks of rows as SlideClassifier.fit_blocks takes them.

    sample : some rows as the network sees them; fit_kwargs : of Network.fit_blocks
    """
    callbacks = [*verbose_callbacks(clf.verbose), *listed(callback)]
    held = _checked(None if eval_set is None else encoded(eval_set, clf._encoding))
    pairs = BlockSource(blocks, clf._encoding.pair)

    def facts() -> TrainingFacts:
        clf._encoding = clf._encoding.with_unlabelled(pairs.n_unlabelled)
        sizes = pairs.n_rows, clf.n_features_in_, clf.n_labels_
        return TrainingFacts.counted(*sizes, pairs.n_values, pairs.n_labels)

    with recorded(clf, *sample, facts):
        clf.network_.fit_blocks(CheckedBlocks(pairs), eval_set=held, callback=callbacks, **fit_kwargs)
    say_what_was_done(clf)


@contextmanager
def recorded(
    clf: FittedClassifier, rows: sp.csr_array, Y: sp.csr_array, facts: Callable[[], TrainingFacts]
) -> Iterator[None]:
    """Records how the training inside went; rows and Y are those, or some of those, that are trained on."""
    started, before = time.perf_counter(), clf.network_.step
    try:
        yield
    finally:  # an interrupted fit leaves a usable model
        clf.fit_seconds_ = time.perf_counter() - started
        trained = clf.network_.step - before - clf.network_.samples_resumed
        clf.samples_per_second_ = max(trained, 0) / clf.fit_seconds_
        clf.history_ = clf.network_.history
        clf.threshold_ = threshold(clf.network_, rows, Y)
        clf.card_ = facts().card(clf.network_, clf.fit_seconds_, clf.samples_per_second_)


# -- verbose -----------------------------------------------------------------------------------------------------------


def verbose_callbacks(verbose: Any) -> list[Callback]:
    """What prints as a fit goes on: nothing at 0, lines at the ends of epochs at 1, and every few seconds at 2."""
    require(verbose in (0, 1, 2), "verbose", verbose, "0, 1 or 2")
    if not verbose:
        return []
    return [Shown(bars.Lines(sys.stdout, bars.LINE_SECONDS if verbose > 1 else float("inf")))]


def say_what_was_done(clf: FittedClassifier) -> None:
    """After a fit that is verbose."""
    if clf.verbose:
        print(f"trained in {bars.duration(clf.fit_seconds_)}: {clf.samples_per_second_:,.0f} samples/s", flush=True)
    if clf.verbose > 1 and hasattr(clf, "plan_"):
        print(clf.plan_, flush=True)


class CheckedBlocks:
    """Blocks that a classifier has checked, anew in each pass: the network need not."""

    def __init__(self, pairs: Iterable[Pair]) -> None:
        self._pairs = pairs

    def __iter__(self) -> Iterator[tuple[Checked, Checked]]:
        for X, Y in self._pairs:
            yield Checked(X), Checked(Y)


def _checked(pair: Pair | None) -> tuple[Checked, Checked] | None:
    return None if pair is None else (Checked(pair[0]), Checked(pair[1]))
