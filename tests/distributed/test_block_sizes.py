"""How many samples a block has."""

from __future__ import annotations

import pytest

from slide.distributed.training.step import block_size


@pytest.mark.parametrize(
    ("n_rows", "rate", "wanted"),
    [
        (100, 1.0, 256),
        (12_000, 1.0, 300),
        (180_000, 1.0, 512),
        (180_000, 0.5, 1024),
        (180_000, 0.7, 731),
        (180_000, 0.0, 1024),
        (12_000, 0.01, 600),
        (2_000, 0.01, 256),
    ],
)
def test_blocks_grow_as_the_rate_falls(n_rows: int, rate: float, wanted: int) -> None:
    assert block_size(n_rows, rate) == wanted
