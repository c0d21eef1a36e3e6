"""Python functions from frames to frames, as the engine calls them: in this process, or in a pool of others.

A worker of the engine asks for a *session* and calls it once per batch. Not here: the words that users write
(`words/map_batches.py`, `words/apply.py`).
"""

from __future__ import annotations

import io
import multiprocessing
import pickle
import queue
import signal
import threading
import traceback
import weakref
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, Final, TypeAlias

import polars as pl

from dataflare_fast.errors import CallError, DataError, UnavailableError

__all__ = ["FrameCall", "FrameFunction"]

FrameFunction: TypeAlias = Callable[[pl.DataFrame], pl.DataFrame]

_MADE: Final = b"+"
_FAILED: Final = b"-"


class FrameCall:
    """A function with what is known of it.

    Args:
        function: from the rows of a batch to other rows.
        schema: the columns that it gives.
        text: how messages call it.
        rows: the columns that it takes; Arrow does not tell an Enum from a Categorical.
        workers: how many processes run it; 0: this one.

    Raises:
        CallError: `workers` with a function that cannot be sent to another process.
    """

    def __init__(
        self, function: FrameFunction, schema: pl.Schema, text: str, *, rows: pl.Schema, workers: int = 0
    ) -> None:
        self.function = function
        self.schema = schema
        self._rows = rows
        self.text = text
        self._workers = workers
        self._pickled = b""
        # Held by the sessions: when the last worker of a job is gone, so are the processes.
        self._pool: weakref.ref[_Pool] | None = None
        self._lock = threading.Lock()
        if workers:
            try:
                self._pickled = pickle.dumps(function)
            except Exception as error:
                raise CallError(
                    f"{text}: workers={workers} needs a function that other processes can import: "
                    f"one at the top of a module, no lambda or inner function ({error})"
                ) from error

    def __call__(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The function in this process, its result checked."""
        return _checked(self.function(rows), self.schema, self.text)

    def session(self) -> Callable[[Any], pl.DataFrame]:
        """What one worker of the engine calls with its batches."""
        if not self._workers:
            return lambda batch: self(self._frame(batch))
        with self._lock:
            pool = None if self._pool is None else self._pool()
            if pool is None:
                pool = _Pool(self._pickled, self._workers, self.text)
                self._pool = weakref.ref(pool)
        return lambda batch: _checked(pool.run(self._frame(batch)), self.schema, self.text)

    def _frame(self, batch: Any) -> pl.DataFrame:
        rows = pl.DataFrame(batch)
        wanted = {name: self._rows[name] for name in rows.columns}
        return rows if rows.schema == wanted else rows.cast(pl.Schema(wanted))


def _checked(made: Any, schema: pl.Schema, text: str) -> pl.DataFrame:
    if not isinstance(made, pl.DataFrame):
        raise CallError(f"{text}: expected a pl.DataFrame from the function, got {type(made).__name__}")
    if made.schema != schema:
        raise CallError(f"{text}: expected the columns {dict(schema)}, got {dict(made.schema)}")
    return made


class _Pool:
    """Processes that run one function; a batch goes to one that has nothing to do."""

    def __init__(self, pickled: bytes, workers: int, text: str) -> None:
        self._text = text
        self._idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        processes = [_Process(pickled) for _ in range(workers)]
        weakref.finalize(self, _end_all, processes)
        for one in processes:
            self._idle.put(one)

    def run(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Runs the function on a batch. Waits without the GIL."""
        process = self._idle.get()
        try:
            return process.run(rows, self._text)
        finally:
            self._idle.put(process)


class _Process:
    """One process and the pipe to it. Frames travel as Arrow IPC."""

    def __init__(self, pickled: bytes) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process: SpawnProcess = context.Process(
            target=_serve, args=(other, pickled), name="dataflare-map_batches", daemon=True
        )
        self._process.start()
        # The other end must be open in the child only, else its death is not seen.
        other.close()

    def run(self, rows: pl.DataFrame, text: str) -> pl.DataFrame:
        try:
            self._pipe.send_bytes(_written(rows))
            answer = self._pipe.recv_bytes()
        except (EOFError, OSError) as error:
            self._process.join(1.0)
            raise UnavailableError(
                f"{text}: the process {self._process.pid} that ran it died (exit code "
                f"{self._process.exitcode}) at a batch of {rows.height} rows; the last checkpoint holds what "
                "came before"
            ) from error
        if answer[:1] == _MADE:
            return pl.read_ipc_stream(io.BytesIO(answer[1:]))
        raise _failure(answer[1:], text)

    def end(self) -> None:
        """Closing the pipe ends the process; one that hangs in the function is killed."""
        self._pipe.close()
        self._process.join(0.5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _end_all(processes: list[_Process]) -> None:
    for one in processes:
        one.end()


def _written(rows: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    rows.write_ipc_stream(buffer)
    return buffer.getvalue()


def _failure(answer: bytes, text: str) -> Exception:
    """The exception of the other process, with its traceback as the cause."""
    shown, pickled = pickle.loads(answer)  # noqa: S301 - our own process wrote it
    try:
        error = pickle.loads(pickled)  # noqa: S301 - as above
    except Exception:
        error = DataError(f"{text}: {shown.splitlines()[-1]}")
    error.__cause__ = _RemoteError(shown)
    return error if isinstance(error, Exception) else DataError(f"{text}: {shown.splitlines()[-1]}")


class _RemoteError(Exception):
    """Shows where in the other process it went wrong."""

    def __init__(self, shown: str) -> None:
        super().__init__(shown)
        self._shown = shown

    def __str__(self) -> str:
        return f"\n{self._shown}"


def _serve(pipe: Connection, pickled: bytes) -> None:
    """What a process does until its pipe is closed."""
    # Ctrl-C is the parent's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    function: FrameFunction | None = None
    while True:
        try:
            rows = pipe.recv_bytes()
        except EOFError:
            return
        try:
            if function is None:
                function = pickle.loads(pickled)  # noqa: S301 - our own process wrote it
            made = function(pl.read_ipc_stream(io.BytesIO(rows)))
            if not isinstance(made, pl.DataFrame):
                raise TypeError(f"expected a pl.DataFrame from the function, got {type(made).__name__}")
            pipe.send_bytes(_MADE + _written(made))
        except Exception as error:
            shown = traceback.format_exc()
            try:
                pickled_error = pickle.dumps(error)
            except Exception:
                pickled_error = b""
            pipe.send_bytes(_FAILED + pickle.dumps((shown, pickled_error)))
