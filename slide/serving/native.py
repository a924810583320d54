"""The routes /v1/models: predictions, what is served, and reloads."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from slide.engine.layout import FloatArray, IntArray
from slide.serving.hosted import Best, Hosted, Why
from slide.serving.http import Reply
from slide.serving.inputs import Question, read_question
from slide.serving.models import LOADING, Slot, facts
from slide.serving.refusal import Refusal
from slide.serving.service import Call, Route


async def list_models(call: Call) -> Reply:
    """All that are served."""
    now = time.time()
    return Reply.of({"models": [facts(slot, now) for slot in call.service.slots]})


async def show_model(call: Call) -> Reply:
    """One of them."""
    return Reply.of(facts(call.slot, time.time()))


async def predict(call: Call) -> Reply:
    """The best labels of each text or row."""
    body, slot, service = await call.body(), call.slot, call.service
    hosted = slot.hosted
    question = read_question(body, hosted, service.limits)
    best = await service.batcher.predict(hosted, question.rows, question.k)
    if not question.explain:
        return answer(slot, hosted, question, best)
    best = _marked(hosted, question, best)
    whys = await service.aside(lambda: explained(hosted, question, best))
    return _reply(slot, hosted, predictions(hosted, question, best, whys))


def answer(slot: Slot, hosted: Hosted, question: Question, best: Best) -> Reply:
    """What a question without `explain` is told, of the best labels of its rows."""
    return _reply(slot, hosted, predictions(hosted, question, _marked(hosted, question, best), None))


def _marked(hosted: Hosted, question: Question, best: Best) -> Best:
    return best.marked(hosted.predicted(best)) if question.decide or question.mark else best


def _reply(slot: Slot, hosted: Hosted, told: list[dict[str, Any]]) -> Reply:
    return Reply.of({"model": slot.name, "version": str(hosted.version), "predictions": told})


async def reload(call: Call) -> Reply:
    """Loads the model's file anew, here and in the processes beside."""
    try:
        await call.slot.reload()
    except LOADING as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise Refusal(409, f"model: {text}; the one before goes on") from error
    call.service.on_reload_all()
    return Reply.of(facts(call.slot, time.time()))


PREDICT = Route("POST", "/v1/models/{model}/predict", predict, predicts=True)
ROUTES = (
    Route("GET", "/v1/models", list_models),
    Route("GET", "/v1/models/{model}", show_model),
    PREDICT,
    Route("POST", "/v1/models/{model}/reload", reload),
)


# -- answers as JSON ---------------------------------------------------------------------------------------------------


def explained(hosted: Hosted, question: Question, best: Best) -> list[list[Why]]:
    """Why each label of each row that is given scored as it did; Refusal of a model whose weights are elsewhere."""
    places = [given(question, best, i) for i in range(len(best.ids))]
    try:
        return [hosted.explain(row, best.ids[i, places[i]]) for i, row in enumerate(question.rows)]
    except ValueError as error:
        raise Refusal(422, f"explain: {error}") from error


def predictions(hosted: Hosted, question: Question, best: Best, whys: list[list[Why]] | None) -> list[dict[str, Any]]:
    """An object for each row; where fewer than k labels were found, it names fewer."""
    return [_prediction(hosted, question, best, i, None if whys is None else whys[i]) for i in range(len(best.ids))]


def given(question: Question, best: Best, i: int) -> Any:
    """What picks the labels of a row that are given: all that were found, or those that the model predicts."""
    if question.decide:
        assert best.predicted is not None
        return best.predicted[i]
    return slice(0, found_of(best.ids[i]))


def _prediction(hosted: Hosted, question: Question, best: Best, i: int, whys: list[Why] | None) -> dict[str, Any]:
    places = given(question, best, i)
    ids = best.ids[i, places]
    told: dict[str, Any] = {"labels": hosted.names(ids) if question.names else ids.tolist()}
    if question.scores:
        told["scores"] = json_numbers(best.scores[i, places])
        if best.probabilities is not None:
            told["probabilities"] = json_numbers(best.probabilities[i, places].astype(np.float32))
    if question.mark and best.predicted is not None:
        told["predicted"] = best.predicted[i, places].tolist()
    if whys is not None:
        told["explanations"] = [_why(hosted, why) for why in whys]
    return told


def found_of(ids: IntArray) -> int:
    """How many labels a row was given: -1 stands behind them."""
    return len(ids) if ids[-1] >= 0 else int(np.argmax(ids < 0))


def json_numbers(values: FloatArray) -> list[float | None]:
    """float32 as numbers; null for NaN and infinity, which JSON does not have."""
    numbers: list[float] = values.tolist()
    if math.isfinite(sum(numbers)):  # of float32 in float64: it overflows for nothing that is finite
        return list(numbers)
    return [number if math.isfinite(number) else None for number in numbers]


def _why(hosted: Hosted, why: Why) -> dict[str, Any]:
    label = hosted.names(np.array([why.label], np.int32))[0]
    score, rest = json_numbers(np.array([why.score, why.rest], np.float32))
    return {
        "label": label,
        "score": score,
        "features": [[name, value] for name, value in why.features],
        "rest": rest,
    }
