"""`serve_metrics`: a page for Prometheus in a program that runs jobs itself. The service has its own.

Answers on the loopback interface alone: whoever may read it learns names of jobs and columns. Not here: what
is on the page (`collector.py`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from dataflare_fast.config import parse_count
from dataflare_fast.errors import CallError, UnavailableError

if TYPE_CHECKING:
    from dataflare_fast.job import Job

__all__ = ["MetricsServer", "is_loopback", "serve_metrics"]


class MetricsServer:
    """A running page; a context manager that closes it.

    Args:
        server: of prometheus-client.
        url: of the page.
    """

    def __init__(self, server: Any, url: str) -> None:
        self._server = server
        self.url = url

    def close(self) -> None:
        """Ends it. The jobs go on."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def serve_metrics(job: Job | Sequence[Job], port: int = 0, *, address: str = "127.0.0.1") -> MetricsServer:
    """Serves the metrics of jobs for Prometheus at `http://<address>:<port>/metrics`.

    Each scrape reads the counters of that moment, as OpenMetrics or text.

    Args:
        job: one, or several of different names.
        port: 0: a free one; `url` says which.
        address: of the loopback interface.

    Returns:
        The page, until it is closed.

    Raises:
        CallError: an address that others can reach, or two jobs of one name.
        UnavailableError: the port is taken.

    Example:
        >>> import polars as pl
        >>> import dataflare_fast as dff
        >>> job = dff.Engine().start(pl.LazyFrame({"a": [1]}).sink_csv("/tmp/dff-metrics/", lazy=True))
        >>> with dff.monitoring.serve_metrics(job) as page:
        ...     page.url.startswith("http://127.0.0.1:")
        True
    """
    parse_count(port, "serve_metrics: port", least=0, most=65_535)
    if not is_loopback(address):
        raise CallError(
            f"serve_metrics: address: expected one of the loopback interface, got {address!r}: there is no "
            "authentication yet; let a proxy or an agent on this machine pass the page on"
        )
    jobs = [job] if not isinstance(job, Sequence) else list(job)
    names = [one.name for one in jobs]
    if len(set(names)) < len(names):
        raise CallError(f"serve_metrics: expected jobs of different names, got {names}")

    from prometheus_client import start_http_server

    from dataflare_fast.monitoring.collector import registry_of
    from dataflare_fast.monitoring.snapshot import take_snapshot

    registry = registry_of(lambda: map(take_snapshot, jobs))
    try:
        server, _ = start_http_server(port, addr=address, registry=registry)
    except OSError as error:
        raise UnavailableError(f"serve_metrics: {address}:{port}: {error.strerror}") from error
    return MetricsServer(server, f"http://{address}:{server.server_port}/metrics")


def is_loopback(address: str) -> bool:
    """True for names and numbers of the loopback interface."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
