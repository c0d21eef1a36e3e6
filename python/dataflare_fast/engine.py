"""`dff.Engine`: runs Polars queries on the engine in Rust, by every way that Polars has to run one.

Describe, check, hand over: the planner makes a plan, `_core` runs it. Not here: the words of a query
(`frame.py`), the job's handle (`job.py`).
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, NoReturn, overload

import polars as pl
from polars.lazyframe.in_process import InProcessQuery
from polars.lazyframe.query_result import SingleNodeQueryResult

from dataflare_fast import _core
from dataflare_fast.checkpoint.folder import jobs_in
from dataflare_fast.checkpoint.settings import Checkpoint
from dataflare_fast.config import (
    parse_bytes,
    parse_count,
    parse_duration_ns,
    parse_job_name,
    parse_word,
)
from dataflare_fast.errors import CallError
from dataflare_fast.job import Job, wait_with_interrupts
from dataflare_fast.notices import tell
from dataflare_fast.planner.plan import Planned, plan
from dataflare_fast.planner.sinks import (
    Output,
    batches_output,
    collect_output,
    folder_named_by_polars,
    is_sink,
    sink_output,
    sink_target,
)
from dataflare_fast.results import BackgroundQuery, Batches, BatchQueue, future_of

__all__ = ["Engine"]

_SINK_SETTINGS = (
    "storage_options",
    "metadata",
    "arrow_schema",
    "encryption",
    "sinked_paths_callback",
)


@dataclass(frozen=True, slots=True)
class _Settings:
    name: str | None
    parallelism: int
    batch_rows: int
    latency_ns: int
    memory_limit: int | None
    on_error: str
    checkpoint: Checkpoint | None

    def to_json(self, name: str, checkpoint: Checkpoint | None) -> str:
        return json.dumps(
            {
                "name": name,
                "parallelism": self.parallelism,
                "batch_rows": self.batch_rows,
                "latency_ns": self.latency_ns,
                "memory_limit": self.memory_limit,
                "on_error": self.on_error,
                "checkpoint": None if checkpoint is None else checkpoint.to_json(),
            }
        )


class Engine(pl.Engine):
    """Runs LazyFrames incrementally, also those that never end.

    Args:
        name: of the job, and of its folder below `checkpoint`. Without one it is the only job in that folder,
            else a new random name, shown at start.
        parallelism: how many worker threads; None: one for each core this process may use.
        batch_rows: at most so many rows in a batch.
        latency: the longest time that a row waits for its batch to fill.
        checkpoint: a folder, or `Checkpoint`; sinks are exactly once with it. None: nothing is kept.
        memory_limit: such as `"2GiB"`: a job that needs more state fails cleanly. None: no limit.
        on_error: what happens to a row that cannot be computed: `"raise"`, `"skip"` or `"dead_letter"`.

    Raises:
        CallError: a value that is out of range.

    Example:
        >>> import polars as pl
        >>> import dataflare_fast as dff
        >>> pl.LazyFrame({"a": [1, 2, 3]}).filter(pl.col("a") > 1).collect(engine=dff.Engine()).height
        2
    """

    _settings: _Settings

    def __init__(
        self,
        *,
        name: str | None = None,
        parallelism: int | None = None,
        batch_rows: int = 65_536,
        latency: str | timedelta = "5ms",
        checkpoint: str | Path | Checkpoint | None = None,
        memory_limit: str | int | None = None,
        on_error: Literal["raise", "skip", "dead_letter"] = "raise",
    ) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        given = cores if parallelism is None else parallelism
        settings = _Settings(
            name=None if name is None else parse_job_name(name),
            parallelism=parse_count(given, "parallelism", least=1, most=1024),
            batch_rows=parse_count(batch_rows, "batch_rows", least=1, most=2**31 - 1),
            latency_ns=parse_duration_ns(latency, "latency"),
            memory_limit=None if memory_limit is None else parse_bytes(memory_limit, "memory_limit", least=1),
            on_error=parse_word(on_error, "on_error", ("raise", "skip", "dead_letter")),
            checkpoint=_checkpoint(checkpoint),
        )
        object.__setattr__(self, "_settings", settings)

    @property
    def name(self) -> str:
        """The engine's name among those of Polars; the job's name is `job_name`."""
        return "dataflare"

    @property
    def job_name(self) -> str | None:
        """The name that jobs get, if one was given."""
        return self._settings.name

    def __setattr__(self, setting: str, _value: object) -> NoReturn:
        raise AttributeError(f"an Engine does not change; make a new one with {setting}=")

    def __repr__(self) -> str:
        one = self._settings
        folder = None if one.checkpoint is None else str(one.checkpoint.path)
        return f"Engine(name={one.name!r}, parallelism={one.parallelism}, checkpoint={folder!r})"

    # Jobs in the background.

    def start(self, *sinks: pl.LazyFrame, name: str | None = None) -> Job:
        """Runs lazy sinks as one job in the background.

        Args:
            sinks: such as `lf.sink_parquet("out/", lazy=True)`, `lf.stream.sink_kafka(...)`.
            name: of the job; None: the engine's.

        Returns:
            The running job. One that had finished in an earlier start is not run again, and says so.

        Raises:
            UnsupportedQuery: what cannot run incrementally, all of it at once.
            CallError: no sink, a frame that is no sink, state of another query.

        Example:
            >>> import polars as pl
            >>> import dataflare_fast as dff
            >>> with dff.Engine().start(pl.LazyFrame({"a": [1]}).sink_csv("/tmp/a/", lazy=True)) as job:
            ...     job.wait()
            True
        """
        planned = plan([sink_output(sink) for sink in sinks], on_error=self._settings.on_error)
        for path in filter(None, map(folder_named_by_polars, sinks)) if self._settings.checkpoint else ():
            tell(
                f"Polars refuses to build the lazy sink to '{path}' again once that folder exists, so the "
                f"next start of this program would fail; write .stream.sink_parquet('{path}', lazy=True)"
            )
        return self._job(planned, name)

    # Polars' own entry points.

    @overload
    def collect(
        self,
        lf: pl.LazyFrame,
        *,
        optimizations: pl.QueryOptFlags,
        background: Literal[False] = ...,
        post_opt_callback: Any | None = ...,
    ) -> pl.DataFrame: ...

    @overload
    def collect(
        self,
        lf: pl.LazyFrame,
        *,
        optimizations: pl.QueryOptFlags,
        background: Literal[True],
        post_opt_callback: Any | None = ...,
    ) -> InProcessQuery: ...

    @overload
    def collect(
        self,
        lf: pl.LazyFrame,
        *,
        optimizations: pl.QueryOptFlags,
        background: bool,
        post_opt_callback: Any | None = ...,
    ) -> pl.DataFrame | InProcessQuery: ...

    def collect(
        self,
        lf: pl.LazyFrame,
        *,
        optimizations: pl.QueryOptFlags,
        background: bool = False,
        post_opt_callback: Any | None = None,
    ) -> pl.DataFrame | InProcessQuery:
        """`lf.collect(engine=...)`: all rows of a query that ends. A lazy sink is run, and gives no rows."""
        if post_opt_callback is not None:
            raise CallError("collect: post_opt_callback belongs to Polars' own engines; expected None")
        run = self._collecting([lf])
        core = run.start()
        if background:
            return BackgroundQuery(core, lambda: run.take()[0])
        run.wait(core)
        return run.take()[0]

    def execute(self, lf: pl.LazyFrame, *, optimizations: pl.QueryOptFlags) -> SingleNodeQueryResult:
        """`lf.execute(engine=...)`: as `collect`; the result's `lazy()` is a frame in memory."""
        return SingleNodeQueryResult(self.collect(lf, optimizations=optimizations))

    def collect_all(
        self, lfs: Iterable[pl.LazyFrame], *, optimizations: pl.QueryOptFlags
    ) -> list[pl.DataFrame]:
        """`pl.collect_all(lfs, engine=...)`: one job, in which a source that is used twice is read once."""
        frames = list(lfs)
        if not frames:
            return []
        run = self._collecting(frames)
        run.wait(run.start())
        return run.take()

    def collect_async(  # type: ignore[override]  # gevent has no future of asyncio
        self, lf: pl.LazyFrame, *, optimizations: pl.QueryOptFlags, gevent: bool = False
    ) -> asyncio.Future[pl.DataFrame]:
        """`await lf.collect_async(engine=...)`; cancelling it cancels the query."""
        _refuse_gevent(gevent)
        run = self._collecting([lf])
        return future_of(run.start(), lambda: run.take()[0])

    def collect_all_async(  # type: ignore[override]  # gevent has no future of asyncio
        self, lfs: Iterable[pl.LazyFrame], *, optimizations: pl.QueryOptFlags, gevent: bool = False
    ) -> asyncio.Future[list[pl.DataFrame]]:
        """`await pl.collect_all_async(lfs, engine=...)`; cancelling it cancels the queries."""
        _refuse_gevent(gevent)
        run = self._collecting(list(lfs))
        return future_of(run.start(), run.take)

    def collect_batches(  # type: ignore[override]  # Polars names a private class
        self,
        lf: pl.LazyFrame,
        *,
        optimizations: pl.QueryOptFlags,
        maintain_order: bool = True,
        chunk_size: int | None = None,
        lazy: bool = False,
    ) -> Batches:
        """`lf.collect_batches(engine=...)`: an iterator of frames; closing or dropping it cancels the job."""
        queue = BatchQueue()
        planned = plan(
            [batches_output(lf, queue.put, chunk_rows=_chunk(chunk_size), maintain_order=maintain_order)],
            on_error=self._settings.on_error,
        )
        batches = Batches(queue, lambda: self._start(planned, None, None), planned.schemas[0])
        return batches if lazy else batches.start()

    def sink_batches(
        self,
        lf: pl.LazyFrame,
        function: Callable[[pl.DataFrame], bool | None],
        *,
        chunk_size: int | None,
        maintain_order: bool,
        optimizations: pl.QueryOptFlags,
    ) -> None:
        """`lf.sink_batches(fn, engine=...)`: at least once with a checkpoint. True from `fn` ends the job."""
        output = batches_output(lf, function, chunk_rows=_chunk(chunk_size), maintain_order=maintain_order)
        self._run([output])

    def sink_parquet(
        self, lf: pl.LazyFrame, path: Any, *, optimizations: pl.QueryOptFlags, **options: Any
    ) -> None:
        """`lf.sink_parquet(path, engine=...)`: a path that ends in `/` is a folder of parts."""
        _refuse_settings("sink_parquet", options)
        self._run([sink_output(lf.sink_parquet(sink_target(path), lazy=True, **options))])

    def sink_ipc(
        self, lf: pl.LazyFrame, path: Any, *, optimizations: pl.QueryOptFlags, **options: Any
    ) -> None:
        """`lf.sink_ipc(path, engine=...)`."""
        _refuse_settings("sink_ipc", options)
        self._run([sink_output(lf.sink_ipc(sink_target(path), lazy=True, **options))])

    def sink_csv(
        self, lf: pl.LazyFrame, path: Any, *, optimizations: pl.QueryOptFlags, **options: Any
    ) -> None:
        """`lf.sink_csv(path, engine=...)`."""
        _refuse_settings("sink_csv", options)
        self._run([sink_output(lf.sink_csv(sink_target(path), lazy=True, **options))])

    def sink_ndjson(
        self, lf: pl.LazyFrame, path: Any, *, optimizations: pl.QueryOptFlags, **options: Any
    ) -> None:
        """`lf.sink_ndjson(path, engine=...)`."""
        _refuse_settings("sink_ndjson", options)
        self._run([sink_output(lf.sink_ndjson(sink_target(path), lazy=True, **options))])

    # How all of them run.

    def _run(self, outputs: Sequence[Output]) -> None:
        self._job(plan(outputs, on_error=self._settings.on_error), None).wait()

    def _job(self, planned: Planned, name: str | None) -> Job:
        checkpoint = self._settings.checkpoint
        wanted = self._settings.name if name is None else parse_job_name(name)
        chosen = _job_name(wanted, checkpoint)
        core = self._start(planned, chosen, checkpoint)
        folder = None if checkpoint is None else checkpoint.folder / chosen
        job = Job(core, chosen, planned.json, folder, self._settings.parallelism)
        if job.was_finished and checkpoint is not None:
            tell(
                f"job '{chosen}' had finished, nothing was run (its state: {checkpoint.folder / chosen}). "
                "To run it again: another name, or Checkpoint(..., restore='ignore-state')"
            )
        return job

    def _start(self, planned: Planned, name: str | None, checkpoint: Checkpoint | None) -> _core.Job:
        chosen = name or self._settings.name or "query"
        return _core.start(planned.json, self._settings.to_json(chosen, checkpoint), planned.objects)

    def _collecting(self, frames: list[pl.LazyFrame]) -> _Collecting:
        return _Collecting(self, frames)


class _Collecting:
    """A job that gives rows back, or runs the lazy sinks among its frames."""

    def __init__(self, engine: Engine, frames: list[pl.LazyFrame]) -> None:
        self._engine = engine
        self._collectors = [None if is_sink(frame) else _core.Collector() for frame in frames]
        outputs = [
            sink_output(frame) if collector is None else collect_output(frame, carried=collector)
            for frame, collector in zip(frames, self._collectors, strict=True)
        ]
        self._planned = plan(outputs, on_error=engine._settings.on_error)
        # Rows that are given back die with the process, so a checkpoint would skip them after a restart.
        self._has_rows = any(collector is not None for collector in self._collectors)

    def start(self) -> _core.Job:
        if self._has_rows:
            return self._engine._start(self._planned, None, None)
        return self._engine._job(self._planned, None)._core

    def wait(self, core: _core.Job) -> None:
        """Ctrl-C cancels where rows are given back: half a result is none. Sinks can stop in good order."""
        stop = None if self._has_rows else (lambda: core.stop(False))
        wait_with_interrupts(core, stop, None)

    def take(self) -> list[pl.DataFrame]:
        pairs = zip(self._collectors, self._planned.schemas, strict=True)
        return [
            pl.DataFrame() if collector is None else _frame(collector, schema) for collector, schema in pairs
        ]


def _frame(collector: _core.Collector, schema: pl.Schema) -> pl.DataFrame:
    batches = [pl.DataFrame(batch) for batch in collector.take()]
    if not batches:
        return pl.DataFrame(schema=schema)
    frame = pl.concat(batches)
    # Besides the planned columns there is `_change` where the query asked for updates.
    return frame.cast({name: dtype for name, dtype in schema.items() if frame.schema[name] != dtype})


def _checkpoint(value: Any) -> Checkpoint | None:
    if value is None or isinstance(value, Checkpoint):
        return value
    if isinstance(value, str | Path):
        return Checkpoint(value)
    raise CallError(f"checkpoint: expected a folder or dff.Checkpoint, got {value!r}")


def _job_name(wanted: str | None, checkpoint: Checkpoint | None) -> str:
    if wanted is not None:
        return wanted
    if checkpoint is None:
        return "job"
    jobs = jobs_in(checkpoint.folder)
    if len(jobs) == 1:
        return jobs[0]
    chosen = f"job-{secrets.token_hex(4)}"
    tell(f"new job '{chosen}' in {checkpoint.folder}; pass name= to choose its name")
    return chosen


def _chunk(rows: int | None) -> int | None:
    return None if rows is None else parse_count(rows, "chunk_size", least=1)


def _refuse_gevent(gevent: bool) -> None:
    if gevent:
        raise CallError("gevent=True: expected asyncio, which is the only event loop this engine serves")


def _refuse_settings(sink: str, options: dict[str, Any]) -> None:
    """A setting without effect is an error."""
    for name in _SINK_SETTINGS:
        if options.get(name) is not None:
            raise CallError(f"{sink}: {name}: expected None, which is all that this engine's writer knows")
