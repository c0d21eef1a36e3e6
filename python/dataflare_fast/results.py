"""Results of a job that runs while the caller does something else: a background query, a future, batches.

Called by `Engine`. Not here: `Job`, the handle of jobs that write to sinks.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Self, TypeVar

import polars as pl
from polars.lazyframe.in_process import InProcessQuery

from dataflare_fast import _core
from dataflare_fast.errors import ClosedError, DataflareError
from dataflare_fast.job import wait_with_interrupts

__all__ = ["BackgroundQuery", "BatchQueue", "Batches", "future_of"]

_Result = TypeVar("_Result")


class BackgroundQuery(InProcessQuery):
    """What `lf.collect(engine=..., background=True)` gives.

    Args:
        core: the running job.
        take: gives the rows once the job has ended.
    """

    def __init__(self, core: _core.Job, take: Callable[[], pl.DataFrame]) -> None:
        self._core = core
        self._take = take
        self._frame: pl.DataFrame | None = None
        self._cancelled = False

    def cancel(self) -> None:
        """Cancels the query."""
        self._cancelled = True
        self._core.cancel()

    def fetch(self) -> pl.DataFrame | None:
        """The result, or None while the query runs.

        Raises:
            ClosedError: the query was cancelled.
            DataflareError: why it failed.
        """
        return self._result() if self._core.wait(0.0) else None

    def fetch_blocking(self) -> pl.DataFrame:
        """Waits for the result; Ctrl-C cancels the query.

        Raises:
            ClosedError: the query was cancelled.
            DataflareError: why it failed.
        """
        wait_with_interrupts(self._core, None, None)
        return self._result()

    def _result(self) -> pl.DataFrame:
        if self._frame is None:
            if self._cancelled:
                raise ClosedError("the query was cancelled: it has no result")
            self._frame = self._take()
        return self._frame


def future_of(core: _core.Job, take: Callable[[], _Result]) -> asyncio.Future[_Result]:
    """The result of a job as a future of the running event loop; cancelling the future cancels the job."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_Result] = loop.create_future()

    def finish(result: _Result | None, error: Exception | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # no error: there is a result

    def wait() -> None:
        result, error = None, None
        try:
            core.wait(None)
            result = take()
        except Exception as caught:
            error = caught
        if not loop.is_closed():
            loop.call_soon_threadsafe(finish, result, error)

    future.add_done_callback(lambda one: core.cancel() if one.cancelled() else None)
    threading.Thread(target=wait, name="dataflare-future", daemon=True).start()
    return future


class BatchQueue:
    """Batches on their way from the engine's thread to the reader.

    A few at a time: a slow reader holds the job back.
    """

    _ROOM = 4

    def __init__(self) -> None:
        self._batches: deque[pl.DataFrame] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._ended = False

    def put(self, batch: pl.DataFrame) -> bool:
        """Called by the engine; True: no more rows are wanted."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._batches) < self._ROOM)
            if not self._closed:
                self._batches.append(batch)
                self._changed.notify_all()
            return self._closed

    def get(self, timeout_s: float) -> pl.DataFrame | None:
        """The next batch; None: none now, see `ended`."""
        with self._changed:
            self._changed.wait_for(lambda: self._batches or self._ended or self._closed, timeout_s)
            if not self._batches:
                return None
            self._changed.notify_all()
            return self._batches.popleft()

    def end(self) -> None:
        """No further batch is put."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def close(self) -> None:
        """No further batch is taken."""
        with self._changed:
            self._closed = True
            self._batches.clear()
            self._changed.notify_all()


class Batches:
    """What `lf.collect_batches(engine=...)` gives: an iterator of frames, for `for` and `async for`.

    Closing it cancels the job.

    Args:
        queue: where the job puts batches.
        start: starts the job.
        schema: the columns.
    """

    def __init__(self, queue: BatchQueue, start: Callable[[], _core.Job], schema: pl.Schema) -> None:
        self._queue = queue
        self._start = start
        self._schema = schema
        self._core: _core.Job | None = None
        self._closed = False

    def start(self) -> Self:
        """Starts the job, unless it runs already."""
        if self._core is None:
            self._core = self._start()
            threading.Thread(target=self._watch, args=(self._core,), daemon=True).start()
        return self

    def _watch(self, core: _core.Job) -> None:
        # The reader's own wait raises what this one does.
        with contextlib.suppress(DataflareError):
            core.wait(None)
        self._queue.end()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> pl.DataFrame:
        if self._closed:
            raise StopIteration
        core = self.start()._core
        assert core is not None
        while (batch := self._queue.get(0.1)) is None:
            if core.wait(0.0):
                self._closed = True
                raise StopIteration
        return batch.cast(self._schema)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> pl.DataFrame:
        batch = await asyncio.to_thread(next, self, None)
        if batch is None:
            raise StopAsyncIteration
        return batch

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancels the job and drops what it has not given yet."""
        self._closed = True
        self._queue.close()
        if self._core is not None:
            self._core.cancel()

    def __del__(self) -> None:
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        import pyarrow as pa

        schema = pl.DataFrame(schema=self._schema).to_arrow().schema
        batches: Iterator[pa.RecordBatch] = (
            piece for frame in self for piece in frame.to_arrow().cast(schema).to_batches()
        )
        return pa.RecordBatchReader.from_batches(schema, batches).__arrow_c_stream__(requested_schema)
