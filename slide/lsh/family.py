"""What all hash families share: sizes, options, and what they are asked while a network is built and trained.

The families themselves are in the files beside this one; the hashing is in csrc/lsh/hash.c and, readable, in
slide/engine/reference/hash.py; slide/engine/hash_callback.py calls a family of the user's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from slide.checks import among, require, whole
from slide.engine.hash_callback import CustomHash
from slide.engine.layout import DIRECTION_BLOCK, L2_ALSH_TERMS, MAX_PROBES, SIGN_ALSH_TERMS, FloatArray
from slide.engine.state import LayerState, LshState
from slide.lsh.centring import FRAME_QUERIES, update_frame

MAX_TABLES = 1022
MAX_CODE_BITS = 30
SELECTIONS = ("count", "vanilla", "threshold")
#: Coordinates that a transform appends.
APPENDED = {"none": 0, "norm-augmented": 1, "norm-ranging": 1, "sign-alsh": SIGN_ALSH_TERMS, "l2-alsh": L2_ALSH_TERMS}


@dataclass(frozen=True)
class LearnContext:
    """What hash functions are fitted to.

    Attributes
    ----------
    queries : float32 [m, fan_in]
        Vectors that enter the layer.
    rng : numpy.random.Generator
    codes_of : callable
        Gives the codes [m, L] of vectors as they are hashed.
    final : bool
        Training is over, so more care pays.
    """

    queries: FloatArray
    rng: np.random.Generator
    codes_of: Callable[[FloatArray], Any]
    final: bool = False

    @property
    def at_the_end(self) -> bool:
        """`final`, under its name in 0.1."""
        return self.final


@dataclass(frozen=True)
class HashFamily:
    """L tables, each addressed by K hashes of a neuron's weights and bias.

    A subclass that implements `codes` is a family of its own, in both back ends.

    Parameters
    ----------
    K : int or None
        Hashes concatenated into one table's code. None chooses it from the number of neurons, so that an
        average bucket holds about 40 % of its capacity.
    L : int
        Tables, 1 to 1022.
    capacity : int
        Neurons a bucket holds.
    policy : {"reservoir", "fifo"}
        What a full bucket keeps: a uniform sample of all it was offered, or the latest.
    centred : bool
        Hash neurons and queries relative to their means, with the bias scaled to the norms. This changes every inner
        product with a query by the same constant, so no ranking changes, while the angles spread out.
    transform : {"none", "norm-augmented", "norm-ranging", "sign-alsh", "l2-alsh"}
        Coordinates appended to neurons (to queries: zeros), so that the angle with a query follows the inner product,
        not the angle of the weights. "norm-augmented": sqrt(M^2 - |w|^2), M being the largest norm (simple-LSH:
        Neyshabur & Srebro, ICML 2015); "norm-ranging": the same with the largest norm in each 32nd of the neurons in
        order of their norms (Yan et al., NeurIPS 2018, whose probing by norm is left out); "sign-alsh":
        1/2 - |w|^2 and 1/2 - |w|^4, with all w scaled to norms of 0.75 or less (Shrivastava & Li, UAI 2015). "l2-alsh"
        is for families that see distances: slide.EuclideanHash.
    selection : {"count", "vanilla", "threshold"}
        Which neurons of the query's buckets are taken, up to the number that is wanted (the sampling strategies of
        SLIDE): those in most tables; all that are met in one random table after the other, until there are enough; or
        all that are in at least min_count tables, in the order in which they are met. Prediction visits the tables in
        one order for all queries.
    min_count : int
        Of "threshold" alone: 1 to L.
    probes : int
        Buckets of each table that a query looks into, 1 to 8: its own, and those whose codes differ in the bits that
        the query is least sure of (Lv et al., VLDB 2007). Over 1 only for SimHash, whose bits have margins. A neuron
        in any of a table's buckets collides in that table.

    Raises
    ------
    ValueError
        For sizes that make no sense.

    Examples
    --------
    The signs of the first K coordinates, in every table:

    >>> class Signs(HashFamily):
    ...     def prepare(self, K, dim, rng):
    ...         return 1 << np.arange(K)
    ...
    ...     def codes(self, vectors, bits):
    ...         return np.repeat((vectors[:, : len(bits)] > 0) @ bits, self.L).reshape(-1, self.L)
    >>> Signs(K=3, L=2).codes(np.array([[1.0, -1.0, 2.0, 7.0]]), np.array([1, 2, 4])).tolist()
    [[5, 5]]
    """

    K: int | None = None
    L: int = 50
    capacity: int = 256
    policy: str = "reservoir"
    centred: bool = False
    transform: str = "none"
    selection: str = "count"
    min_count: int = 2
    probes: int = 1

    kind: ClassVar[str] = "custom"
    bits_per_hash: ClassVar[int] = 1
    window: ClassVar[int] = 1
    has_margins: ClassVar[bool] = False
    hashes_neurons: ClassVar[bool] = True
    sees_distances: ClassVar[bool] = False  # not angles: what transform="l2-alsh" is made for

    def __post_init__(self) -> None:
        name = type(self).__name__
        require(1 <= whole(self.L) <= MAX_TABLES, f"{name}(L=)", self.L, f"1 to {MAX_TABLES} tables")
        require(
            1 <= whole(self.capacity) < 2**20, f"{name}(capacity=)", self.capacity, "1 to 1,048,575 neurons a bucket"
        )
        require(among(self.policy, ("fifo", "reservoir")), f"{name}(policy=)", self.policy, "'fifo' or 'reservoir'")
        require(among(self.transform, APPENDED), f"{name}(transform=)", self.transform, f"one of {tuple(APPENDED)}")
        ok = self.transform != "l2-alsh" or self.sees_distances
        require(ok, f"{name}(transform=)", self.transform, "another: this is for distances, so for EuclideanHash")
        require(isinstance(self.centred, bool), f"{name}(centred=)", self.centred, "True or False")
        self._check_selection(name)
        if self.K is not None:
            limit = MAX_CODE_BITS // self.bits_per_hash
            require(1 <= whole(self.K) <= limit, f"{name}(K=)", self.K, f"1 to {limit} hashes a table")

    def _check_selection(self, name: str) -> None:
        require(among(self.selection, SELECTIONS), f"{name}(selection=)", self.selection, f"one of {SELECTIONS}")
        most = self.L if self.selection == "threshold" else MAX_TABLES
        ok = 1 <= whole(self.min_count) <= most
        require(ok, f"{name}(min_count=)", self.min_count, f"1 to {most} tables")
        can_probe = self.has_margins and not self.is_custom
        wanted = f"1 to {MAX_PROBES} buckets a table" if can_probe else "1: only SimHash's own bits have margins"
        ok = 1 <= whole(self.probes) <= (MAX_PROBES if can_probe else 1)
        require(ok, f"{name}(probes=)", self.probes, wanted)

    # -- what a family of one's own implements ------------------------------------------------------------------------

    def prepare(self, K: int, dim: int, rng: np.random.Generator) -> Any:
        """The random choices that `codes` needs, anything. They follow from the network's seed and are not stored."""
        return None

    def codes(self, vectors: FloatArray, choices: Any) -> Any:
        """Codes of vectors float32 [m, dim]: integers [m, L], 0 to 2^(K * bits_per_hash) - 1.

        Called by all threads, a few vectors at a time, with what `prepare` gave. It must depend on nothing else, and
        on each vector alone. An exception ends the fit or prediction that needed the codes.
        """
        families = "SimHash, WTA, DWTA, MinHash or EuclideanHash"
        raise TypeError(f"{type(self).__name__} is abstract: use {families}, or implement codes()")

    def compiled(self, choices: Any) -> Any:
        """None, or a function pointer in the place of `codes`, which runs at full speed on all threads.

        That is an object with an `address`, such as a `numba.cfunc` of slide.engine.hash_callback.signature():
        void (void *context, const float *x, int64_t n, int64_t stride, uint32_t *codes), for n vectors that lie stride
        floats apart and codes [n][L]. The context is the address of choices, if that is an array, or NULL.
        """
        return None

    @property
    def is_custom(self) -> bool:
        """Whether the codes come from a class of the user's, and not from the core."""
        mine = type(self)
        return mine.codes is not HashFamily.codes or mine.compiled is not HashFamily.compiled

    # -- sizes --------------------------------------------------------------------------------------------------------

    def resolved_K(self, n: int) -> int:
        """K itself, or the choice for n neurons."""
        if self.K is not None:
            return self.K
        bits = max(2, round(math.log2(max(2.5 * n / self.capacity, 2))))
        return max(1, min(round(bits / self.bits_per_hash), MAX_CODE_BITS // self.bits_per_hash))

    def resolved_capacity(self, n: int) -> int:
        """Neurons a bucket of n neurons' tables holds."""
        return self.capacity

    def table_bits(self, n: int) -> int:
        """Log2 of the buckets of a table: all codes where that stays near the number of neurons, else folded."""
        return min(self.resolved_K(n) * self.bits_per_hash, max(1, math.ceil(math.log2(max(n, 2)))) + 1)

    def slots_shape(self, n: int) -> tuple[int, int, int]:
        """Shape of the tables for n neurons; a bucket is padded to whole cache lines of 16 ids."""
        stride = -(-(self.capacity + 1) // 16) * 16
        return self.L, 2 ** self.table_bits(n), stride

    def n_directions(self, n: int) -> int:
        """At most so many directions or lists of positions are held for tables of n neurons."""
        return self.resolved_K(n) * self.L + DIRECTION_BLOCK

    # -- what is learned from queries ---------------------------------------------------------------------------------

    def n_queries(self, n: int, final: bool = False) -> int:
        """Queries that `learn` should get for n neurons; 0: there is nothing to learn."""
        return FRAME_QUERIES if self.centred or self.transform != "none" else 0

    def is_ready(self, lsh: LshState) -> bool:
        """Whether queries can be hashed before anything was learned."""
        return True

    def learn(self, state: LayerState, lesson: LearnContext) -> None:
        """Fits the hash functions to a layer and its queries, in place."""
        update_frame(state, lesson.queries)

    def can_refresh(self, state: LayerState, step: int) -> bool:
        """Whether a rebuild at this step of training may look only at the neurons that can have risen."""
        return False

    def rebuild_every(self, n: int) -> tuple[int, float]:
        """Samples up to the first rebuild of tables of n neurons, and the growth of the distances after it."""
        return max(2000, n // 8), 0.1

    # -- what is tuned while training goes on -------------------------------------------------------------------------

    @property
    def wanted_recall(self) -> float:
        """Share of the ten best neurons that new tables should find of training queries; 0: nobody measures."""
        return 0.0

    def grown(self, n: int) -> HashFamily | None:
        """The family of n neurons that finds more of them at the next higher cost; None: there is none."""
        return None

    def grow(self, old: LshState, new: LshState) -> None:
        """Fills the hash functions and tables of `grown` from the present ones."""

    # -- what the engines are given -----------------------------------------------------------------------------------

    @property
    def engine_kind(self) -> str:
        """The name of the family in the core."""
        return self.kind

    def random_choices(self, K: int, dim: int, rng: np.random.Generator) -> dict[str, Any]:
        """Those fields of the LshState that are the family's own."""
        return self.codes(np.empty((0, dim), np.float32), None)  # says that it is abstract

    def make(self, dim: int, n: int, rng: np.random.Generator, buckets: np.ndarray) -> LshState:
        """The state for vectors of dim coordinates (bias included) and n neurons, over empty buckets."""
        K, hashed = self.resolved_K(n), dim + APPENDED[self.transform]
        fields: dict[str, Any] = {
            "kind": self.engine_kind,
            "window": self.window,
            "permutations": 0,
            "directions": np.empty((0, 0, DIRECTION_BLOCK), np.float32),
            "positions": np.empty((0, 0), np.int32),
        }
        if self.is_custom:
            fields |= {"kind": "custom", "custom": CustomHash(self, K, hashed, self.prepare(K, hashed, rng))}
        else:
            fields |= self.random_choices(K, hashed, rng)
        state = LshState(
            K=K,
            L=self.L,
            dim=hashed,
            code_bits=K * self.bits_per_hash,
            table_bits=self.table_bits(n),
            capacity=self.capacity,
            policy=self.policy,
            buckets=buckets,
            probes=self.probes,
            selection=self.selection,
            min_count=self.min_count,
            transform=self.transform,
            frame=np.empty(0, np.float32),
            **fields,
        )
        state.frame = np.zeros(2 * dim * self.centred + state.n_norms, np.float32)
        state.centre[-1:] = state.norms[:] = 1
        return state


def gaussian_directions(n: int, dim: int, rng: np.random.Generator) -> FloatArray:
    """At least n directions of Gaussian numbers in steps of 1/32, counted in those steps, in blocks for the kernels."""
    shape = (-(-n // DIRECTION_BLOCK), dim, DIRECTION_BLOCK)
    return np.clip(np.rint(32 * rng.standard_normal(shape, np.float32)), -127, 127)
