"""Problems of the sizes people ask about, made up: rows, features, labels and densities of known data sets.

Synthetic rows say how fast a step is, never how accurate a model is on the real set. The generator is
`slide.datasets.synthetic`; skip-grams come from `text8.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.data import Problem, from_matrices, resolve
from benchmarks.harness.environment import RESULTS

TEST_ROWS = 2000


@dataclass(frozen=True)
class Shape:
    """Features, labels, non-zeros and labels a row, hidden width and batch as usually reported."""

    name: str
    features: int
    labels: int
    nnz: float
    labels_per_row: float
    rows: int
    hidden: int = 128
    batch: int = 128


SHAPES = {
    s.name: s
    for s in (
        Shape("amazon-670k", 135_909, 670_091, 75.7, 5.45, 490_449),
        Shape("delicious-200k", 782_585, 205_443, 302.0, 75.5, 196_606),
        Shape("wikilshtc-325k", 1_617_899, 325_056, 42.1, 3.19, 1_778_351),
        Shape("text8", 253_855, 253_855, 1.0, 4.0, 13_604_165, hidden=200, batch=512),
    )
}


def scaled(shape: Shape, scale: str) -> Shape:
    """`full` keeps features and labels and takes 100,000 rows; `small` is a twentieth, 20,000 rows."""
    if scale == "full":
        return Shape(**{**shape.__dict__, "rows": min(shape.rows, 100_000)})
    if scale != "small":
        raise ValueError(f"scale is {scale!r}, wanted 'small' or 'full'")
    smaller = {"features": shape.features // 20, "labels": shape.labels // 20, "rows": 20_000}
    return Shape(**{**shape.__dict__, **smaller})


def make(shape: Shape, seed: int = 0, cache: Path | None = None) -> Problem:
    """Synthetic rows of that shape, kept under `results/data/` for the next run."""
    name = f"{shape.name}-{shape.rows}x{shape.features}x{shape.labels}-s{seed}"
    target = (cache or RESULTS / "data") / name
    if (target / "shape.json").exists():
        return Problem(name, target)
    n = shape.rows + TEST_ROWS
    if shape.name == "text8":
        from benchmarks.harness.text8 import skip_grams, zipf_words

        X, Y = skip_grams(zipf_words(n, shape.features, seed), shape.features, window=2)
    else:
        from slide.datasets import synthetic

        X, Y = synthetic(
            n,
            shape.features,
            shape.labels,
            nnz=round(shape.nnz),
            labels_per_row=shape.labels_per_row,
            seed=seed,
        )
    cut = shape.rows
    return from_matrices(name, (X[:cut], Y[:cut], X[cut:], Y[cut:]), cache)


def find(data: str) -> Problem:
    """Synthetic rows where `data` names a shape, else what `data.resolve` finds. Raises MissingData."""
    return make(scaled(SHAPES[data], "full")) if data in SHAPES else resolve(data)
