"""The files for Prometheus and Grafana that the wheel brings: recording rules, a dashboard.

Not here: what they ask for (`families.py`).
"""

from __future__ import annotations

from importlib.resources import files

from dataflare_fast.errors import CallError

__all__ = ["ASSETS", "asset"]

ASSETS = {"recording": "recording.yml", "grafana": "grafana.json"}
"""By the word of `dataflare monitoring`."""


def asset(word: str) -> str:
    """The text of a file.

    Raises:
        CallError: no such file.

    Example:
        >>> from dataflare_fast.monitoring import asset
        >>> asset("recording").startswith("# Recording rules")
        True
    """
    if word not in ASSETS:
        raise CallError(f"monitoring: expected one of {', '.join(ASSETS)}, got {word!r}")
    return (files("dataflare_fast.monitoring") / "files" / ASSETS[word]).read_text()
