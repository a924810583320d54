"""Hash families that a user writes: in Python or compiled, in both back ends, and what happens when they fail."""

from __future__ import annotations

import ctypes
from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import Any

import engine_strategies as es
import numpy as np
import numpy.typing as npt
import pytest
from engine_strategies import BACKENDS, make_network, planted_data
from numba import carray, cfunc

import slide
from slide.engine.hash_callback import PROTOTYPE, signature

Array = npt.NDArray[Any]
D, N = 60, 50


class Signs(slide.lsh.HashFamily):
    """SimHash as a user would write it. Sums run in the order of the coordinates, as in the engines."""

    def prepare(self, K: int, dim: int, rng: np.random.Generator) -> Array:
        return (2 * rng.integers(0, 2, size=(dim, K * self.L)) - 1).astype(np.float32)

    def codes(self, vectors: Array, choices: Array) -> Array:
        projections = np.cumsum(vectors[:, :, None] * choices, axis=1, dtype=np.float32)[:, -1]
        bits = (projections > 0).reshape(len(vectors), self.L, -1)
        return bits @ (1 << np.arange(bits.shape[2])[::-1])


@cfunc(signature())
def compiled_signs(context: Any, x: Any, n: Any, stride: Any, codes: Any) -> None:
    """Signs for K = 4, L = 8 and vectors of 25 coordinates."""
    choices, out = carray(context, (25, 32), np.float32), carray(codes, (n, 8))
    vectors = carray(x, (n * stride,))
    for i in range(n):
        for t in range(8):
            code = np.uint32(0)
            for b in range(t * 4, t * 4 + 4):
                total = np.float32(0)
                for d in range(25):
                    total += vectors[i * stride + d] * choices[d, b]
                code = code << np.uint32(1) | np.uint32(total > 0)
            out[i, t] = code


class Compiled(Signs):
    def compiled(self, choices: Array) -> Any:
        return compiled_signs


FAMILIES = {"python": Signs(K=4, L=8, centred=True), "compiled": Compiled(K=4, L=8, centred=True)}


def layers(family: slide.lsh.HashFamily) -> list[slide.layers.Layer]:
    return [slide.SparseInput(D, 24), slide.Sampled(N, lsh=family, n_active=20, n_random=4)]


def trained(family: slide.lsh.HashFamily, backend: str, **options: Any) -> slide.Network:
    X, Y = planted_data(200, D, N)
    net = make_network(layers(family), backend, rebuild=slide.Rebuild(every=50, growth=0), seed=3, **options)
    return net.fit(X, Y, epochs=2)


@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_family_of_ones_own_trains_like_the_built_in_one(family: slide.lsh.HashFamily, engine: str) -> None:
    """With the same directions, bit for bit."""
    net, built_in = trained(family, engine), make_network(layers(slide.SimHash(K=4, L=8)), engine, seed=3)
    built_in.rebuild = net.rebuild
    lsh, mine = built_in.states[1].lsh, net.states[1].lsh
    assert lsh is not None
    assert mine is not None
    assert mine.custom is not None
    lsh.directions[0, :, :32] = mine.custom.choices
    built_in.fit(*planted_data(200, D, N), epochs=2)
    for a, b in zip(net.states, built_in.states, strict=True):
        np.testing.assert_array_equal(a.rows, b.rows)
    assert es.used_slots(net) == es.used_slots(built_in)
    X, _ = planted_data(20, D, N, seed=5)
    np.testing.assert_array_equal(net.predict_topk(X, 3, n_candidates=9), built_in.predict_topk(X, 3, n_candidates=9))


@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_several_threads_may_call_it(family: slide.lsh.HashFamily, engine: str) -> None:
    net = trained(family, engine, n_threads=3)
    lsh = net.states[1].lsh
    assert lsh is not None
    np.testing.assert_array_equal(lsh.buckets[:, :, 0].sum(axis=1), N)
    assert es.precision_at_1(net, *planted_data(200, D, N)) > 0.5


@dataclass(frozen=True)
class Failing(slide.lsh.HashFamily):
    """Answers that many times, then does what it should not."""

    calls: int = 0
    error: InitVar[Any] = None  # no options, which a model file could not hold
    answer: InitVar[Any] = None

    def __post_init__(self, error: Any, answer: Any) -> None:
        super().__post_init__()
        object.__setattr__(self, "does", (error, answer))

    def prepare(self, K: int, dim: int, rng: np.random.Generator) -> list[int]:
        return [0]

    def codes(self, vectors: Array, choices: list[int]) -> Any:
        choices[0] += 1
        if choices[0] <= self.calls:
            return np.zeros((len(vectors), self.L), np.int64)
        error, answer = self.does  # type: ignore[attr-defined]
        if error is not None:
            raise error
        return answer


@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize("calls", [0, 60])  # while tables are filled; while samples are trained on
@pytest.mark.parametrize("error", [RuntimeError("my own mistake"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
def test_an_exception_ends_the_fit(error: BaseException, calls: int, engine: str) -> None:
    with pytest.raises(type(error), match=str(error) or None):
        trained(Failing(K=2, L=3, calls=calls, error=error), engine)


@pytest.mark.parametrize("engine", BACKENDS)
def test_an_exception_ends_a_prediction_and_is_raised_once(engine: str) -> None:
    net = make_network(layers(Failing(K=2, L=3, error=RuntimeError("my own mistake"))), engine)
    X, _ = planted_data(20, D, N)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="my own mistake"):
            net.predict_topk(X, 3, n_candidates=9)
    assert net.predict_topk(X, 3)[0].shape == (20, 3)


@pytest.mark.parametrize("engine", BACKENDS)
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, r"Failing\.codes\(\): found object \(\), wanted integers \(1, 3\)"),
        (np.zeros((1, 7), int), r"found int64 \(1, 7\), wanted integers"),
        (np.zeros((1, 3)), r"found float64 \(1, 3\), wanted integers"),
        (np.full((1, 3), 4), r"found codes 4 to 4, wanted 0 to 3"),
        (np.full((1, 3), -1), r"found codes -1 to -1, wanted 0 to 3"),
    ],
)
def test_answers_that_are_no_codes(answer: Any, message: str, engine: str) -> None:
    net = make_network(layers(Failing(K=2, L=3, answer=answer)), engine)
    with pytest.raises(ValueError, match=message):
        net.engine.hash_codes(1, np.ones((1, 25), np.float32))


class Wild(slide.lsh.HashFamily):
    """A compiled family whose codes have too many bits."""

    def compiled(self, choices: Any) -> Any:
        def hash_(context: Any, x: Any, n: int, stride: int, codes: Any) -> None:
            np.ctypeslib.as_array(codes, (n, self.L))[:] = 0xFFFFFFFF - np.arange(self.L)

        function = PROTOTYPE(hash_)
        function.address = ctypes.cast(function, ctypes.c_void_p).value
        return function


@pytest.mark.parametrize("engine", BACKENDS)
def test_codes_of_too_many_bits_are_cut(engine: str) -> None:
    """They would lead outside the tables."""
    net = make_network(layers(Wild(K=3, L=4)), engine)
    codes = net.engine.hash_codes(1, np.zeros((5, 25), np.float32))
    np.testing.assert_array_equal(codes, np.tile([7, 6, 5, 4], (5, 1)))
    net.rebuild_tables()


def test_the_base_class_is_abstract() -> None:
    with pytest.raises(
        TypeError, match="HashFamily is abstract: use SimHash, WTA, DWTA, MinHash or EuclideanHash, or implement"
    ):
        slide.Network(layers(slide.lsh.HashFamily(K=2, L=3)))


@pytest.mark.parametrize("backend", ["c", "numba"])
@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_saved_model_needs_the_family_again(family: slide.lsh.HashFamily, backend: str, tmp_path: Path) -> None:
    if backend == "c" and es.CORE is None:
        pytest.skip("the C extension was not built")
    X, Y = planted_data(200, D, N)
    clf = slide.SlideClassifier(hidden=(24,), epochs=1, lsh=family, n_active=20, n_threads=1, backend=backend).fit(X, Y)
    path = tmp_path / "model"
    clf.save(path)
    again = slide.load(path, lsh=type(family)(K=4, L=8, centred=True), n_threads=1, backend=backend)
    assert isinstance(again, slide.SlideClassifier)
    assert again.lsh == family
    np.testing.assert_array_equal(again.predict_topk(X, 3), clf.predict_topk(X, 3))
    assert es.used_slots(again.network_) == es.used_slots(clf.network_)
    again.partial_fit(X, Y)
    name = type(family).__name__
    with pytest.raises(ValueError, match=rf"load\(lsh=\): found None, wanted {name}\(K=4, L=8, .* holds no code"):
        slide.load(path)
    with pytest.raises(ValueError, match=rf"load\(lsh=\): found {name}\(K=4, L=9.*, wanted {name}\(K=4, L=8"):
        slide.load(path, lsh=type(family)(K=4, L=9))
    with pytest.raises(ValueError, match=r"load\(lsh=\): found SimHash"):
        slide.load(path, lsh=slide.SimHash(K=4, L=8))


def test_a_model_of_a_known_family_takes_no_other(tmp_path: Path) -> None:
    path = tmp_path / "model"
    slide.Network(layers(slide.WTA(K=1, L=3))).save(path)
    with pytest.raises(
        ValueError, match=r"load\(lsh=\): found Signs.*, wanted None: .*holds no hash family of your own"
    ):
        slide.load(path, lsh=FAMILIES["python"])
