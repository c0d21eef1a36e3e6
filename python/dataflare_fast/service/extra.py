"""Whether the extra `[service]` is there: one error that names it, before anything else is tried."""

from __future__ import annotations

from importlib.util import find_spec

from dataflare_fast.errors import MissingExtraError

__all__ = ["need_service"]

_MODULES = ("starlette", "uvicorn", "pydantic_settings", "yaml")


def need_service(need: str) -> None:
    """Looks for the packages of the extra.

    Raises:
        MissingExtraError: one is not installed.
    """
    if any(find_spec(name) is None for name in _MODULES):
        raise MissingExtraError("service", need)
