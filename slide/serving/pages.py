"""What a person or a monitor looks at: the page to try models, /docs, /openapi.json and /metrics.

The pages load nothing: style and script are in them, and their policy forbids the browser anything else.
"""

from __future__ import annotations

import html
import json
import time
from importlib.resources import files
from typing import Any

from slide.serving.http import Headers, Reply
from slide.serving.openapi import description
from slide.serving.service import Call, Route

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
POLICY += "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
HTML: Headers = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
)


async def try_page(call: Call) -> Reply:
    """A page to type a text and see labels, scores and why."""
    return Reply(_page("index.html").encode(), headers=HTML)


async def docs(call: Call) -> Reply:
    """The description of the routes, for people."""
    return Reply(_page("docs.html").replace("<!-- operations -->", operations(_described(call))).encode(), headers=HTML)


async def openapi(call: Call) -> Reply:
    """The description of the routes, for programs."""
    return Reply.of(_described(call))


async def metrics(call: Call) -> Reply:
    """Counters, for Prometheus."""
    text, media_type = call.service.metrics.page(call.service.slots, time.time())
    return Reply(text, headers=((b"content-type", media_type.encode()),))


ROUTES = (
    Route("GET", "/", try_page, is_open=True),
    Route("GET", "/docs", docs, is_open=True),
    Route("GET", "/openapi.json", openapi, is_open=True),
    Route("GET", "/metrics", metrics),
)


def _page(name: str) -> str:
    return files("slide.serving").joinpath(name).read_text("utf-8")


def _described(call: Call) -> dict[str, Any]:
    return description([slot.name for slot in call.service.slots], call.service.limits)


def operations(told: dict[str, Any]) -> str:
    """A section of HTML for each operation: what it takes, an example, and what it answers."""
    return "".join(_section(method, path, one) for path, at in told["paths"].items() for method, one in at.items())


def _section(method: str, path: str, one: dict[str, Any]) -> str:
    parts = [f"<h2><b>{method.upper()}</b> <code>{html.escape(path)}</code></h2><p>{html.escape(one['summary'])}</p>"]
    for kind, content in one.get("requestBody", {}).get("content", {}).items():
        example = html.escape(json.dumps(content.get("example"), indent=1))
        parts.append(f"<p>takes <code>{html.escape(kind)}</code>, for example</p><pre>{example}</pre>")
    rows = (f"<tr><td>{s}<td>{html.escape(r['description'])}" for s, r in sorted(one["responses"].items()))
    parts.append(f"<table>{''.join(rows)}</table>")
    return f"<section>{''.join(parts)}</section>"
