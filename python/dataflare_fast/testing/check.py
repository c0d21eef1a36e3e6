"""`dff.testing.check`: the law, run on a user's own query.

Draws batch cuts, parallelism, interleavings, kills, abandoned checkpoints, failed writes and rescales from
seeds, runs each in the simulated driver into a transactional sink in memory, and compares with Polars. Not
here: the driver (`rust/engine/src/runtime/simulated.rs`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from dataflare_fast import _core
from dataflare_fast.errors import CallError
from dataflare_fast.planner.plan import plan
from dataflare_fast.planner.sinks import Output
from dataflare_fast.testing.comparison import assert_same_rows, has_open_lists

__all__ = ["Attempt", "check", "simulate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One start of a job in a run that is written out.

    Args:
        workers: its parallelism.
        commits: it dies right after so many commits; None: it runs to the end.
        abandoned: so many checkpoints are abandoned before that.
    """

    workers: int
    commits: int | None = None
    abandoned: int = 0


def check(
    lf: pl.LazyFrame,
    *,
    seeds: int | range = 200,
    parallelism: int = 4,
    on_error: str = "raise",
    relative_tolerance: float = 1e-9,
) -> None:
    """Asserts that the engine's answer is Polars' answer, however it is run.

    Args:
        lf: a query over bounded sources; frames in memory (`dff.from_batches`) are cut at random places.
        seeds: how many schedules to draw, or which.
        parallelism: each attempt runs on 1 to so many workers.
        on_error: as for `Engine`.
        relative_tolerance: for float columns, whose last bits follow the order of additions. Lists of
            distinct values and modes, whose order is open in Polars, are compared as multisets.

    Raises:
        AssertionError: a schedule with another answer; names its seed, which alone repeats it, and shows the
            difference.
        UnsupportedQuery: the query cannot run incrementally.

    Example:
        >>> import polars as pl
        >>> import dataflare_fast as dff
        >>> bids = pl.DataFrame({"auction": [1, 2, 1], "price": [5, 7, 9]})
        >>> query = dff.from_batches(bids[:2], bids[2:]).group_by("auction").agg(pl.col("price").max())
        >>> dff.testing.check(query, seeds=20)
    """
    expected = lf.collect(engine="in-memory")
    output = Output(frame=lf, connector="collect", carried=_core.Collector())
    open_lists = has_open_lists(plan([output], on_error=on_error).json)
    for seed in range(seeds) if isinstance(seeds, int) else seeds:
        try:
            found = simulate(lf, seed=seed, parallelism=parallelism, on_error=on_error)
            assert_same_rows(found, expected, relative_tolerance, open_lists=open_lists)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from None
        except Exception as error:
            error.add_note(f"under seed {seed} of dff.testing.check")
            raise


def simulate(
    lf: pl.LazyFrame,
    *,
    seed: int,
    parallelism: int = 4,
    on_error: str = "raise",
    attempts: Sequence[Attempt] = (),
) -> pl.DataFrame:
    """Runs a bounded query under one seed's schedule and gives what the sink has published.

    Args:
        lf: as for `check`.
        seed: decides everything.
        parallelism: each attempt runs on 1 to so many workers.
        on_error: as for `Engine`.
        attempts: how often the job starts, on how many workers, and when it dies; without them the seed
            decides that too, and lets writes fail.

    Returns:
        All rows, in the order of publication.

    Raises:
        CallError: an endless query.
        InternalError: a schedule in which nothing can move any more; too few rows for `attempts`.
    """
    output = Output(frame=lf, connector="collect", carried=_core.Collector())
    planned = plan([output], on_error=on_error)
    if planned.endless:
        raise CallError("testing: expected bounded sources, got an endless query; give events= or end=")
    settings: Mapping[str, Any] = {
        "name": "simulation",
        "parallelism": parallelism,
        "on_error": on_error,
        "checkpoint": None,
        "attempts": [asdict(attempt) for attempt in attempts],
    }
    published = _core.simulate(planned.json, json.dumps(settings), planned.objects, seed)
    empty = pl.DataFrame(schema=planned.schemas[0])
    frames = [pl.DataFrame(batch).cast(planned.schemas[0]) for batch in published[0]]
    return pl.concat([empty, *frames])
