"""Reads the settings that users give as text or numbers: sizes, counts, durations, names of jobs.

Every bad value is a `CallError` that names the setting. Not here: the settings themselves (`engine.py`,
`checkpoint/settings.py`).
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from dataflare_fast.durations import duration_ns
from dataflare_fast.errors import CallError

__all__ = ["parse_bytes", "parse_count", "parse_duration_ns", "parse_job_name", "parse_word"]

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)")
_UNITS = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
# A job's name is the name of its folder, on every file system and object store.
_JOB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


def parse_count(value: Any, setting: str, *, least: int, most: int | None = None) -> int:
    """A whole number within bounds."""
    wanted = f"at least {least}" if most is None else f"{least} to {most}"
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise CallError(f"{setting}: expected a whole number of {wanted}, got {value!r}")
    if most is not None and value > most:
        raise CallError(f"{setting}: expected a whole number of {wanted}, got {value!r}")
    return value


def parse_bytes(value: Any, setting: str, *, least: int) -> int:
    """A size such as `"64MiB"`, or a number of bytes."""
    if isinstance(value, str):
        found = _SIZE.fullmatch(value.strip())
        if found is None:
            raise CallError(f"{setting}: expected a size such as '64MiB' or '2GB', got {value!r}")
        size = int(float(found[1]) * _UNITS[found[2]])
    elif isinstance(value, int) and not isinstance(value, bool):
        size = value
    else:
        raise CallError(f"{setting}: expected a size such as '64MiB' or a number of bytes, got {value!r}")
    if size < least:
        raise CallError(f"{setting}: expected at least {least} bytes, got {value!r}")
    return size


def parse_duration_ns(value: Any, setting: str, *, least_ns: int = 0) -> int:
    """A physical duration such as `"5ms"`, in nanoseconds."""
    if not isinstance(value, str | timedelta):
        raise CallError(f"{setting}: expected a duration such as '5ms', got {value!r}")
    found = duration_ns(value, setting)
    if found < least_ns:
        raise CallError(f"{setting}: expected more than no time at all, got {value!r}")
    return found


def parse_job_name(value: Any, setting: str = "name") -> str:
    """The name of a job, which is the name of its folder too."""
    if not isinstance(value, str) or _JOB_NAME.fullmatch(value) is None:
        raise CallError(
            f"{setting}: expected letters, digits, '.', '_' and '-', beginning with a letter or digit "
            f"(it names a folder), got {value!r}"
        )
    return value


def parse_word(value: Any, setting: str, words: tuple[str, ...]) -> str:
    """One of a few words."""
    if value not in words:
        raise CallError(f"{setting}: expected one of {', '.join(map(repr, words))}, got {value!r}")
    return str(value)
