"""Annif's route for suggestions (https://annif.org, its REST API v1), for programs that are written for it.

A score is between 0 and 1, as it is there: a probability where the model is calibrated.
"""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import parse_qs

import numpy as np

from slide.serving.http import Reply
from slide.serving.inputs import check_text, read_k
from slide.serving.models import Slot
from slide.serving.native import found_of, json_numbers
from slide.serving.refusal import Refusal, refuse, shown
from slide.serving.service import Call, Route

DEFAULT_LIMIT = 10
MAX_FIELDS = 100  # of a form: Annif's clients may add fields of their own ("metadata_...")


def project(slot: Slot) -> dict[str, Any]:
    """What Annif says of a project; a label has no language here."""
    return {
        "project_id": slot.name,
        "name": slot.name,
        "language": "und",
        "backend": {"backend_id": "slide"},
        "is_trained": True,
    }


async def list_projects(call: Call) -> Reply:
    """The models that read texts."""
    return Reply.of({"projects": [project(slot) for slot in call.service.slots if slot.hosted.reads_texts]})


async def show_project(call: Call) -> Reply:
    """One of them."""
    return Reply.of(project(_slot(call)))


async def suggest(call: Call) -> Reply:
    """The best labels of a text, those of a score under the threshold left out."""
    body, slot, service = await call.body(), _slot(call), call.service
    form = read_form(body)
    if "text" not in form:
        refuse("text", "nothing", "a text, in a form (application/x-www-form-urlencoded)")
    text = check_text(form["text"], "text", service.limits)
    limit = read_k(_whole(form.get("limit", str(DEFAULT_LIMIT))), service.limits, "limit")
    threshold = _share(form.get("threshold", "0"))
    hosted = slot.hosted
    best = await service.batcher.predict(hosted, [text], limit)
    n = found_of(best.ids[0])
    scores = np.nan_to_num(hosted.likely(best)[0, :n])
    n = int((scores >= threshold).sum())  # which fall
    names, values = hosted.names(best.ids[0, :n]), json_numbers(scores[:n])
    results = [
        {"uri": str(name), "label": str(name), "notation": None, "score": value}
        for name, value in zip(names, values, strict=True)
    ]
    return Reply.of({"results": results})


ROUTES = (
    Route("GET", "/v1/projects", list_projects),
    Route("GET", "/v1/projects/{model}", show_project),
    Route("POST", "/v1/projects/{model}/suggest", suggest, predicts=True),
)


def _slot(call: Call) -> Slot:
    if not call.slot.hosted.reads_texts:
        raise Refusal(404, f"project: found {call.slot.name}, a model of rows, wanted one of texts")
    return call.slot


def read_form(body: bytes) -> dict[str, str]:
    """The fields of a form, the last of each name."""
    try:
        text = body.decode()
        fields = parse_qs(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except UnicodeDecodeError:
        refuse("body", "what is no UTF-8", "a form in UTF-8")
    except ValueError:
        refuse("body", f"more than {MAX_FIELDS} fields", "fewer")
    return {name: values[-1] for name, values in fields.items()}


def _whole(text: str) -> Any:
    """What read_k takes or names."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        refuse("threshold", shown(text), "a number, 0 to 1")
    return value
