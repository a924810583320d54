"""Models with 8-bit weights: what they answer, what they refuse, and their files."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import engine_strategies as es
import numpy as np
import pytest
import scipy.sparse as sp
from engine_strategies import ENGINES, random_data
from forgery import put_together, take_apart
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import slide
from slide.cli.main import main
from slide.engine.state import LayerState, WideState
from slide.model import quantize
from slide.model.snapshot import Snapshot

D, N = 60, 40
TABLES = slide.SimHash(K=3, L=4, capacity=31)


def trained(hidden: int = 20, engine: str = ENGINES[-1], **options: Any) -> slide.Network:
    X, Y = random_data(200, D, N, seed=1)
    layers = [
        slide.SparseInput(D, hidden, bias=True),
        slide.Dense(hidden + 1, "tanh"),
        slide.Sampled(N, lsh=TABLES, n_active=20, n_random=5),
    ]
    return es.make_network(layers, engine, wide=slide.Wide(), **options).fit(X, Y, epochs=2)


@pytest.fixture(scope="module")
def clf() -> slide.SlideClassifier:
    X, Y = random_data(300, D, N, seed=1)
    return slide.SlideClassifier(hidden=(20,), epochs=3, n_active=20, lsh=TABLES, n_threads=1).fit(X, Y)


def with_floats(small: slide.Network) -> slide.Network:
    """An ordinary network of the weights that a compressed one stands for."""
    arrays = {k: a for k, a in small.snapshot().arrays.items() if not k.endswith((".codes", ".scales", ".biases"))}
    arrays |= {f"layer{i}.rows": state.dequantized().rows for i, state in enumerate(small.states)}
    assert small.wide_state is not None
    arrays |= {f"wide.{name}": a for name, a in small.wide_state.dequantized().arrays.items()}
    return slide.Network.of(Snapshot(small.config(), arrays).placed(), 1, None)


# -- numbers -----------------------------------------------------------------------------------------------------------


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 40)), elements=st.floats(-4, 4, width=32)))
def test_a_weight_is_off_by_at_most_half_a_step_of_its_row(rows: np.ndarray) -> None:
    n, width = rows.shape
    plain = LayerState("dense", "identity", n, width, width, np.zeros((n, 64 + 16), np.float32), True)
    plain.rows[:, :width] = rows
    plain.row_scalars[:, 0] = np.arange(n)
    arrays = quantize.layer_arrays(plain)
    small = quantize.make_layer(plain, n, arrays)
    step = np.abs(rows).max(axis=1, keepdims=True) / 127
    assert (np.abs(small.weights - rows) <= 0.5001 * step + 1e-37).all()
    np.testing.assert_array_equal(small.biases, np.arange(n))
    np.testing.assert_array_equal(small.dequantized().weights, small.weights)


def pairs(weights: list[list[float]], n_labels: int) -> WideState:
    lists = [np.array(w, np.float32) for w in weights]
    indptr = np.concatenate([[0], np.cumsum([len(w) for w in lists])]).astype(np.int64)
    labels = np.concatenate([np.arange(len(w), dtype=np.int32) for w in lists])
    return WideState(indptr, labels, np.zeros(n_labels, np.float32), 1, 1, 1, weights=np.concatenate(lists))


def test_pairs_that_say_nothing_are_left_out() -> None:
    state = pairs([[1, -0.003, 0.5], [], [0, 0], [-2]], 5)
    small = quantize.make_pairs(pairs([[], [], [], []], 5), quantize.pair_arrays(state))
    assert small.indptr.tolist() == [0, 2, 2, 2, 3]
    assert small.labels.tolist() == [0, 2, 0]
    np.testing.assert_allclose(small.weights, [1, 0.5, -2], atol=1 / 254)
    np.testing.assert_allclose(small.matrix().toarray(), state.matrix().toarray(), atol=1 / 254)


def test_a_model_may_have_no_pairs() -> None:
    empty = pairs([[], []], 3)
    assert quantize.make_pairs(empty, quantize.pair_arrays(empty)).matrix().nnz == 0


@pytest.mark.parametrize(("n_labels", "dtype"), [(65_536, np.uint16), (65_537, np.int32)])
def test_labels_take_16_bits_where_they_fit(n_labels: int, dtype: Any) -> None:
    """And the last ones are found, by the walk in blocks and by the walk over all."""
    X = sp.csr_array(np.eye(3, dtype=np.float32))
    own = [n_labels - 1, 3, n_labels - 2]
    Y = sp.csr_array((np.ones(3, np.float32), ([0, 1, 2], own)), shape=(3, n_labels))
    family = slide.SimHash(K=8, L=2, capacity=15)
    layers = [slide.SparseInput(3, 2), slide.Sampled(n_labels, lsh=family, n_active=4, n_random=2)]
    small = slide.Network(layers, wide=slide.Wide(), n_threads=1).fit(X, Y, epochs=30).compress()
    assert small.wide_state is not None
    assert small.wide_state.labels.dtype == dtype
    for n_candidates in (None, 4):
        for times in (1, 20):  # a few rows, and blocks
            rows = sp.csr_array(sp.vstack([X] * times))
            best = small.predict_topk(rows, 1, n_candidates=n_candidates)[0][:, 0]
            np.testing.assert_array_equal(best, own * times)


# -- answers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("width", [1, 15, 16, 17, 33, 70])
def test_every_engine_scores_what_the_codes_stand_for(width: int, engine: str) -> None:
    """Widths past four vectors of the widest kind, and calls of few rows, of a block, and of more."""
    small = trained(width, engine).compress()
    es.use_engine(small, engine)
    reference = with_floats(small)
    for n in (1, 4, 5, 33):
        es.assert_same_answers(small, reference, random_data(n, D, N, seed=2)[0])


def test_few_rows_have_the_scores_that_many_have(clf: slide.SlideClassifier) -> None:
    """They go through other kernels; compressed or not."""
    X, _ = random_data(64, D, N, seed=2)
    for model in (clf, clf.compress()):
        wanted = model.predict_topk(X, N)
        for first in range(0, 64, 4):
            ids, scores = model.predict_topk(X[first : first + 4], N)
            np.testing.assert_allclose(scores, wanted[1][first : first + 4], rtol=1e-5, atol=1e-6)
            assert (np.sort(ids, axis=1) == np.arange(N)).all()


def test_scores_are_close_to_those_of_floats(clf: slide.SlideClassifier) -> None:
    X, _ = random_data(200, D, N, seed=2)
    small = clf.compress()
    exact, approximate = clf.decision_function(X), small.decision_function(X)
    assert np.abs(exact - approximate).max() < 0.02 * np.ptp(exact)
    assert np.abs(exact - approximate).max() > 0  # else these would be the floats
    assert np.mean(clf.predict_topk(X, 1)[0] == small.predict_topk(X, 1)[0]) > 0.95
    np.testing.assert_allclose(np.sort(approximate)[:, ::-1][:, :5], small.predict_topk(X, 5)[1], rtol=1e-4, atol=1e-5)
    assert small.explain(X[:1], 3).score == pytest.approx(approximate[0, 3], abs=1e-5)


def test_a_planted_task_is_learned_as_well() -> None:
    X, Y, Xt, Yt = (*es.planted_data(600, 100, 50, seed=0), *es.planted_data(300, 100, 50, seed=1))
    clf = slide.SlideClassifier(hidden=(32,), epochs=5, n_threads=1).fit(X, Y)
    score = [slide.metrics.evaluate(Yt, m.predict_topk(Xt, 5)[0], Y)["p@1"] for m in (clf, clf.compress())]
    assert score[0] > 0.9
    assert abs(score[1] - score[0]) < 0.02


# -- files and copies --------------------------------------------------------------------------------------------------


def test_a_file_is_a_quarter_and_answers_alike(clf: slide.SlideClassifier, tmp_path: Path) -> None:
    X, Y = slide.datasets.synthetic(500, 4000, 300, nnz=10, labels_per_row=2)
    clf = slide.SlideClassifier(epochs=1, n_threads=1).fit(X, Y)
    small = clf.compress()
    clf.save(tmp_path / "large")
    small.save(tmp_path / "small")
    weights = [sum(s.n_bytes for s in m.network_.states) for m in (clf, small)]
    assert weights[1] < 0.27 * weights[0]
    assert (tmp_path / "small").stat().st_size < 0.4 * (tmp_path / "large").stat().st_size
    wanted = small.predict_topk(X)
    for loaded in (slide.load(tmp_path / "small"), slide.load(tmp_path / "small", mmap=True)):
        assert isinstance(loaded, slide.SlideClassifier)
        for a, b in zip(loaded.predict_topk(X), wanted, strict=True):
            np.testing.assert_array_equal(a, b)
    again = pickle.loads(pickle.dumps(small)).compress()
    np.testing.assert_array_equal(again.predict_topk(X)[1], wanted[1])
    assert clf.network_.is_compressed is False
    assert clf.partial_fit(X, Y).network_.epoch == 2  # the original goes on as before


def test_older_readers_can_read_what_is_not_compressed(clf: slide.SlideClassifier, tmp_path: Path) -> None:
    clf.save(tmp_path / "large")
    clf.compress().save(tmp_path / "small")
    versions = [take_apart((tmp_path / n).read_bytes())[0]["format_version"] for n in ("large", "small")]
    assert versions == [1, 2]


def test_the_command_line_compresses(
    clf: slide.SlideClassifier, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large, small = str(tmp_path / "large"), str(tmp_path / "small")
    clf.save(large)
    assert main(["compress", large, small]) == 0
    assert "before)" in capsys.readouterr().out
    assert main(["info", small]) == 0
    assert "8 bits" in capsys.readouterr().out
    assert main(["compress", large, large]) == 2
    X, _ = random_data(9, D, N)
    np.testing.assert_array_equal(slide.load(small).predict_topk(X)[0], clf.compress().predict_topk(X)[0])


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_what_changes_weights_is_refused(clf: slide.SlideClassifier) -> None:
    X, Y = random_data(50, D, N)
    small = clf.compress()
    before = small.predict_topk(X)
    for change in (
        lambda: small.partial_fit(X, Y),
        lambda: small.network_.fit(X, Y),
        lambda: small.network_.rebuild_tables(),
        lambda: small.add_labels(2),
        lambda: small.forget([1]),
    ):
        with pytest.raises(ValueError, match="compressed model, which only predicts"):
            change()
    np.testing.assert_array_equal(small.predict_topk(X)[1], before[1])
    assert not small.fit(X, Y).network_.is_compressed  # from scratch


def without(name: str) -> Any:
    return lambda arrays: arrays.pop(name)


def changed(name: str, make: Any) -> Any:
    return lambda arrays: arrays.update({name: np.ascontiguousarray(make(arrays[name]))})


def put(array: np.ndarray, where: Any, value: Any) -> np.ndarray:
    array[where] = value
    return array


@pytest.mark.parametrize(
    "change",
    {
        "codes of another size": changed("layer0.codes", lambda a: a[:-1]),
        "codes that are not padded": changed("layer1.codes", lambda a: a[:, :20]),
        "codes as floats": changed("layer1.codes", lambda a: a.astype(np.float32)),
        "no scales": without("layer0.scales"),
        "too few scales": changed("layer1.scales", lambda a: a[1:]),
        "no biases": without("layer1.biases"),
        "neither rows nor codes": without("layer1.codes"),
        "pairs without scales": without("wide.scales"),
        "too few scales of pairs": changed("wide.scales", lambda a: a[1:]),
        "pairs without codes": without("wide.codes"),
        "more codes than pairs": changed("wide.codes", lambda a: np.append(a, a)),
        "labels of other bits": changed("wide.labels", lambda a: a.astype(np.int32)),
        "labels out of range": changed("wide.labels", lambda a: put(a, -1, N)),
        "labels out of order": changed("wide.labels", lambda a: a[::-1]),
        "lists beyond the pairs": changed("wide.indptr", lambda a: put(a, -1, 10**9)),
    }.items(),
    ids=lambda change: change[0],
)
@pytest.mark.parametrize("mmap", [False, True], ids=["read", "mapped"])
def test_forged_files_are_refused(clf: slide.SlideClassifier, tmp_path: Path, change: Any, mmap: bool) -> None:
    path = tmp_path / "model"
    clf.compress().save(path)
    config, arrays = take_apart(path.read_bytes())
    path.write_bytes(put_together(config, arrays))
    slide.load(path, mmap=mmap)  # else nothing would be proved
    change[1](arrays)
    path.write_bytes(put_together(config, arrays))
    with pytest.raises(slide.ModelFormatError):
        slide.load(path, mmap=mmap)


def test_without_tables_there_is_nothing_to_fill() -> None:
    X, Y = random_data(60, D, N, seed=1)
    clf = slide.SlideClassifier(hidden=(8,), epochs=1, lsh=None, n_threads=1).fit(X, Y)
    loaded = pickle.loads(pickle.dumps(clf))
    for model in (clf, loaded):
        small = model.compress()
        assert small.network_.n_rebuilds == model.network_.n_rebuilds
        np.testing.assert_array_equal(
            small.predict_topk(X, N)[0][:, 0], pickle.loads(pickle.dumps(small)).predict_topk(X, 1)[0][:, 0]
        )
