"""A second set of tables that a thread fills behind the back of training, swapped in when it is full."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from slide.engine import select
from slide.engine.protocol import Examples
from slide.engine.state import LshState
from slide.model.model import Model
from slide.model.parameters import remember_codes
from slide.model.rebuild import rebuild, tables_of
from slide.model.snapshot import families

BACKGROUND_FROM = 100_000  # neurons
THREAD_NAME = "slide-rebuild"
THREADS_SHARE = 4  # one in so many threads rebuilds in the background


def in_background(net: Model) -> bool:
    """Whether training should go on while tables are rebuilt."""
    if net.is_stored:
        return False  # its rows are not where a second engine would read them
    if net.rebuild.background is not None:
        return net.rebuild.background
    largest = max((net.states[i].n for i, _ in families(net.layers)), default=0)
    return net.n_threads > 1 and largest >= BACKGROUND_FROM


class BackgroundTables:
    """A second set of a network's tables, which a thread fills from the weights while training goes on.

    Weights are read while they change, so what is listed is of no single step; results do not repeat to the bit.
    """

    def __init__(self, net: Model) -> None:
        self._net = net
        self._states = [
            s if s.lsh is None else replace(s, lsh=replace(s.lsh, buckets=s.lsh.buckets.copy())) for s in net.states
        ]
        for state in self._states:
            if state.lsh is not None:
                state.lsh.label_cells, state.lsh.frame = state.lsh.label_cells.copy(), state.lsh.frame.copy()
                if state.lsh.codes.size:
                    remember_codes(state)
        threads = max(1, net.n_threads // THREADS_SHARE)
        self._engine = select.make_engine(net.backend, self._states, None, net.optimizer, net.loss, net.seed, threads)
        self._thread: threading.Thread | None = None
        self._label_cells: dict[int, npt.NDArray[np.int32]] = {}
        self._error: BaseException | None = None

    @property
    def is_filling(self) -> bool:
        """Whether a fill was started and not yet swapped in."""
        return self._thread is not None

    @property
    def is_full(self) -> bool:
        """Whether there is a fill to swap in."""
        return self._thread is not None and not self._thread.is_alive()

    def start(self, examples: Examples) -> None:
        """Begins to fill them."""
        for i, live, second in self._pairs():
            _copy_hash(live, second)
            second.label_cells[:] = live.label_cells
            self._label_cells[i] = live.label_cells.copy()
            second.buckets[:] = live.buckets
        number = self._net.n_rebuilds
        self._net.n_rebuilds += 1
        self._thread = threading.Thread(target=self._fill, args=(examples, number), name=THREAD_NAME)
        self._thread.start()

    def swap(self) -> None:
        """Waits for the fill and makes it the network's. An error of the fill is raised here."""
        self.wait()
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        if any(a.rows is not b.rows for a, b in zip(self._net.states, self._states, strict=True)):
            return  # the network got other rows in the meantime: what was filled is of the old ones
        with self._net.lock:
            self._net.engine.change_tables(self._copy_to_live)
            self._net.tables_built_at = -1

    def _copy_to_live(self) -> None:
        for i, live, second in self._pairs():
            _copy_hash(second, live)
            live.buckets[:] = second.buckets
            live.label_cells[:] = _renumbered(live.label_cells, self._label_cells[i], second.label_cells, 2**live.K)

    def wait(self) -> None:
        """Until no thread is at work."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _pairs(self) -> list[tuple[int, LshState, LshState]]:
        return [(i, tables_of(self._net.states[i]), tables_of(self._states[i])) for i, _ in families(self._net.layers)]

    def _fill(self, examples: Examples, number: int) -> None:
        try:
            net = self._net
            at: dict[str, Any] = {"number": number, "seed": net.seed, "step": net.step}
            rebuild(net.layers, self._states, self._engine, examples, **at, recalls=net.recalls, refresh=True)
        except BaseException as error:
            self._error = error


def _copy_hash(source: LshState, target: LshState) -> None:
    same = np.array_equal(source.directions, target.directions) and np.array_equal(source.frame, target.frame)
    if same:
        return
    target.row_digests[:] = 0
    target.directions[:], target.frame[:] = source.directions, source.frame


def _renumbered(
    label_cells: npt.NDArray[np.int32], before: npt.NDArray[np.int32], after: npt.NDArray[np.int32], n_cells: int
) -> npt.NDArray[np.int32]:
    """Homes under the new numbers of the cells, which before and after give for every cell that was a home then."""
    if not len(label_cells):
        return label_cells
    number = np.full(n_cells + 1, -1, np.int32)
    number[before] = after
    number[-1] = -1
    return number[label_cells]
