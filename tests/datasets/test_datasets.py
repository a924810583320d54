"""The embedded data is what it was packed from, to the bit; synthetic data has the shape and the structure promised."""

from __future__ import annotations

import doctest
import gzip
import hashlib
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import slide
from slide import datasets
from slide.datasets import embedded, pack, planted
from slide.metrics import precision_at_k

NAME = "wordnet-hypernym"
#: Of indptr, indices and data of the matrices that the repository's text files hold.
CHECKSUMS = {
    "X_train": "e749215ea24a9913",
    "Y_train": "04a97591507d5942",
    "X_test": "4759750271e65634",
    "Y_test": "90f7264de3417bb8",
}
TEXT_CHECKSUM = "812004765b9aa602"


def checksum(matrix: sp.csr_array) -> str:
    h = hashlib.sha256(repr(matrix.shape).encode())
    for array, dtype in ((matrix.indptr, "<i8"), (matrix.indices, "<i4"), (matrix.data, "<f4")):
        h.update(array.astype(dtype).tobytes())
    return h.hexdigest()[:16]


@pytest.fixture(scope="module")
def wordnet() -> tuple[sp.csr_array, sp.csr_array, sp.csr_array, sp.csr_array]:
    return datasets.load(NAME)


@pytest.fixture(scope="module")
def source() -> Path:
    """The text files that the embedded data was made from."""
    folder = os.environ.get("SLIDE_SHARED_DATA")
    path = Path(folder) if folder else Path(__file__).resolve().parents[3] / "shared" / "data"
    if not (path / NAME / "train.txt.gz").exists():
        pytest.skip(f"needs {NAME}/train.txt.gz in SLIDE_SHARED_DATA or in ../shared/data")
    return path / NAME


# -- embedded ----------------------------------------------------------------------------------------------------------


def test_checksums(wordnet: tuple[sp.csr_array, ...]) -> None:
    assert {name: checksum(matrix) for name, matrix in zip(CHECKSUMS, wordnet, strict=True)} == CHECKSUMS


def test_shapes_and_types(wordnet: tuple[sp.csr_array, ...]) -> None:
    assert [matrix.shape for matrix in wordnet] == [(80896, 88306), (80896, 12702), (14182, 88306), (14182, 12702)]
    for matrix in wordnet:
        matrix.check_format(full_check=True)
        assert matrix.data.dtype == np.float32
        assert matrix.indices.dtype == matrix.indptr.dtype == np.int32
        assert sp.csr_array(matrix.tocoo()).indices.tolist() == matrix.indices.tolist()
    for Y in wordnet[1::2]:
        assert set(Y.data) == {1.0}
    for X in wordnet[::2]:
        lengths = np.sqrt(X.multiply(X).sum(axis=1))
        np.testing.assert_allclose(lengths[np.diff(X.indptr) > 0], 1, atol=1e-3)


@pytest.mark.parametrize("part", ["train", "test"])
def test_equals_the_text_files(wordnet: tuple[sp.csr_array, ...], source: Path, part: str) -> None:
    ours_of_part = wordnet[:2] if part == "train" else wordnet[2:]
    for ours, theirs in zip(ours_of_part, slide.read_xmc(source / f"{part}.txt.gz"), strict=True):
        assert ours.shape == theirs.shape
        for attribute in ("indptr", "indices", "data"):
            assert getattr(ours, attribute).dtype == getattr(theirs, attribute).dtype
            np.testing.assert_array_equal(getattr(ours, attribute), getattr(theirs, attribute))


def test_texts_and_label_names_equal_the_text_files(source: Path) -> None:
    text = datasets.load_text(NAME)
    for part, texts, labels in (("train", text[0], text[1]), ("test", text[2], text[3])):
        lines = gzip.decompress((source / f"{part}.tsv.gz").read_bytes()).decode().removesuffix("\n").split("\n")[1:]
        ours = [f"{';'.join(names)}\t{row}" for names, row in zip(labels, texts, strict=True)]
        assert [line.partition("\t")[2] for line in lines] == ours
    names = gzip.decompress((source / "labels.txt.gz").read_bytes()).decode().splitlines()
    assert datasets.load_label_names(NAME) == names


def test_texts_and_label_names_fit_the_matrices(wordnet: tuple[sp.csr_array, ...]) -> None:
    names = datasets.load_label_names(NAME)
    text = datasets.load_text(NAME)
    assert len(names) == len(set(names)) == wordnet[1].shape[1]
    column = {name: i for i, name in enumerate(names)}
    for Y, texts, labels in ((wordnet[1], *text[:2]), (wordnet[3], *text[2:])):
        assert Y.shape[0] == len(texts) == len(labels)
        assert all(texts)
        of_text = [sorted(column[name] for name in row if name in column) for row in labels]
        assert [i for row in of_text for i in row] == Y.indices.tolist()
        assert np.cumsum([0, *map(len, of_text)]).tolist() == Y.indptr.tolist()
    assert hashlib.sha256("\n".join(text.train_texts + text.test_texts).encode()).hexdigest()[:16] == TEXT_CHECKSUM
    assert text.train_texts[0] == "physical entity : an entity that has physical existence"
    assert text.train_labels[0] == ["n00001740:entity"]


def test_the_licence_lies_beside_the_data() -> None:
    licence = files("slide.datasets").joinpath("data").joinpath("LICENSE.wordnet").read_text()
    assert licence.startswith("WordNet 3.0 license")
    assert "Copyright 2006 by Princeton University" in licence


def test_the_package_stays_small() -> None:
    folder = files("slide.datasets").joinpath("data")
    assert sum(len(file.read_bytes()) for file in folder.iterdir()) < 7_000_000


def test_unknown_name() -> None:
    for function in (datasets.load, datasets.load_label_names, datasets.load_text):
        with pytest.raises(ValueError, match=r"name: found 'mnist', wanted one of 'wordnet-hypernym'"):
            function("mnist")
    assert datasets.names() == (NAME,)


def test_import_is_cheap() -> None:
    code = (
        "import sys, numpy, scipy.sparse, slide; before = set(sys.modules); slide.datasets.synthetic; slide.metrics; "
        "print({name.split('.')[0] for name in set(sys.modules) - before} & {'numba', 'tqdm', 'sklearn', 'torch'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(slide.__file__).parent.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


# -- packing -----------------------------------------------------------------------------------------------------------


def write_source(folder: Path, value: str = "0.1234") -> None:
    contents = {
        "train.txt.gz": f"3 4 2\n0 0:{value} 3:1.0000\n\n1 1:6.5535\n",
        "test.txt.gz": "1 4 2\n0,1 2:0.0000\n",
        "labels.txt.gz": "zero\none\n",
        "train.tsv.gz": "id\tlabels\ttext\na\tzero\tfirst\nb\t\tsecond é\nc\tone\t\n",
        "test.tsv.gz": "id\tlabels\ttext\nd\tzero;one\tlast\n",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(gzip.compress(content.encode()))


def test_pack_and_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_source(tmp_path)
    pack.pack(tmp_path, tmp_path, "tiny")
    monkeypatch.setattr(embedded, "NAMES", ("tiny",))
    monkeypatch.setattr(embedded, "files", lambda _: tmp_path / "up")
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "data").symlink_to(tmp_path)
    found = datasets.load("tiny")
    wanted = (*slide.read_xmc(tmp_path / "train.txt.gz"), *slide.read_xmc(tmp_path / "test.txt.gz"))
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape
        assert checksum(a) == checksum(b)
    assert datasets.load_label_names("tiny") == ["zero", "one"]
    text = datasets.load_text("tiny")
    assert text[:2] == (["first", "second é", ""], [["zero"], [], ["one"]])
    assert text[2:] == (["last"], [["zero", "one"]])


def test_pack_refuses_what_it_would_alter(tmp_path: Path) -> None:
    write_source(tmp_path, value="0.12345")
    with pytest.raises(ValueError, match="no multiples of 1/10,000"):
        pack.pack(tmp_path, tmp_path, "tiny")


# -- synthetic ---------------------------------------------------------------------------------------------------------


def test_synthetic_rows() -> None:
    X, Y = datasets.synthetic(3000, d=20_000, l=5000)
    assert X.shape == (3000, 20_000)
    assert Y.shape == (3000, 5000)
    for matrix in (X, Y):
        matrix.check_format(full_check=True)
        assert matrix.dtype == np.float32
        assert matrix.indices.dtype == np.int32
        same = matrix.copy()
        same.has_canonical_format = False
        same.sum_duplicates()
        assert same.indices.tolist() == matrix.indices.tolist()
        assert np.diff(matrix.indptr).min() >= 1
    assert set(Y.data) == {1.0}
    assert X.data.min() > 0
    np.testing.assert_allclose(np.sqrt(X.multiply(X).sum(axis=1)), 1, rtol=1e-5)
    assert X.nnz / 3000 == pytest.approx(75, rel=0.03)
    assert Y.nnz / 3000 == pytest.approx(5.4, rel=0.03)


def test_synthetic_labels_and_features_are_skewed() -> None:
    X, Y = datasets.synthetic(5000, d=5000, l=2000, nnz=30, labels_per_row=3)
    for matrix in (X, Y):
        counts = np.sort(np.bincount(matrix.indices, minlength=matrix.shape[1]))
        assert counts[-1] > 5 * counts.mean()
        assert (counts > 0).mean() > 0.95
        popular = np.argsort(-np.bincount(matrix.indices, minlength=matrix.shape[1]))[:100]
        assert abs(popular.mean() / matrix.shape[1] - 0.5) < 0.15  # ids tell nothing


def test_synthetic_is_learnable() -> None:
    """Centroids of the training rows find the labels of new rows; the most popular labels do not."""
    X, Y = datasets.synthetic(4000, d=3000, l=400, nnz=30, labels_per_row=2)
    X_test, Y_test = datasets.synthetic(500, d=3000, l=400, nnz=30, labels_per_row=2, split="test")
    popular = np.argmax(np.bincount(Y.indices))
    assert precision_at_k(Y_test, np.full((500, 1), popular), 1) < 0.2
    centroids = (Y.T @ X).toarray()
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True) + 1e-9
    assert precision_at_k(Y_test, np.argmax(X_test @ centroids.T, axis=1)[:, None], 1) > 0.9
    _, other_labels = datasets.synthetic(500, d=3000, l=400, nnz=30, labels_per_row=2, split="test", seed=1)
    assert precision_at_k(other_labels, np.argmax(X_test @ centroids.T, axis=1)[:, None], 1) < 0.2


def test_synthetic_is_reproducible() -> None:
    def drawn(**options: object) -> str:
        arguments = {"n": 50, "d": 300, "l": 80, "nnz": 10, "labels_per_row": 2} | options
        return "".join(map(checksum, datasets.synthetic(**arguments)))

    assert drawn() == drawn()
    assert len({drawn(), drawn(seed=1), drawn(split="test"), drawn(n=51)}) == 4


def test_synthetic_over_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planted, "ROWS_AT_ONCE", 40)
    X, Y = datasets.synthetic(90, d=300, l=80, nnz=10, labels_per_row=2)
    assert X.shape == (90, 300)
    assert Y.shape == (90, 80)
    X.check_format(full_check=True)
    np.testing.assert_allclose(np.sqrt(X.multiply(X).sum(axis=1)), 1, rtol=1e-5)


def test_synthetic_tiny() -> None:
    X, Y = datasets.synthetic(5, d=1, l=1, nnz=1, labels_per_row=1)
    assert X.toarray().tolist() == [[1.0]] * 5
    assert Y.toarray().tolist() == [[1.0]] * 5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n": 0}, "n: found 0, wanted a whole number, 1 to"),
        ({"d": -1}, "d: found -1"),
        ({"l": 2**31}, "l: found 2147483648"),
        ({"n": 1.5}, r"n: found 1\.5"),
        ({"nnz": 301}, "nnz: found 301, wanted 1 to 300"),
        ({"nnz": float("nan")}, "nnz: found nan"),
        ({"labels_per_row": 0.5}, r"labels_per_row: found 0\.5, wanted 1 to 80"),
        ({"split": "valid"}, "split: found 'valid', wanted 'train' or 'test'"),
    ],
)
def test_synthetic_bad_arguments(options: dict[str, object], words: str) -> None:
    arguments = {"n": 50, "d": 300, "l": 80, "nnz": 10, "labels_per_row": 2} | options
    with pytest.raises(ValueError, match=words):
        datasets.synthetic(**arguments)


def test_examples_in_the_documentation() -> None:
    for module in (embedded, planted):
        tried = doctest.testmod(module)
        assert tried.attempted > 0
        assert tried.failed == 0
