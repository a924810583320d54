"""A call of a C function by its address, from compiled code: hash families of the user's own.

See slide/engine/hash_callback.py.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


def _call_hash(typing: Any, address: Any, context: Any, x: Any, n: Any, stride: Any, codes: Any) -> Any:
    """slide_custom_hash of csrc/slide.h: every argument as an integer of 64 bits, pointers too."""

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        function = ir.FunctionType(ir.VoidType(), [word] * 5).as_pointer()
        builder.call(builder.inttoptr(arguments[0], function), list(arguments[1:]))
        return target.get_dummy_value()

    return types.void(*[types.int64] * 6), generate


call_hash: Any = intrinsic(_call_hash)
