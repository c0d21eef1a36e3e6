"""The errors of dataflare_fast: six kinds, chosen by what the caller does next.

    DataflareError
    ├── CallError(ValueError)              fix the query, a setting or a plugin
    │   ├── UnsupportedQuery               the query cannot run incrementally; lists every offending part
    │   └── MissingExtraError              install an optional part
    ├── DataError(ValueError)              fix the data
    ├── UnavailableError(ConnectionError)  try again later; the engine has already retried
    ├── ClosedError(RuntimeError)          the job or reader was closed
    ├── ConflictError(RuntimeError)        someone else owns this now
    └── InternalError(RuntimeError)        a bug in the engine

Rust raises the same classes. Imports nothing of ours; everything may import it.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "CallError",
    "ClosedError",
    "ConflictError",
    "DataError",
    "DataflareError",
    "InternalError",
    "MissingExtraError",
    "Refusal",
    "UnavailableError",
    "UnsupportedQuery",
]


class DataflareError(Exception):
    """Everything that this package raises on purpose."""


class CallError(DataflareError, ValueError):
    """The query, a setting or a plugin is wrong: fix the call."""


class DataError(DataflareError, ValueError):
    """A row or file breaks a rule: fix the data, or let `on_error` remove it."""


class UnavailableError(DataflareError, ConnectionError):
    """A server or store did not answer, also after retries: try again later."""


class ClosedError(DataflareError, RuntimeError):
    """The job or reader was closed."""


class ConflictError(DataflareError, RuntimeError):
    """Someone else owns this now: reload, then decide."""


class InternalError(DataflareError, RuntimeError):
    """A rule inside the engine is broken: report it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One part of a query that cannot run incrementally.

    Args:
        part: the part in the user's own words and column names.
        reason: why it cannot run.
        rewrite: what to write instead.
    """

    part: str
    reason: str
    rewrite: str

    def __str__(self) -> str:
        return f"{self.part}: {self.reason}. Instead: {self.rewrite}"


class UnsupportedQuery(CallError):  # noqa: N818 - the name is the fact
    """The query cannot run incrementally.

    Args:
        refusals: every offending part, each with the rewrite that works.
    """

    def __init__(self, *refusals: Refusal | str) -> None:
        super().__init__(*refusals)
        self.refusals = refusals

    def __str__(self) -> str:
        lines = "".join(f"\n  - {refusal}" for refusal in self.refusals)
        return f"this query cannot run incrementally:{lines}"


class MissingExtraError(CallError):
    """An optional part is not installed.

    Args:
        extra: the name of the extra.
        need: what needs it.
    """

    def __init__(self, extra: str, need: str) -> None:
        super().__init__(extra, need)
        self.extra = extra
        self.need = need

    def __str__(self) -> str:
        return f"{self.need} needs the extra '{self.extra}': pip install 'dataflare-fast[{self.extra}]'"
