"""Synthetic data of any shape with something to learn in it: labels leave features of their own among common ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

PROTOTYPE = 20  # features a label owns; others may own them too
SIGNAL = 0.5  # share of a row's features that come from its labels' prototypes, and of the prototypes at most shown
LABEL_SKEW = 0.7  # exponents of the popularities of labels and of background features
FEATURE_SKEW = 0.6
ROWS_AT_ONCE = 65_536
SPLITS = ("train", "test")


class _World(NamedTuple):
    """What all rows of a seed share. prototypes: int32 [l, PROTOTYPE]; the others: cumulative shares and whose."""

    prototypes: npt.NDArray[np.int32]
    label_shares: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int32]
    feature_shares: npt.NDArray[np.float64]
    features: npt.NDArray[np.int32]


def synthetic(
    n: int,
    d: int,
    l: int,  # noqa: E741 (the public name)
    nnz: float = 75,
    labels_per_row: float = 5.4,
    seed: int = 0,
    *,
    split: str = "train",
) -> tuple[sp.csr_array, sp.csr_array]:
    """Sparse rows with planted labels, for benchmarks and tests.

    Every label owns twenty prototype features. A row draws its labels by a popularity that falls as a power of the
    rank, takes up to half of its features from their prototypes, of which it shows at most about half, and the others
    from background features, common ones more often. Ranks are shuffled, so ids tell nothing.

    Parameters
    ----------
    n, d, l : int
        Rows, features, labels.
    nnz, labels_per_row : float
        Means that are drawn for; repeated draws count once, which lowers them by about a percent (much more where d or
        l is small). Every row has at least one feature and one label.
    seed : int
        Fixes prototypes and popularities for any n, and the rows.
    split : {"train", "test"}
        Which rows: those of "test" are new draws from the same prototypes.

    Returns
    -------
    X : csr_array of float32, shape [n, d]
        Positive values, rows of length 1, ids sorted, none repeated.
    Y : csr_array of float32, shape [n, l]
        1 where a row has the label.

    Raises
    ------
    ValueError
        Sizes that are not positive, more than int32 can number, or an unknown split.

    Examples
    --------
    >>> import slide
    >>> X, Y = slide.datasets.synthetic(1000, d=5000, l=2000, nnz=20, labels_per_row=2)
    >>> X_test, Y_test = slide.datasets.synthetic(200, d=5000, l=2000, nnz=20, labels_per_row=2, split="test")
    >>> X.shape, Y_test.shape
    ((1000, 5000), (200, 2000))
    """
    _check(n, d, l, nnz, labels_per_row, split)
    world = _world(d, l, np.random.default_rng([seed, 0]))
    rng = np.random.default_rng([seed, 1 + SPLITS.index(split)])
    blocks = [
        _draw_rows(min(ROWS_AT_ONCE, n - start), world, nnz, labels_per_row, rng) for start in range(0, n, ROWS_AT_ONCE)
    ]
    X, Y = blocks[0] if len(blocks) == 1 else (sp.vstack(parts, format="csr") for parts in zip(*blocks, strict=True))
    for matrix in (X, Y):
        matrix.has_canonical_format = True
    return X, Y


def _check(n: int, d: int, l: int, nnz: float, labels_per_row: float, split: str) -> None:  # noqa: E741
    for name, size in (("n", n), ("d", d), ("l", l)):
        if not isinstance(size, int | np.integer) or not 1 <= size < 2**31:
            raise ValueError(f"{name}: found {size!r}, wanted a whole number, 1 to {2**31 - 1:,}")
    for name, mean, most in (("nnz", nnz, d), ("labels_per_row", labels_per_row, l)):
        if not 1 <= mean <= most:
            raise ValueError(f"{name}: found {mean!r}, wanted 1 to {most:,} (the columns)")
    if split not in SPLITS:
        raise ValueError(f"split: found {split!r}, wanted 'train' or 'test'")


def _world(d: int, l: int, rng: np.random.Generator) -> _World:  # noqa: E741
    prototypes = rng.integers(d, size=(l, PROTOTYPE), dtype=np.int32)
    return _World(
        prototypes,
        _cumulative_shares(l, LABEL_SKEW),
        rng.permutation(l).astype(np.int32),
        _cumulative_shares(d, FEATURE_SKEW),
        rng.permutation(d).astype(np.int32),
    )


def _cumulative_shares(n: int, skew: float) -> npt.NDArray[np.float64]:
    """Popularity of rank r proportional to (r + 10) ** -skew, added up to 1."""
    total = np.cumsum((np.arange(n) + 10.0) ** -skew)
    return total / total[-1]


def _draw_rows(
    n: int, world: _World, nnz: float, labels_per_row: float, rng: np.random.Generator
) -> tuple[sp.csr_array, sp.csr_array]:
    d, l = len(world.features), len(world.labels)  # noqa: E741
    n_labels = 1 + rng.poisson(labels_per_row - 1, n)
    row = np.repeat(np.arange(n, dtype=np.int64), n_labels)
    label = world.labels[_draw(world.label_shares, len(row), rng)]
    first = np.cumsum(n_labels) - n_labels

    n_features = 1 + rng.poisson(nnz - 1, n)
    n_signal = np.clip(rng.binomial(n_features, SIGNAL), 1, SIGNAL * PROTOTYPE * n_labels).astype(np.int64)
    draws = _draws_for(n_signal, PROTOTYPE * n_labels)
    signal_row = np.repeat(np.arange(n, dtype=np.int64), draws)
    of_label = label[first[signal_row] + (rng.random(len(signal_row)) * n_labels[signal_row]).astype(np.int64)]
    signal = world.prototypes[of_label, rng.integers(PROTOTYPE, size=len(of_label))]
    noise_row = np.repeat(np.arange(n, dtype=np.int64), n_features - n_signal)
    noise = world.features[_draw(world.feature_shares, len(noise_row), rng)]

    keys = np.concatenate([signal_row * d + signal, noise_row * d + noise])
    return _features(n, d, keys, rng), _labels(n, l, row * l + label)


def _draws_for(distinct: npt.NDArray[np.int64], pool: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How often to draw from a pool to expect that many different things."""
    return np.rint(np.log1p(-distinct / pool) / np.log1p(-1 / pool)).astype(np.int64)


def _draw(shares: npt.NDArray[np.float64], n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """n ranks, each with its share of the chances."""
    return np.minimum(np.searchsorted(shares, rng.random(n)), len(shares) - 1)


def _features(n: int, d: int, keys: npt.NDArray[np.int64], rng: np.random.Generator) -> sp.csr_array:
    indptr, indices = _distinct(n, d, keys)
    values = rng.uniform(0.5, 1.5, len(indices)).astype(np.float32)
    length = np.sqrt(np.add.reduceat(values.astype(np.float64) ** 2, indptr[:-1]))
    values /= np.repeat(length, np.diff(indptr)).astype(np.float32)
    return sp.csr_array((values, indices, indptr), shape=(n, d))


def _labels(n: int, l: int, keys: npt.NDArray[np.int64]) -> sp.csr_array:  # noqa: E741
    indptr, indices = _distinct(n, l, keys)
    return sp.csr_array((np.ones(len(indices), np.float32), indices, indptr), shape=(n, l))


def _distinct(n: int, columns: int, keys: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """CSR index arrays of the places row * columns + column, in any order and with repetitions."""
    keys = np.sort(keys)
    keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])]
    row, column = np.divmod(keys, columns)
    return np.searchsorted(row, np.arange(n + 1)).astype(np.int32), column.astype(np.int32)
