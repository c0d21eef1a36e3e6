"""Runs the service until it is told to end. Called by `dataflare serve`.

Not here: what it answers (`app.py`).
"""

from __future__ import annotations

import fcntl
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from dataflare_fast.errors import ConflictError, UnavailableError
from dataflare_fast.notices import tell
from dataflare_fast.service.app import make_app
from dataflare_fast.service.settings import ServiceSettings
from dataflare_fast.service.supervisor import Supervisor
from dataflare_fast.service.worker import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["serve"]


def serve(settings: ServiceSettings) -> None:
    """Serves until SIGINT or SIGTERM; the jobs go on.

    Raises:
        UnavailableError: the port is taken.
        ConflictError: another service has the folder.
    """
    settings.folder.mkdir(parents=True, exist_ok=True)
    with _only_one(settings.folder), _listening(settings) as listener:
        port = listener.getsockname()[1]
        url = f"http://{settings.address}:{port}"
        write_whole(settings.folder / "service.json", {"url": url})
        tell(f"service at {url}   console {url}/console/   metrics {url}/metrics   state {settings.folder}")
        server = uvicorn.Server(
            uvicorn.Config(
                make_app(Supervisor(settings)),
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=1,  # pages hold their stream of events open for ever
                server_header=False,
            )
        )
        server.run(sockets=[listener])
    tell("service ended; its jobs go on, and the next service on this folder finds them")


@contextmanager
def _listening(settings: ServiceSettings) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in settings.address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.address, settings.port))
    except OSError as error:
        listener.close()
        raise UnavailableError(f"serve: {settings.address}:{settings.port}: {error.strerror}") from error
    with listener:
        yield listener


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Two services on one folder would start each job twice."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConflictError(
                f"serve: {folder} belongs to a service that runs: {error.strerror}"
            ) from error
        yield
