"""The numbers that Python and C agree on: sizes, places in a row, and the values of C's enumerations by name.

A row is its weights padded to 16 floats, then each optimizer state padded alike, then 16 scalars. Weights may be
bfloat16, in half the room: rows are then uint16, and the scalars floats all the same. tests/contracts/test_constants.py
holds these numbers against the headers of csrc/.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LANES = 16
ROW_SCALARS = 16
BIAS, BIAS_S1, BIAS_S2, ROW_ACC, ROW_COUNT = range(5)
DIRECTION_BLOCK = 64
MAX_PROBES = 8  # buckets of a table, or cells, that one query looks into
MAX_BATCH = 32  # samples that can share an active set
HADAMARD_ROUNDS = 3
NORM_RANGES = 32
SIGN_ALSH_TERMS, L2_ALSH_TERMS = 2, 3  # coordinates that the transforms append: m of their papers
OFFSET_STEPS = 2**24  # of a cell, for the offsets of Euclidean hashes
#: The C core's enumerations by name.
KINDS: dict[str, int] = {
    **{"sparse_input": 0, "dense": 1, "sampled": 2, "dense_input": 3},
    **{"identity": 0, "relu": 1, "tanh": 2},
    **{"softmax": 0, "binary": 1},
    **{"sgd": 0, "adagrad_row": 1, "adagrad": 2, "adam": 3},
    **{"simhash": 0, "wta": 1, "dwta": 2, "minhash": 3},
    **{"simhash_gaussian": 4, "simhash_sparse": 5, "simhash_hadamard": 6},
    **{"custom": 7, "query_cells": 8, "euclidean": 9},
    **{"none": 0, "norm-augmented": 1, "norm-ranging": 1, "sign-alsh": 2, "l2-alsh": 3},
    **{"fifo": 0, "reservoir": 1, "best": 2},
    **{"count": 0, "vanilla": 1, "threshold": 2},
}
#: Weight-sized states a row carries for each optimizer.
OPTIMIZER_STATES = {"sgd": 0, "adagrad_row": 0, "adagrad": 1, "adam": 2}
FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]


def pad(n: int) -> int:
    """The next multiple of 16."""
    return -(-n // LANES) * LANES


#: What threads spend their time on while they train, in the order of csrc/slide.h.
PHASES = ("input", "hash", "retrieve", "forward", "loss", "backward", "update", "layers below", "sparse part")
