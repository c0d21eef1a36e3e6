"""The OpenAPI 3.1 document of the API, made of the table of routes.

Not here: the routes (`api.py`).
"""

from __future__ import annotations

import re
from typing import Any

from dataflare_fast import _core
from dataflare_fast.service.api import ROUTES, Route

__all__ = ["openapi_document"]

_TEXTS = {
    400: "A wrong call.",
    404: "No such job.",
    409: "Not in this state.",
    503: "Its process does not answer.",
}


def openapi_document() -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(f"/api/v1{route.path}", {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "DataFlare service",
            "version": _core.__version__,
            "summary": "Jobs of one service: start, watch, stop, restore.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": {"Problem": _PROBLEM}},
    }


_PROBLEM = {
    "type": "object",
    "description": "RFC 9457.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}


def _operation(route: Route) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "array", "items": {}} if route.answer == "array" else {"type": "object"}
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if route.answer == "stream":
        content = {"text/event-stream": {"schema": {"type": "string"}}}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    answers: dict[str, Any] = {str(route.status): {"description": "Done, or on its way.", "content": content}}
    for status in route.problems:
        answers[str(status)] = {"description": _TEXTS[status], "content": problem}
    found: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.text,
        "parameters": [_path(name) for name in re.findall(r"\{(\w+)\}", route.path)]
        + [
            {"name": one.name, "in": "query", "description": one.text, "schema": {"type": one.type}}
            for one in route.parameters
        ],
        "responses": answers,
    }
    if route.body is not None:
        body = {"type": "object", "properties": route.body, "required": list(route.required)}
        found["requestBody"] = {
            "required": bool(route.required),
            "content": {"application/json": {"schema": body}},
        }
    return found


def _path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
