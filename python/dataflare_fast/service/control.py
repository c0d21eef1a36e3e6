"""How the service and the process of a job talk: one JSON line each way over a Unix socket in the job's
folder.

The socket outlives the service, so a service that was started again finds its jobs. Bound and reached through
`/proc/self/fd`, since the path of a socket is at most 107 bytes long. Not here: what is asked.
"""

from __future__ import annotations

import asyncio
import json
import os
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dataflare_fast.errors import CallError, UnavailableError

__all__ = ["ControlServer", "ask"]

_NAME = "control.sock"
# A snapshot of a job with hundreds of operators is a few hundred kilobytes.
_LONGEST_ANSWER = 64 << 20


class ControlServer:
    """Answers in threads until it is closed.

    Args:
        folder: of the job.
        answer: gets the question, gives the answer; a `CallError` becomes one too.
    """

    def __init__(self, folder: Path, answer: Callable[[dict[str, Any]], Any]) -> None:
        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                try:
                    reply = {"answer": answer(json.loads(self.rfile.readline()))}
                except CallError as error:
                    reply = {"error": str(error)}
                # Who asked may be gone.
                with suppress(OSError):
                    self.wfile.write(json.dumps(reply).encode() + b"\n")

        with suppress(FileNotFoundError):
            (folder / _NAME).unlink()
        with _short(folder) as path:
            self._server = _Server(str(path), Handler)
        (folder / _NAME).chmod(0o600)
        threading.Thread(target=self._server.serve_forever, daemon=True, name="control").start()

    def close(self) -> None:
        """Answers no more."""
        self._server.shutdown()
        self._server.server_close()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


async def ask(folder: Path, question: dict[str, Any], *, timeout_s: float = 5.0) -> Any:
    """Asks the process of a job.

    Raises:
        UnavailableError: nobody answers, or not in time.
        CallError: it refuses.
    """
    try:
        async with asyncio.timeout(timeout_s):
            with _short(folder) as path:
                reader, writer = await asyncio.open_unix_connection(path, limit=_LONGEST_ANSWER)
            try:
                writer.write(json.dumps(question).encode() + b"\n")
                line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        raise UnavailableError(f"the process of job '{folder.name}' does not answer: {error!r}") from error
    if not line:
        raise UnavailableError(f"the process of job '{folder.name}' ended while it was asked")
    reply = json.loads(line)
    if "error" in reply:
        raise CallError(reply["error"])
    return reply["answer"]


@contextmanager
def _short(folder: Path) -> Iterator[Path]:
    """A path of a few bytes to the socket in `folder`."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield Path(f"/proc/self/fd/{handle}") / _NAME
    finally:
        os.close(handle)
