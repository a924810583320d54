"""What a client is told when it gets no answer: a status and a sentence: field, value found, value wanted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NoReturn

SHOWN = 60  # characters of a value that a sentence repeats


class Refusal(Exception):
    """A request that is not answered. status: of HTTP; headers: more of them."""

    def __init__(self, status: int, sentence: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, tuple(headers)


def refuse(field: str, found: object, wanted: str, status: int = 400) -> NoReturn:
    """Raises the Refusal that names the field of a request, what it holds and what it should hold."""
    raise Refusal(status, f"{field}: found {found}, wanted {wanted}")


def shown(value: Any) -> str:
    """A JSON value as a sentence repeats it: in one line of ASCII, and cut short."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value):,}"
    if isinstance(value, str) and len(value) > SHOWN:
        value = value[:SHOWN] + "..."
    if isinstance(value, int) and value.bit_length() > 8 * SHOWN:
        return "a very large number"
    return json.dumps(value)
