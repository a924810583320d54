"""Dense arrays as CSR: the same matrix that SciPy makes of them (slide/csr.py)."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from slide.csr import csr_of_dense


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (1, 1), (7, 3)])
@pytest.mark.parametrize("zeros", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_dense_array_is_the_matrix_that_scipy_makes(shape: tuple[int, int], zeros: float, order: str) -> None:
    rng = np.random.default_rng(0)
    array = np.where(rng.random(shape) < zeros, 0, rng.normal(size=shape)).astype(np.float32, order=order)
    found, wanted = csr_of_dense(array), sp.csr_array(array)
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
        assert getattr(found, name).dtype == getattr(wanted, name).dtype
    assert found.shape == wanted.shape


def test_what_is_no_number_stays() -> None:
    found = csr_of_dense(np.array([[0, np.nan], [np.inf, 0]], np.float32))
    np.testing.assert_array_equal(found.toarray(), [[0, np.nan], [np.inf, 0]])
