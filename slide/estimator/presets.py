"""Options of SlideClassifier by what one wants of a fit; what each costs is in docs/tuning.md."""

from __future__ import annotations

from typing import Any

from slide.model.pairs import Wide

PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"epochs": 3, "n_active": 100, "wide": Wide(lr=0.2, row_pairs=10_000)},
    "balanced": {},
    "accurate": {"epochs": 8, "n_active": 1000, "wide": Wide(lr=0.1)},
}
