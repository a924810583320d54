"""Whatever a body holds, it is answered or refused; `make fuzz` tries more of them (tests/fuzz/serving.py)."""

from __future__ import annotations

from typing import Any

import hypothesis
import pytest

pytest.importorskip("prometheus_client", reason="prometheus-client is not installed (the extra serve)")

from serving_client import row_model, run, text_model
from serving_strategies import TOGETHER, ask_all


@pytest.fixture(scope="module")
def models() -> tuple[Any, Any]:
    return text_model(), row_model()


@hypothesis.given(together=TOGETHER)
@hypothesis.settings(max_examples=20, suppress_health_check=list(hypothesis.HealthCheck))
def test_no_body_is_an_error_of_the_server(together: Any, models: Any) -> None:
    run(ask_all(*models, together))
