"""How a classifier's network is trained on encoded rows, and what is recorded of it: time, threshold, history, card."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import scipy.sparse as sp

from slide.checks import Checked, require, whole
from slide.estimator.build import build_network, refuse_sparse_rows
from slide.estimator.calibrating import as_unseen, goes_on_with_all, kept_back, marked
from slide.estimator.card import TrainingFacts
from slide.estimator.deciding import LearnedOn, fixed_thresholds
from slide.estimator.encoding import Encoding, Pair
from slide.estimator.fitted import FittedClassifier
from slide.estimator.holdout import encoded, hold_out
from slide.estimator.label_doubts import doubt_labels
from slide.estimator.plan import FitPlan
from slide.estimator.sklearn_api import seed_of
from slide.inference.scores import threshold
from slide.network import Network
from slide.optim import check_schedule
from slide.training import bars
from slide.training.callbacks import Callback, Callbacks, Shown, listed
from slide.training.ranking import Rank, held_for_calibration, learn_ranker, update_ranker
from slide.training.source import BlockSource
from slide.training.weights import TrainingRows


def begin(
    clf: Any,
    X: Any,
    y: Any,
    classes: Any,
    sample_weight: Any = None,
    *,
    few_rows: int = 0,
    all_there: bool = False,
    repeats: bool = False,
    elsewhere: type[Network] | None = None,
) -> TrainingRows:
    """Gives a classifier an untrained model for these data; the data as it sees them. An error leaves an earlier fit.

    few_rows : fewer are trained on by one thread, where their number is not given
    all_there : no others will come, so what can be chosen from them is
    repeats : whether few rows may be there as often as their weights say
    elsewhere : see build_network
    """
    check_schedule(clf.schedule)
    check_verbose(clf.verbose)
    if not all_there:
        refuse_balanced(clf.class_weight)

    def prepare(rows: TrainingRows) -> TrainingRows:
        rows = rows.scaled_up() if all_there else rows
        return rows.repeated() if repeats else rows

    weights = sample_weight, clf.class_weight
    encoding, rows = Encoding.fit(clf._new_reader(), X, y, classes, clf.normalize, *weights, prepare, clf.n_threads)
    n_threads = 1 if clf.n_threads is None and rows.X.shape[0] < few_rows else clf.n_threads
    doubt_labels(encoding.labels, rows.Y, all_there)
    fixed = fixed_thresholds(clf.threshold, encoding.labels.kind == "classes")
    refuse_sparse_rows(clf.hidden, rows.X)
    table = encoding.is_table(rows.X)
    plan = FitPlan.of(clf.wide, *((rows.X, rows.Y) if all_there else ()), is_table=table)
    sizes = rows.X.shape[1], rows.Y.shape[1]
    seed = seed_of(clf.random_state)
    clf.network_ = build_network(clf, *sizes, n_threads, plan.wide, seed, elsewhere=elsewhere)
    clf.plan_, clf._encoding, clf.calibration_, clf.thresholds_ = plan, encoding, None, fixed
    return rows


def refuse_balanced(class_weight: Any) -> None:
    """Where not all rows are seen at once."""
    ok = not (isinstance(class_weight, str) and class_weight == "balanced")
    require(ok, "class_weight", class_weight, "a dict or None: only fit sees all rows and can balance them")


def train(
    clf: FittedClassifier,
    rows: TrainingRows,
    eval_set: Any,
    callback: Any,
    rank: Rank | None = None,
    calibrate: Any = None,
    cluster: Any = None,
    **fit_kwargs: Any,
) -> None:
    """Trains on rows in memory.

    rows : as the network sees them; eval_set, callback : as SlideClassifier.fit takes it; fit_kwargs : of Network.fit
    rank : how to learn to rank, once the network is trained; None: sparse rows that rank already learn of these rows
    calibrate : as SlideClassifier.fit takes it; None: probabilities and thresholds stay what they are
    """
    given = _calibration_rows(clf, calibrate)
    if cluster is not None:
        cluster.check_answers(calibrate)
    net, callbacks = clf.network_, [*verbose_callbacks(clf.verbose), *listed(callback)]
    net.check_trains()
    rows, held = hold_out(rows, eval_set, clf._encoding, net.seed, net.n_threads)
    facts = TrainingFacts.of(rows.X, rows.Y)

    def stored() -> dict[str, Any]:
        clf.threshold_ = threshold(net, rows.X, rows.Y)
        return clf._stored()

    n_rows = rows.X.shape[0]
    by_itself = calibrate is True and held is None and (rank or not goes_on_with_all(fit_kwargs.get("checkpoint")))
    apart = held_for_calibration(n_rows, net.seed) if rank else kept_back(n_rows if by_itself else 0, net.seed)
    main = rows.take(~apart) if apart.any() else rows
    learned = LearnedOn(clf, given, held if calibrate is True else None)
    if calibrate is not None:
        learned.check(int(apart.sum()) if by_itself else 0)

    def data() -> str:
        return marked(facts.fingerprint(), 0 if rank else int(apart.sum()))

    def calibrate_on_held() -> None:
        if by_itself and apart.any():
            learned.learn(as_unseen(rows.X, apart, clf._encoding.scaling), rows.Y[apart])

    def fit_here() -> None:
        how = fit_kwargs | {"callback": callbacks, "checkpoint_adds": stored, "sample_weight": main.weights}
        net.fit(Checked(main.X, data), Checked(main.Y), eval_set=_checked(held), **how)

    with recorded(clf, rows.X, rows.Y, lambda: facts):
        if cluster is not None:
            how = fit_kwargs | {"callback": callbacks, "eval_set": held}
            fit_on_cluster(clf, cluster, rows, apart, calibrate_on_held, rank, **how)
        elif rank is None:
            fit_here()
            calibrate_on_held()
            update_ranker(net, rows.X, rows.Y, rows.weights)
        else:
            fit_here()
            for one in callbacks:
                if isinstance(one, Shown):
                    one.say("learning to rank the best labels of each row")
            told = partial(Callbacks.of(callbacks).tell, "on_ranking", net)
            how = {"weights": rows.weights, "before_held": calibrate_on_held, "between": told}
            clf.plan_.ranking = learn_ranker(net, rows.X, rows.Y, apart, rank, net.seed, **how)
        learned.learn_of_given()
    save_parts(clf, cluster)
    say_what_was_done(clf)


def save_parts(clf: FittedClassifier, cluster: Any) -> None:
    """Adds to parts of a model that workers wrote what was learned of it since."""
    if cluster is not None and cluster.parts_to is not None:
        clf.save_shards(cluster.parts_to)


def fit_on_cluster(
    clf: FittedClassifier,
    cluster: Any,
    rows: TrainingRows,
    apart: Any,
    before_held: Callable[[], None],
    rank: Rank | None,
    **fit_kwargs: Any,
) -> None:
    """Trains by the workers of a cluster (slide.distributed), and learns probabilities here."""
    net = clf.network_
    found = cluster.fit_network(net, rows, apart, rank=rank, **fit_kwargs)
    _left_to(clf, found)
    if rank is None:
        before_held()
        return
    clf.plan_.ranking = found.facts
    last = net.ranker
    net.rank_by(found.first_ranker)
    before_held()
    net.rank_by(last)


def _left_to(clf: FittedClassifier, found: Any) -> None:
    """What a fit on a cluster left; None in a process of another rank, which has done its part."""
    clf.shared_fit_ = found
    if found is None:
        raise _PartDone(0)


class _PartDone(SystemExit):
    """Of a process that is not the first."""


def _calibration_rows(clf: FittedClassifier, calibrate: Any) -> Pair | None:
    """Rows that were given to learn probabilities on, as the network sees them."""
    if calibrate is None or isinstance(calibrate, bool):
        return None
    return encoded(calibrate, clf._encoding, clf.network_.n_threads, "calibrate")


def train_on_blocks(
    clf: FittedClassifier,
    blocks: Iterable[Any],
    sample: Pair,
    eval_set: Any,
    callback: Any,
    calibrate: Any = True,
    cluster: Any = None,
    **fit_kwargs: Any,
) -> None:
    """Trains on blocks of rows as SlideClassifier.fit_blocks takes them.

    sample : some rows as the network sees them; fit_kwargs : of Network.fit_blocks, or a cluster's
    """
    if cluster is not None:
        cluster.check_answers(calibrate)
    callbacks = [*verbose_callbacks(clf.verbose), *listed(callback)]
    given = _calibration_rows(clf, calibrate)
    wanted = "a pair (X, y): of blocks no share is held out"
    held = None if eval_set is None else encoded(eval_set, clf._encoding, clf.network_.n_threads, wanted=wanted)
    prepare = partial(clf._encoding.training_rows, class_weight=clf.class_weight, some_count=False)
    source = BlockSource(blocks, prepare)
    learned = LearnedOn(clf, given, held if calibrate is True else None)
    learned.check(0)

    def facts() -> TrainingFacts:
        clf._encoding = clf._encoding.with_unlabelled(source.n_unlabelled)
        sizes = source.n_rows, clf.n_features_in_, clf.n_labels_
        return TrainingFacts.counted(*sizes, source.n_values, source.n_labels)

    with recorded(clf, *sample, facts):
        if cluster is None:
            clf.network_.fit_blocks(CheckedBlocks(source), eval_set=_checked(held), callback=callbacks, **fit_kwargs)
        else:
            how = fit_kwargs | {"callback": callbacks, "eval_set": held}
            _left_to(clf, cluster.fit_network_blocks(clf.network_, source, **how))
        learned.learn_of_given()
    save_parts(clf, cluster)
    say_what_was_done(clf)


@contextmanager
def recorded(
    clf: FittedClassifier, rows: sp.csr_array, Y: sp.csr_array, facts: Callable[[], TrainingFacts]
) -> Iterator[None]:
    """Records how the training inside went; rows and Y are those, or some of those, that are trained on."""
    started, before = time.perf_counter(), clf.network_.step

    def record() -> None:
        clf.fit_seconds_ = time.perf_counter() - started
        trained = clf.network_.step - before - clf.network_.samples_resumed
        clf.samples_per_second_ = max(trained, 0) / clf.fit_seconds_
        clf.history_ = clf.network_.history
        clf.threshold_ = threshold(clf.network_, rows, Y) if clf.network_.is_ready else 0.0
        clf.card_ = facts().card(clf.network_, clf.fit_seconds_, clf.samples_per_second_)

    try:
        yield
    except _PartDone:
        raise
    except BaseException:  # an interrupted fit leaves a usable model
        record()
        raise
    record()


# -- verbose -----------------------------------------------------------------------------------------------------------


def check_verbose(verbose: Any) -> None:
    """Refuses what is no level."""
    require(isinstance(verbose, bool) or whole(verbose) in (0, 1, 2), "verbose", verbose, "0, 1 or 2")


def verbose_callbacks(verbose: Any) -> list[Callback]:
    """What prints as a fit goes on: nothing at 0, lines at the ends of epochs at 1, and every few seconds at 2."""
    check_verbose(verbose)
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

    def __init__(self, blocks: Iterable[TrainingRows]) -> None:
        self._blocks = blocks

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for rows in self._blocks:
            yield Checked(rows.X), Checked(rows.Y), rows.weights


def _checked(pair: Pair | None) -> tuple[Checked, Checked] | None:
    return None if pair is None else (Checked(pair[0]), Checked(pair[1]))
