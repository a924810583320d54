"""Which rows a fit keeps back so that its probabilities can be believed. What is learned on them: slide/inference/.

They are few, since what is not trained on costs accuracy: WordNet's 1,000 of 80,896 cost 0.3 points of P@1. Fewer say
too little: on six sets the ECE of the best label was 0.021 from 1,000 rows and 0.026 from 500, where exact
probabilities would show 0.010. A short last pass of training over them was tried, and gained nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from slide.estimator.scaling import Scaling
from slide.io.model_file import describe
from slide.training.checkpoint import Checkpoint

LEAST_ROWS = 3_000  # of fewer, none are kept back
SHARE, FEWEST, MOST = 0.05, 200, 1_000  # of the rows
RARE = 3  # rows of a feature that counts as rare, if hardly any has fewer
NEARLY_ALL = 0.99
KEPT_BACK = "rows kept back"

Mask = npt.NDArray[np.bool_]


def kept_back(n_rows: int, seed: int) -> Mask:
    """bool [n_rows]: which rows are not trained on; equal seeds give equal ones."""
    held = np.zeros(n_rows, np.bool_)
    if n_rows >= LEAST_ROWS:
        n = int(np.clip(n_rows * SHARE, FEWEST, MOST))
        held[np.random.default_rng([seed, 30]).choice(n_rows, n, replace=False)] = True
    return held


def as_unseen(rows: sp.csr_array, held: Mask, scaling: Scaling) -> sp.csr_array:
    """The rows that are kept back, as if they had come after the training.

    Where hardly any feature is in fewer than two rows, somebody has made the features from just these rows, and later
    rows will not have one that was in a single row: without those they are longer, and more is known of them than of
    rows that helped to choose the features.
    """
    own = rows[held]
    if scaling.kind == "standard":
        return own
    counts = np.bincount(rows.indices, minlength=rows.shape[1])
    least = max(c for c in range(RARE + 1) if (counts >= c).mean() >= NEARLY_ALL)
    counts -= np.bincount(own.indices, minlength=rows.shape[1])
    known = counts[own.indices] >= least
    if known.all():
        return own
    kept = np.concatenate([[0], np.cumsum(known)])[own.indptr].astype(own.indptr.dtype)
    return scaling(sp.csr_array((own.data[known], own.indices[known], kept), shape=own.shape))


def marked(fingerprint: str, n_held: int) -> str:
    """What a checkpoint calls training data of which so many rows are kept back."""
    return f"{fingerprint}, {n_held:,} {KEPT_BACK}" if n_held else fingerprint


def goes_on_with_all(checkpoint: Checkpoint | None) -> bool:
    """Whether a fit goes on from a checkpoint that was trained on all rows, as those of before were."""
    if not isinstance(checkpoint, Checkpoint) or not checkpoint.resume or not Path(checkpoint.path).exists():
        return False
    try:
        return KEPT_BACK not in describe(checkpoint.path)["training"]["what"]["data"]
    except (LookupError, TypeError, OSError, ValueError):
        return False  # what is wrong with the file is said when it is read
