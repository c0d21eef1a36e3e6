"""Collects what cannot run, so that the user sees all of it at once.

Not here: what is refused and why; each part of the planner decides that. Used by the whole planner.
"""

from __future__ import annotations

from dataflare_fast.errors import Refusal, UnsupportedQuery

__all__ = ["Refusals"]


class Refusals:
    """The refusals of one job, in the order in which the planner met them."""

    def __init__(self) -> None:
        self._found: list[Refusal] = []

    def add(self, part: str, reason: str, rewrite: str) -> None:
        """Notes one offending part; the same one is noted once."""
        refusal = Refusal(part, reason, rewrite)
        if refusal not in self._found:
            self._found.append(refusal)

    def __len__(self) -> int:
        return len(self._found)

    def raise_if_any(self) -> None:
        """Ends planning.

        Raises:
            UnsupportedQuery: if anything was noted.
        """
        if self._found:
            raise UnsupportedQuery(*self._found)
