"""The compiled module, if there is one. Alone imports it, and says which instruction set is forced."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from slide.checks import require

if TYPE_CHECKING:
    from types import ModuleType


def c_core() -> ModuleType | None:
    """The compiled module, None where it was not built."""
    try:
        from slide.engine import _c
    except ImportError:
        return None
    return _c


def forced_isa() -> str | None:
    """SLIDE_ISA, if set to an instruction set that is usable here."""
    isa, core = os.environ.get("SLIDE_ISA") or None, c_core()
    usable = core.isa_available() if core else []
    require(isa is None or isa in usable, "SLIDE_ISA", isa, f"one usable here: {', '.join(usable)}")
    return isa
