"""A model whose output rows are in a file: with one thread the bits of one in memory, whatever the cache holds."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import slide
from slide.cli.main import main
from slide.cli.verbs.info import describe_model
from slide.engine import memory as engine_memory
from slide.engine.protocol import Examples
from slide.model.store import size
from slide.model.store.layer import BestOf, StoredLayer
from slide.model.store.rows import RowStore
from slide.model.store.size import parse_memory
from slide.serving.hosted import Hosted

X, Y = slide.datasets.synthetic(2048, 300, 4200, nnz=8, labels_per_row=2)
LAYERS = [slide.SparseInput(300, 16), slide.Sampled(4200, lsh=slide.QueryCells(K=7), n_active=60, n_random=10)]
SMALL, HALF, LARGE = "1.5MB", "1.69MB", "1.82MB"  # room for some of the 4,200 rows, for half and for most of them


@pytest.fixture(scope="module", autouse=True)
def small_caches() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(size, "FEWEST", 0)
        yield


def network(memory: Any = None, **options: Any) -> slide.Network:
    known: dict[str, Any] = {"n_threads": 1, "seed": 3, "batch_size": 16}
    return slide.Network(LAYERS, **known | options, memory=memory)


def trained(memory: Any = None, **options: Any) -> slide.Network:
    return network(memory, **options).fit(X, Y, epochs=2)


def store_of(net: slide.Network) -> RowStore:
    last = net.states[-1]
    assert isinstance(last, StoredLayer)
    return last.store


def rows_of(net: slide.Network) -> np.ndarray:
    return np.array(net.states[-1].arrays["rows"])


def assert_same(net: slide.Network, other: slide.Network) -> None:
    """Parameters, tables, leaves and answers."""
    np.testing.assert_array_equal(rows_of(net), rows_of(other))
    np.testing.assert_array_equal(net.states[0].rows, other.states[0].rows)
    a, b = net.states[-1].lsh, other.states[-1].lsh
    assert a is not None
    assert b is not None
    np.testing.assert_array_equal(a.buckets, b.buckets)
    for name, array in net.leaves.arrays.items() if net.leaves else ():
        assert other.leaves is not None
        np.testing.assert_array_equal(array, other.leaves.arrays[name])
    for options in ({}, {"n_candidates": 200}) if net.wide is None else ({},):
        found, wanted = (one.predict_topk(X[:99], 7, **options) for one in (net, other))
        np.testing.assert_array_equal(found[0], wanted[0])
        np.testing.assert_array_equal(found[1], wanted[1])


@pytest.fixture(scope="module")
def plain() -> slide.Network:
    return trained()


@pytest.fixture(scope="module")
def small() -> slide.Network:
    return trained(SMALL)


def test_the_bits_of_a_model_in_memory(plain: slide.Network, small: slide.Network) -> None:
    store = store_of(small)
    assert 200 < store.n_slots < 1200
    assert store.traffic.read > 2 * 4200  # rows were fetched again and again
    assert store.traffic.written > 4200
    assert plain.leaves is not None
    assert_same(small, plain)
    np.testing.assert_array_equal(small.shortlist(X[:300], 50)[0], plain.shortlist(X[:300], 50)[0])


def test_windows_that_are_fetched_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slide.training.loop.WINDOW", 64)
    nets = [network(memory).fit(X[:1024], Y[:1024], epochs=2) for memory in (HALF, None)]
    traffic = store_of(nets[0]).traffic
    assert traffic.ahead > 0.7 * traffic.read
    assert traffic.written > 100
    assert_same(*nets)


def test_a_cache_of_most_rows(plain: slide.Network) -> None:
    large = trained(LARGE)
    assert 2000 < store_of(large).n_slots < 4200
    assert_same(large, plain)


@pytest.mark.parametrize(
    "options",
    [
        {"storage": "bfloat16"},
        {"optimizer": slide.Adam(0.01)},
        {"wide": slide.Wide()},
        {"loss": "binary"},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:memory. the sparse part")
def test_with_other_options(options: dict[str, Any]) -> None:
    budget = {"optimizer": "2.4MB", "storage": HALF}.get(*options, SMALL)
    stored = network(budget, **options).fit(X, Y)
    assert store_of(stored).traffic.written
    assert_same(stored, network(**options).fit(X, Y))


def test_refreshed_tables(plain: slide.Network, small: slide.Network) -> None:
    for refresh in (True, False):
        for net in (plain, small):
            net.engine.rebuild(1, 9, refresh)
        assert plain.states[1].lsh is not None
        assert small.states[1].lsh is not None
        np.testing.assert_array_equal(plain.states[1].lsh.buckets, small.states[1].lsh.buckets)


def test_what_is_enough_is_in_memory() -> None:
    net = network("1GB")
    assert not net.is_stored
    np.testing.assert_array_equal(rows_of(net), rows_of(network()))


def test_files(small: slide.Network, plain: slide.Network, tmp_path: Path) -> None:
    path = tmp_path / "net.slide"
    small.save(path)
    for memory in (SMALL, LARGE, None, "1GB"):
        loaded = slide.load(path, n_threads=1, memory=memory)
        assert isinstance(loaded, slide.Network)
        assert loaded.is_stored == (memory in (SMALL, LARGE))
        np.testing.assert_array_equal(rows_of(loaded), rows_of(plain))
    again = slide.load(path, n_threads=1, memory=SMALL)
    assert isinstance(again, slide.Network)
    assert_same(again.fit(X, Y), pickle.loads(pickle.dumps(plain)).fit(X, Y))
    copy = pickle.loads(pickle.dumps(small))
    assert copy.is_stored
    np.testing.assert_array_equal(rows_of(copy), rows_of(plain))
    np.testing.assert_array_equal(small.compress().predict_topk(X[:9])[0], plain.compress().predict_topk(X[:9])[0])


def test_damaged_rows_are_found(small: slide.Network, tmp_path: Path) -> None:
    path = tmp_path / "net.slide"
    small.save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(slide.ModelFormatError, match="altered"):
        slide.load(path, memory=SMALL)


def test_the_best_model_comes_back() -> None:
    early = slide.EarlyStopping(patience=1, metric="p@1")
    held = X[:200], Y[:200]
    nets = [network(m).fit(X, Y, epochs=3, eval_set=held, early_stopping=early) for m in (SMALL, None)]
    assert nets[0].is_stored
    assert_same(*nets)


def test_the_best_model_comes_back_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the budget: nobody takes memory for all rows."""
    taken: list[tuple[int, ...]] = []
    allocate = engine_memory.allocate
    monkeypatch.setattr(
        engine_memory, "allocate", lambda shape, *rest: (taken.append(shape), allocate(shape, *rest))[1]
    )
    how: dict[str, Any] = {"eval_set": (X[:200], Y[:200]), "early_stopping": slide.EarlyStopping(1, "p@1")}
    net = network(SMALL).fit(X, Y, epochs=3, **how, checkpoint=slide.Checkpoint(tmp_path / "run"))
    assert taken
    assert all(shape[0] < 4200 for shape in taken if len(shape) == 2)
    assert_same(net, network(SMALL).fit(X, Y, epochs=3, **how))


def test_a_checkpoint(plain: slide.Network, tmp_path: Path) -> None:
    class Stop(slide.Callback):
        def on_checkpoint(self, progress: Any, network: Any) -> None:
            raise KeyboardInterrupt

    at = slide.Checkpoint(tmp_path / "run", samples=1500, resume=True)
    with pytest.raises(KeyboardInterrupt):
        network(SMALL).fit(X, Y, epochs=2, checkpoint=at, callback=Stop())
    resumed = network(SMALL).fit(X, Y, epochs=2, checkpoint=at)
    assert resumed.samples_resumed
    assert_same(resumed, plain)


def test_a_classifier_that_ranks(tmp_path: Path) -> None:
    options: dict[str, Any] = {"hidden": 16, "epochs": 1, "n_active": 60, "n_threads": 1}
    options |= {"lsh": slide.QueryCells(K=7), "batch_size": 16, "wide": slide.Rank(C=1.0, n_negatives=30, max_passes=2)}
    clf = slide.SlideClassifier(**options, memory=LARGE).fit(X[:1100], Y[:1100])
    plain = slide.SlideClassifier(**options).fit(X[:1100], Y[:1100])
    store = store_of(clf.network_)
    assert 900 < store.n_slots < 0.5 * store_of(network(LARGE)).n_slots  # the sparse part has the rest
    np.testing.assert_array_equal(clf.predict_topk(X[:200])[0], plain.predict_topk(X[:200])[0])
    clf.save(tmp_path / "clf.slide")
    loaded = slide.load(tmp_path / "clf.slide", n_threads=1, memory=LARGE)
    assert isinstance(loaded, slide.SlideClassifier)
    assert store_of(loaded.network_).n_slots == store.n_slots
    assert describe_model(str(tmp_path / "clf.slide"), parse_memory(LARGE))["rows_in_memory"] == store.n_slots
    for n_candidates in (None, 4200):  # those of the leaves, and all
        ids, scores = plain.predict_topk(X[:200], n_candidates=n_candidates)
        found = loaded.predict_topk(X[:200], n_candidates=n_candidates)
        np.testing.assert_array_equal(found[0], ids)
        np.testing.assert_allclose(found[1], scores, rtol=1e-4, atol=1e-5)
    hosted = Hosted.loaded(str(tmp_path / "clf.slide"), n_threads=1, memory=LARGE)
    assert hosted.net.is_stored
    rows = [(x.indices.astype(np.int64), x.data) for x in (X[[i]] for i in range(9))]
    np.testing.assert_array_equal(hosted.best(rows, 5).ids, plain.predict_topk(X[:9], 5)[0])
    with pytest.raises(ValueError, match="memory="):
        loaded.add_labels(2)


def test_a_sparse_part_that_leaves_too_little() -> None:
    """What it takes is known once rows were seen: the smallest cache is left, and a warning says what all takes."""
    with pytest.warns(
        UserWarning, match=r"memory: the sparse part takes .*, so that .* instead of the 1.5MB asked for"
    ):
        net = network(SMALL, wide=slide.Wide()).fit(X, Y)
    assert net.is_stored
    assert_same(net, network(wide=slide.Wide()).fit(X, Y))


def test_an_engine_of_before_the_cache_shrank(small: slide.Network) -> None:
    net = pickle.loads(pickle.dumps(small))
    before, last = net.engine, net.states[-1]
    wanted = before.predict(Examples.of(X[:20]), 5, 200)
    last.shrink(last.store.n_slots - 200, last.filling_bytes)
    net.engine.handed_out()
    found = before.predict(Examples.of(X[:20]), 5, 200)
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_array_equal(found[1], wanted[1])


@pytest.mark.parametrize("storage", ["float32", "bfloat16"])
def test_what_would_fit(storage: str, tmp_path: Path) -> None:
    """`slide info` says it of the header: what loading then does."""
    path = tmp_path / "net.slide"
    network(storage=storage).fit(X[:256], Y[:256]).save(path)
    for memory in (SMALL, LARGE):
        facts = describe_model(str(path), parse_memory(memory))
        net = slide.load(path, memory=memory)
        assert isinstance(net, slide.Network)
        assert facts["rows_in_memory"] == (store_of(net).n_slots if net.is_stored else 4200)
    least = facts["least_memory"]
    with pytest.raises(ValueError, match=r"memory: found .*, wanted .* or more"):
        describe_model(str(path), least - 1)
    slide.load(path, memory=least)
    tables = sum(a.nbytes for s in net.states if s.lsh for a in s.lsh.arrays)
    assert facts["network_bytes"] == net.n_bytes + tables
    net.compress().save(path)
    assert "least_memory" not in describe_model(str(path))
    with pytest.raises(ValueError, match="compressed"):
        describe_model(str(path), 10**9)


def test_what_slide_train_says_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slide.write_xmc(tmp_path / "data.txt", X[:512], Y[:512])
    options = ["--hidden", "16", "--epochs", "1", "--n-threads", "1", "--no-wide", "--memory", "3.7MB", "--json"]
    assert main(["train", str(tmp_path / "data.txt"), *options]) == 0
    out = capsys.readouterr().out
    assert "rows in a file: " in out
    facts = json.loads(out.splitlines()[-1])
    assert 1 < facts["rows_read_a_sample"] < 100
    assert 0 < facts["row_share"] < 1


def test_several_threads() -> None:
    net = trained(SMALL, n_threads=2)
    assert np.isfinite(rows_of(net)).all()
    ids, _ = net.predict_topk(X[:200], 5)
    assert (ids >= 0).all()


def test_a_budget_that_is_too_small() -> None:
    with pytest.raises(ValueError, match=r"memory: found '700KB', wanted .*B or more: .* beside the output rows") as e:
        network("700KB")
    wanted = str(e.value).split("wanted ")[1].split(" or more")[0]
    assert store_of(network(wanted)).n_slots >= 2 * (60 + 10)  # what it says is enough
    crowded = slide.datasets.synthetic(64, 300, 4200, nnz=8, labels_per_row=200)
    with pytest.raises(ValueError, match=r"memory: found 'a cache of .* rows', wanted room for the .* one batch takes"):
        network(wanted, batch_size=32).fit(*crowded)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"batch_size": 1}, "batch_size"),
        ({"backend": "numba"}, "backend"),
    ],
    ids=str,
)
def test_what_a_budget_does_not_go_with(options: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        network(SMALL, **options)


def test_layers_that_a_budget_does_not_go_with() -> None:
    for layers in (
        [slide.SparseInput(300, 16), slide.Sampled(4200, lsh=slide.SimHash(), n_active=60, n_random=9)],
        [slide.SparseInput(300, 16), slide.Sampled(500), slide.Sampled(4200)],
        [slide.SparseInput(300, 16), slide.Dense(4200)],
    ):
        with pytest.raises(ValueError, match="memory: found '2MB', wanted None"):
            slide.Network(layers, memory="2MB")


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [("4GB", 4 * 10**9), ("1.5GiB", 3 * 2**29), ("500 MB", 5 * 10**8), ("12B", 12), (7, 7), (None, None)],
)
def test_sizes(text: Any, n_bytes: int | None) -> None:
    assert parse_memory(text) == n_bytes


@pytest.mark.parametrize("text", ["4", "GB", "-1GB", "4gb", "4 EB", 0, -5, 1.5, True, b"4GB", [4]])
def test_sizes_that_are_none(text: Any) -> None:
    with pytest.raises(ValueError, match=r"memory: found .*, wanted a number of bytes"):
        parse_memory(text)


def test_the_best_of_several_offers() -> None:
    rng = np.random.default_rng(2)
    scores = rng.integers(0, 20, (6, 90)).astype(np.float32)  # with many ties
    best = BestOf(6, 10)
    for first in range(0, 90, 30):
        ids = np.tile(np.arange(first, first + 30, dtype=np.int32), (6, 1))
        best.offer(ids, scores[:, first : first + 30])
    order = np.lexsort((np.tile(np.arange(90), (6, 1)), -scores), axis=1)[:, :10]
    np.testing.assert_array_equal(best.ids, order)
    short = BestOf(1, 3)
    short.offer(np.array([[4, -1]], np.int32), np.array([[1.0, -np.inf]], np.float32))
    assert short.ids.tolist() == [[4, -1, -1]]


def test_examples_are_taken_as_they_are() -> None:
    net = network(SMALL)
    none = net.engine.predict(Examples.of(X[:0]), 3, 0)
    assert none[0].shape == (0, 3)
