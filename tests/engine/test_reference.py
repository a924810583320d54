"""What the Numba back end needs beside its arithmetic: machine code that is kept on disk, and never an old one."""

from __future__ import annotations

from typing import Any

import pytest
from numba import int64
from numba.core.registry import cpu_target

from slide.engine.reference import jit, train


def test_a_change_in_any_kernel_makes_loops_compile_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba by itself would go on using a cached loop after a kernel in another file has changed."""
    cache, codegen = train.train_samples._cache, cpu_target.target_context.codegen()
    assert isinstance(cache, jit._Cache)
    before = cache._index_key((int64,), codegen)
    assert cache._index_key((int64,), codegen) == before
    monkeypatch.setattr(jit, "_SOURCES", "other sources")
    assert cache._index_key((int64,), codegen) != before


def test_without_a_writable_folder_loops_compile_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(function: Any) -> None:
        raise RuntimeError("cannot cache function: no locator available for file")

    def plus_one(x: int) -> int:
        return x + 1

    monkeypatch.setattr(jit, "_Cache", refuse)
    assert jit.loop(plus_one)(2) == 3
