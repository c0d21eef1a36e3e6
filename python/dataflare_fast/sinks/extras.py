"""What optional sinks share: the one error of a missing extra, and texts without credentials."""

from __future__ import annotations

import importlib
import re
from types import ModuleType

from dataflare_fast.errors import MissingExtraError

__all__ = ["hidden", "required"]

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*@")
_PASSWORD = re.compile(r"(?i)(password|passwd|secret|token)=\S+")


def required(module: str, extra: str, need: str) -> ModuleType:
    """Imports a module of an extra.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(extra, need) from error


def hidden(text: object) -> str:
    """A text in which URLs have no user and password, and settings no secret values."""
    return _PASSWORD.sub(r"\1=***", _CREDENTIALS.sub("***@", str(text)))
