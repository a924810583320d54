"""Rows that come in blocks: files read piece by piece, and training on them."""

from __future__ import annotations

import gc
import gzip
import json
import os
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import engine_strategies as es
import numpy as np
import pytest
import scipy.sparse as sp
from engine_strategies import random_data

import slide
from slide.cli.main import main
from slide.model.pairs import PairCounts

D, N = 60, 40
Pair = tuple[sp.csr_array, sp.csr_array]


def cut(X: sp.csr_array, Y: sp.csr_array, rows: int) -> list[Pair]:
    """In blocks of so many rows."""
    return [(X[i : i + rows], Y[i : i + rows]) for i in range(0, X.shape[0], rows)]


def same(a: Pair, b: Pair) -> None:
    for one, other in zip(a, b, strict=True):
        assert one.shape == other.shape
        assert (one != other).nnz == 0


def joined(blocks: Any) -> Pair:
    found = list(blocks)
    return sp.vstack([X for X, _ in found], format="csr"), sp.vstack([Y for _, Y in found], format="csr")


# -- files -------------------------------------------------------------------------------------------------------------

FORMS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda text: text,
    "gzip": gzip.compress,
    "carriage returns": lambda text: text.replace(b"\n", b"\r\n"),
    "a byte order mark": lambda text: b"\xef\xbb\xbf" + text,
    "no last newline": lambda text: text[:-1],
    "blank lines at the end": lambda text: text + b"\n \n\n",
    "zeros before the number of rows": lambda text: b"00" + text,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rows", [1, 7, 30, 31, 1000])
def test_blocks_are_the_file(form: str, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read in pieces of 50 bytes, so that lines and blocks end anywhere in them."""
    monkeypatch.setattr("slide.io.xmc_blocks.PIECE", 50)
    path = tmp_path / "train.txt"
    slide.write_xmc(path, *random_data(31, D, N))
    path.write_bytes(FORMS[form](path.read_bytes()))
    blocks = slide.XMCBlocks(path, rows=rows)
    assert (blocks.n_rows, blocks.n_features, blocks.n_labels) == (31, D, N)
    for _ in range(2):
        sizes = [X.shape[0] for X, _ in blocks]
        assert sizes[:-1] == [rows] * (len(sizes) - 1)
        assert sum(sizes) == 31
        assert 0 not in sizes
    same(joined(blocks), slide.read_xmc(path))


def test_files_follow_each_other(tmp_path: Path) -> None:
    parts = [random_data(n, D, N, seed=n) for n in (5, 8)]
    paths = [tmp_path / f"{i}.txt" for i in range(2)]
    for path, part in zip(paths, parts, strict=True):
        slide.write_xmc(path, *part)
    blocks = slide.XMCBlocks(paths, rows=6)
    assert blocks.n_rows == 13
    assert [X.shape[0] for X, _ in blocks] == [5, 6, 2]
    same(joined(blocks), joined(parts))
    slide.write_xmc(paths[1], *random_data(3, D, N + 1))
    with pytest.raises(
        slide.DataFormatError, match=r"1\.txt, line 1: found 60 features and 41 labels, wanted the 60 and"
    ):
        slide.XMCBlocks(paths)


@pytest.mark.parametrize(
    ("text", "says"),
    {
        "a bad value in a later block": ("5 4 3\n0 1:1\n1 1:1\n2 1:1\n0 2:x\n1 1:1\n", "line 5, column 5: found 'x'"),
        "a label out of range": ("4 4 3\n0 1:1\n1 1:1\n2 1:1\n3 2:1\n", "line 5, column 1: found label '3'"),
        "too few rows": ("4 4 3\n0 1:1\n1 1:1\n2 1:1\n", "found 3 rows, wanted the 4 that the header promises"),
        "too many rows": ("3 4 3\n0 1:1\n1 1:1\n2 1:1\n0 1:1\n", "found more rows, wanted the 3 that"),
        "far too many rows": ("1 4 3\n" + "0 1:1\n" * 9, "found more rows, wanted the 1 that"),
        "no header": ("0 1:1\n1 1:1\n", "line 1, column 1: found '0 1:1', wanted a header"),
        "nothing": ("", "the file is empty"),
        "words": ("many rows here\n", "wanted a header"),
        "negative": ("-3 4 3\n", "wanted a header"),
        "too many columns": ("1 99999999999 3\n0 1:1\n", "wanted at most"),
    }.values(),
)
def test_what_is_wrong_is_said_with_its_place(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text(text)
    with pytest.raises(slide.DataFormatError) as caught:
        list(slide.XMCBlocks(path, rows=2))
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


def test_files_that_are_not_there_or_cut_short(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such data file"):
        slide.XMCBlocks(tmp_path / "none.txt")
    os.mkfifo(tmp_path / "pipe")
    for what in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ValueError, match="found no regular file, wanted one that can be read several times"):
            slide.XMCBlocks(what)
    path = tmp_path / "train.txt.gz"
    slide.write_xmc(path, *random_data(500, D, N))
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(slide.DataFormatError, match="truncated or altered gzip file"):
        list(slide.XMCBlocks(path))
    with pytest.raises(ValueError, match="rows: found 0, wanted a whole number, 1 or more"):
        slide.XMCBlocks(path, rows=0)
    with pytest.raises(ValueError, match=r"paths: found \[\], wanted at least one file"):
        slide.XMCBlocks([])


# -- training ----------------------------------------------------------------------------------------------------------


def options(**more: Any) -> dict[str, Any]:
    return {"hidden": (16,), "epochs": 3, "n_active": 20, "n_threads": 1} | more


@pytest.mark.parametrize("wide", [True, False])
def test_one_block_is_an_ordinary_fit(wide: bool) -> None:
    X, Y = random_data(300, D, N)
    whole = slide.SlideClassifier(**options(wide=wide)).fit(X, Y)
    block = slide.SlideClassifier(**options(wide=wide)).fit_blocks([(X, Y)])
    for a, b in zip(whole.predict_topk(X), block.predict_topk(X), strict=True):
        np.testing.assert_array_equal(a, b)
    assert whole.threshold_ == block.threshold_
    facts = [{k: v for k, v in clf.card_.data.items() if k != "fingerprint"} for clf in (whole, block)]
    assert facts[0] == facts[1]


@pytest.mark.parametrize("more", [{}, {"batch_size": 8}, {"wide": False}], ids=str)
def test_a_planted_task_is_learned_in_blocks(more: dict[str, Any]) -> None:
    X, Y, Xt, Yt = (*es.planted_data(600, 100, 50, seed=0), *es.planted_data(300, 100, 50, seed=1))
    clf = slide.SlideClassifier(**options(hidden=(32,), epochs=5, **more))
    clf.fit_blocks(cut(X, Y, 130), eval_set=(Xt, Yt))
    assert es.precision_at_1(clf.network_, clf._rows(Xt), Yt) > 0.9
    assert clf.network_.step == 5 * 600
    ended = [record for record in clf.history_ if record["epoch_ended"]]
    assert [record["samples"] for record in ended] == [600, 1200, 1800, 2400, 3000]
    wanted = slide.metrics.evaluate(Yt, clf.predict_topk(Xt, 5)[0], Y)
    assert ended[-1]["psp@3"] == pytest.approx(wanted["psp@3"])


def test_every_row_is_visited_once_an_epoch() -> None:
    """Each row has a feature of its own, whose weights move when the row is met."""
    X = sp.csr_array(np.eye(30, dtype=np.float32))
    net = slide.Network([slide.SparseInput(30, 8), slide.Sampled(30, n_active=2, n_random=1)], n_threads=1)
    before = net.weights(0).copy()
    net.fit_blocks(cut(X, X, 7))
    assert (net.step, net.epoch) == (30, 1)
    assert (net.weights(0) != before).any(axis=1).all()


class Watched:
    """Blocks that are made when they are asked for, and counted while anybody holds them."""

    def __init__(self, make: Callable[[int], Pair], n: int) -> None:
        self._make, self._n, self.passes = make, n, 0
        self.alive: list[Any] = []

    def __iter__(self) -> Iterator[Pair]:
        self.passes += 1
        for i in range(self._n):
            X, Y = self._make(i)
            self.alive.append(weakref.ref(X))
            yield X, Y
            del X, Y


def unit(seed: int, n: int = 50) -> Pair:
    X, Y = random_data(n, D, N, seed=seed)
    return slide.estimator.scaling.unit_rows(X), Y


def test_few_blocks_are_in_memory() -> None:
    blocks, most = Watched(unit, 20), []

    def count(_: Any) -> None:
        gc.collect()
        most.append(sum(ref() is not None for ref in blocks.alive))

    gc.freeze()  # only what comes from now on is looked through, not the whole process
    try:
        slide.SlideClassifier(**options()).fit_blocks(blocks, callback=count)
    finally:
        gc.unfreeze()
    assert len(blocks.alive) == 1 + 20 + 3 * 20  # the first block, the first pass, and the epochs
    assert blocks.passes == 5
    assert 1 <= max(most) <= 3


def test_names_of_labels() -> None:
    X, Y = random_data(60, D, 5)
    names = np.array(["a", "b", "c", "d", "e"])
    lists = [names[Y[[i]].indices].tolist() for i in range(60)]
    blocks = [(X[:30], lists[:30]), (X[30:], lists[30:])]
    clf = slide.SlideClassifier(**options())
    with pytest.raises(ValueError, match="classes: found None, wanted all labels"):
        clf.fit_blocks(blocks)
    clf.fit_blocks(blocks, classes=names)
    assert clf.predict(X[:3]) == slide.SlideClassifier(**options()).fit_blocks(blocks, classes=names).predict(X[:3])
    assert clf.classes_.tolist() == names.tolist()
    with pytest.raises(ValueError, match="block 2: y: found the label 'z'"):
        clf.fit_blocks([blocks[0], (X[:1], [["z"]])], classes=names)


def test_rows_without_labels_are_seen_in_any_block() -> None:
    X, Y = random_data(60, D, N)
    empty = sp.csr_array((1, N), dtype=np.float32)
    assert slide.SlideClassifier(**options()).fit_blocks(cut(X, Y, 30))._labels.nonempty
    last = X[:2], sp.vstack([Y[:1], empty], format="csr")
    assert not slide.SlideClassifier(**options()).fit_blocks([*cut(X, Y, 30), last])._labels.nonempty


@pytest.mark.parametrize(
    ("blocks", "says"),
    {
        "a generator": (lambda X, Y: (pair for pair in cut(X, Y, 9)), "blocks: found 'generator', wanted pairs"),
        "none": (lambda X, Y: [], "blocks: found none, wanted pairs"),
        "a matrix": (lambda X, Y: X, "found"),
        "no pair": (lambda X, Y: [(X, Y), X], "block 2: found csr_array, wanted a pair"),
        "other features": (lambda X, Y: [(X, Y), (X[:, 1:], Y)], "block 2: X has 59 features, but"),
        "other labels": (lambda X, Y: [(X, Y), (X, Y[:, 1:])], "block 2: Y: found 39 labels, wanted 40"),
        "unequal rows": (lambda X, Y: [(X, Y), (X[1:], Y)], "block 2: X and Y: found 29 and 30 rows"),
    }.values(),
)
def test_wrong_blocks_are_named(blocks: Any, says: str) -> None:
    X, Y = random_data(30, D, N)
    for fits in (slide.SlideClassifier(**options()), slide.Network([slide.SparseInput(D, 4), slide.Sampled(N)])):
        with pytest.raises(ValueError, match="block") as caught:
            fits.fit_blocks(blocks(X, Y))
        assert says.split(",")[0] in str(caught.value)


@pytest.mark.parametrize(("later", "says"), [(2, "found 60 rows in a later pass"), (4, "found more rows in a later")])
def test_a_pass_of_other_rows_is_an_error(later: int, says: str) -> None:
    class Changing:
        passes = 0

        def __iter__(self) -> Iterator[Pair]:
            self.passes += 1
            return iter([unit(i, 30) for i in range(3 if self.passes <= 2 else later)])

    with pytest.raises(ValueError, match=says):
        slide.SlideClassifier(**options()).fit_blocks(Changing())


def test_an_error_while_reading_ahead_is_raised(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    slide.write_xmc(path, *random_data(300, D, N))
    blocks = slide.XMCBlocks(path, rows=100)
    text = path.read_text()

    def spoil(_: Any) -> None:
        path.write_text(text[: len(text) // 2] + "x" + text[len(text) // 2 :])

    with pytest.raises(slide.DataFormatError, match=r"train\.txt, line 1\d\d, column"):
        slide.SlideClassifier(**options()).fit_blocks(blocks, callback=spoil)


def test_an_interrupted_fit_leaves_a_model() -> None:
    X, Y = random_data(300, D, N)

    def stops(progress: Any) -> None:
        if progress.done >= 350:
            raise KeyboardInterrupt

    clf = slide.SlideClassifier(**options())
    with pytest.raises(KeyboardInterrupt):
        clf.fit_blocks(cut(X, Y, 100), callback=stops)
    assert 350 <= clf.network_.step < 900
    assert clf.predict_topk(X, 3)[0].shape == (300, 3)


def test_training_goes_on_after_blocks_and_blocks_after_training() -> None:
    X, Y = random_data(200, D, N)
    net = slide.Network([slide.SparseInput(D, 8), slide.Sampled(N)], wide=slide.Wide(), n_threads=1)
    net.fit(X, Y).fit_blocks(cut(X, Y, 70), epochs=2).fit(X, Y)
    assert net.step == 800


def test_texts_do_not_come_in_blocks() -> None:
    with pytest.raises(TypeError, match="the vocabulary is made of all texts"):
        slide.SlideTextClassifier().fit_blocks([(["a"], ["b"])])


# -- the pairs that meet -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [13, 50, 400])
def test_pairs_of_blocks_are_those_of_all_rows(rows: int) -> None:
    X, Y = random_data(400, D, N)
    parts = PairCounts(D, N)
    for x, y in cut(X, Y, rows):
        parts.add(x, y)
    none = sp.csr_array((D, N), dtype=np.float32)
    whole, found = PairCounts.of(X, Y).merged_with(none), parts.merged_with(none)
    np.testing.assert_allclose(found.toarray(), whole.toarray(), rtol=1e-5)


def test_a_limit_is_kept_to_in_blocks() -> None:
    """And nearly the same pairs stay, though weak ones are dropped before all rows have come."""
    X, Y = slide.datasets.synthetic(4000, 300, 400, nnz=12, labels_per_row=3)
    limit, none = 500, sp.csr_array((300, 400), dtype=np.float32)
    parts, most = PairCounts(300, 400, limit), 0
    for x, y in cut(X, Y, 250):
        parts.add(x, y)
        most = max(most, parts._met.nnz)
    whole, found = PairCounts.of(X, Y, limit).merged_with(none), parts.merged_with(none)
    assert PairCounts.of(X, Y).merged_with(none).nnz > 1.3 * most > whole.nnz
    assert np.bincount(X.indices, minlength=300) / 4000 @ np.diff(found.indptr) <= limit
    assert (found != 0).multiply(whole != 0).nnz > 0.95 * whole.nnz


# -- the command line --------------------------------------------------------------------------------------------------


def test_the_command_line_reads_in_blocks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    X, Y = es.planted_data(600, 100, 50, seed=0)
    slide.write_xmc(tmp_path / "train.txt", X, Y)
    slide.write_xmc(tmp_path / "test.txt", *es.planted_data(300, 100, 50, seed=1))
    train, test, model = (str(tmp_path / name) for name in ("train.txt", "test.txt", "model"))
    told = ["train", train, "--rows-at-once", "130", "--epochs", "5", "--hidden", "32"]
    assert main([*told, "--test", test, "--validation", test, "--out", model, "--json"]) == 0
    printed = capsys.readouterr().out
    assert "600 rows, 100 features, 50 labels, 130 rows at once" in printed
    facts = json.loads(printed.splitlines()[-1])
    assert facts["n_samples"] == 600
    assert facts["n_trained"] == 3000
    assert facts["p@1"] > 85
    ids = slide.load(model).predict_topk(slide.read_xmc(test)[0], 5)[0]
    wanted = slide.metrics.evaluate(slide.read_xmc(test)[1], ids, Y)
    assert facts["psp@3"] == pytest.approx(100 * wanted["psp@3"], abs=0.01)
    for more, says in (
        (["--validation", "0.1"], "--validation: found 0.1 and --rows-at-once"),
        (["--checkpoint", model + ".c"], "--checkpoint: found --rows-at-once"),
        (["--text", "a", "--labels", "b"], "--rows-at-once: found --text"),
    ):
        assert main([*told, *more]) == 2
        assert says in capsys.readouterr().err
    assert main(["train", "wordnet-hypernym", "--rows-at-once", "9"]) == 2
    assert "found an embedded data set, wanted a file of XMC text" in capsys.readouterr().err
