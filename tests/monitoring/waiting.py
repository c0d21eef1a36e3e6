"""Waits for other processes: looks until it is so, or fails at a deadline."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["get", "get_json", "until"]

Found = TypeVar("Found")


def until(look: Callable[[], Found | None], what: str, *, within_s: float = 30.0) -> Found:
    """The first thing that `look` gives which is true."""
    end_s = time.monotonic() + within_s
    pause = 0.01
    while time.monotonic() < end_s:
        found = look()
        if found:
            return found
        time.sleep(pause)
        pause = min(0.2, pause * 1.5)
    raise AssertionError(f"not within {within_s} s: {what}; last: {look()!r}")


def get(url: str, **headers: str) -> tuple[str, str]:
    """The text at a URL of this machine, and its content type."""
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode(), answer.headers["Content-Type"]


def get_json(url: str) -> Any:
    return json.loads(get(url)[0])
