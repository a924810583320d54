"""Writes a model in parts (slide.io.shards), of which no worker ever holds more than its own.

Workers have ranges of features and labels by their new numbers (parts.py), files have ranges by the old ones: rows go
to those who write them, some at a time.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from slide.distributed.training.loop import SharedTraining
from slide.distributed.training.moving import MESSAGE, Range, stacked
from slide.distributed.training.parts import Numbering
from slide.distributed.training.ranking import OwnRows
from slide.distributed.transport.group import Array, Group, PeerLost, collect
from slide.distributed.transport.messages import say, tell
from slide.io import shard_writing, shards

Arrays = dict[str, Array]


@dataclass(frozen=True)
class Written:
    """Where the parts of a model are, how many, and whether `slide.io.shard_writing.write_first` was called.

    wrong : what those say who could not write; then there are none
    """

    into: Path
    shards: int
    has_first: bool
    wrong: str = ""


def write_parts(training: SharedTraining, folder: Path, ranked: Sequence[OwnRows]) -> Written:
    """Each worker writes one; called by all. They count once `slide.io.shard_writing.publish` says so.

    ranked : this worker's sparse rows, the first that were learned and the last, which may be the same; or none
    """
    group, spec = training.group, training.spec
    name, wrong = tell(group, _place(folder, group.rank))
    into = folder / name
    if wrong:
        return Written(into, 0, False, wrong)
    features = shards.ranges(spec.input.n_features, group.size)
    labels = say(group, ranked[-1].labels) if ranked else shards.ranges(spec.output.n, group.size)
    has_first = not all(say(group, not ranked or ranked[0].has_rows_of(ranked[-1])))
    own, shard = group.rank, training.shard
    arrays = _pairs(training, labels) | (ranked[-1].arrays if ranked else {})
    rows = {
        shards.FEATURES: (shard.input.rows, training.feature_ranges, training.features, features),
        shards.LABELS: (shard.output.rows, training.label_ranges, training.labels, labels),
    }
    blocks = {name: in_old_order(group, *of) for name, of in rows.items()}
    try:
        streams = {
            name: shard_writing.Rows(wanted[own][1] - wanted[own][0], held.shape[1], held.dtype, blocks[name])
            for name, (held, _, _, wanted) in rows.items()
        }
        shard_writing.write_part(into, own, features[own], labels[own], streams, arrays)
        if has_first:
            shard_writing.write_first(into, own, ranked[0].labels, ranked[0].arrays)
    except PeerLost:
        raise
    except OSError as e:
        wrong = f"worker {own + 1} of {group.size}: {e}"
    for some in blocks.values():  # of who could not write, others wait for rows, and get theirs
        for _ in some:
            pass
    said = "; ".join(one for one in say(group, wrong) if one)
    if said and group.rank == 0:
        shutil.rmtree(into, ignore_errors=True)
    return Written(into, group.size, has_first, said)


def in_old_order(
    group: Group, own: Array, held: Sequence[Range], numbering: Numbering, wanted: Sequence[Range]
) -> Iterator[Array]:
    """Rows wanted[rank] by their old numbers, in blocks; meanwhile others get theirs. All workers go to the end.

    own : rows held[rank], by their new numbers
    """
    step = max(1, MESSAGE // max(own[:1].nbytes, 1))
    for at in range(0, max(end - first for first, end in wanted), step):
        for target, (first, end) in enumerate(wanted):
            places = numbering.place[min(first + at, end) : min(first + at + step, end)]
            block = np.empty((len(places) if target == group.rank else 0, *own.shape[1:]), own.dtype)
            for source, (begin, stop) in enumerate(held):
                here = (places >= begin) & (places < stop)
                if not here.any():
                    continue
                if source == target == group.rank:
                    block[here] = own[places[here] - begin]
                elif source == group.rank:
                    group.send(own[places[here] - begin], target)
                elif target == group.rank:
                    rows = np.empty((int(here.sum()), *own.shape[1:]), own.dtype)
                    group.recv(rows, source)
                    block[here] = rows
            if len(block):
                yield block


def _pairs(training: SharedTraining, wanted: Sequence[Range]) -> Arrays:
    """The walk's pairs of labels wanted[rank], by their old numbers; none where there is no walk."""
    if training.pairs is None:
        return {}
    group, state = training.group, training.pairs.state
    begin, end = training.label_ranges[group.rank]
    numbers = training.labels.inverse[begin:end]  # of this worker's labels, in the whole
    found: Arrays = {}
    for target, (first, stop) in enumerate(wanted):
        old = numbers[state.labels]
        inside = (old >= first) & (old < stop)
        indptr = np.concatenate([[0], np.cumsum(inside, dtype=np.int64)])[state.indptr]
        has_bias = (numbers >= first) & (numbers < stop)
        mine = indptr, old[inside] - np.int32(first), state.weights[inside], numbers[has_bias], state.bias[has_bias]
        parts = [collect(group, array, target) for array in mine]
        if target == group.rank:
            found = _joined(parts, stop - first, first)
    return found


def _joined(parts: Sequence[list[Array] | None], n_labels: int, first: int) -> Arrays:
    """The pairs of all workers of the same labels, first to first + n_labels - 1."""
    indptrs, labels, weights, numbers, biases = (part or [] for part in parts)
    shape = len(indptrs[0]) - 1, n_labels
    of_each = zip(indptrs, labels, weights, strict=True)
    whole = stacked([sp.csr_array((w, own, indptr), shape=shape) for indptr, own, w in of_each])
    bias = np.empty(n_labels, np.float32)
    bias[np.concatenate(numbers) - first] = np.concatenate(biases)
    arrays = whole.indptr, whole.indices.astype(np.int32), whole.data, bias
    return dict(zip(shards.PAIRS, arrays, strict=True))


def _place(folder: Path, rank: int) -> tuple[str, str]:
    """The name of the parts' place, made by the first worker, and what went wrong."""
    if rank:
        return "", ""
    try:
        return shard_writing.new_parts(folder).name, ""
    except OSError as e:
        return "", str(e)
