"""Fuzzes the routes that predict: whatever the body, an answer or a refusal in a sentence, and never a 500.

    python tests/fuzz/serving.py SECONDS [SEED]

Bodies are those of tests/support/serving_strategies.py; eight at most come together, and a good request follows.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import hypothesis

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from serving_client import row_model, run, text_model
from serving_strategies import TOGETHER, ask_all

EXAMPLES = 200  # between two looks at the clock


def main() -> int:
    seconds, seed = float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    texts, rows, asked = text_model(), row_model(), 0
    everything = list(hypothesis.HealthCheck)

    @hypothesis.settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=everything)
    @hypothesis.given(together=TOGETHER)
    def fuzz(together: Any) -> None:
        nonlocal asked
        asked += 2 * len(together)
        run(ask_all(texts, rows, together))

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        hypothesis.seed(seed)(fuzz)()
        seed += 1
    print(f"serving: {asked:,} bodies")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
