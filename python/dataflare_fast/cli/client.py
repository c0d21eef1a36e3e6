"""Talks to a running service; nothing but Python's own modules.

Not here: what is asked (`service.py`).
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from dataflare_fast.errors import CallError, ConflictError, DataflareError, UnavailableError

__all__ = ["Client", "Json", "Service"]

Service = Annotated[
    str, typer.Option("--service", envvar="DATAFLARE_SERVICE_URL", help="Address of the service.")
]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


class Client:
    """The API of one service.

    Args:
        url: such as `http://127.0.0.1:8642`.
    """

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise CallError(f"--service: expected http://HOST:PORT, got {url}")
        self._url = url.rstrip("/")

    def get(self, path: str, **parameters: object) -> Any:
        """What the service says."""
        given = {name: str(value) for name, value in parameters.items() if value is not None}
        return self._ask("GET", f"{path}?{urlencode(given)}" if given else path, None)

    def post(self, path: str, **body: object) -> Any:
        """Asks the service to do something."""
        return self._ask("POST", path, {name: value for name, value in body.items() if value is not None})

    @staticmethod
    def job(name: str) -> str:
        """The path of a job."""
        return f"/jobs/{quote(name, safe='')}"

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - http and https only, see above
            f"{self._url}/api/v1{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise _problem(error) from None
        except OSError as error:
            raise UnavailableError(
                f"no service answers at {self._url}: {error}; start one: dataflare serve"
            ) from None


def _problem(error: urllib.error.HTTPError) -> DataflareError:
    try:
        detail = json.loads(error.read())["detail"]
    except (ValueError, KeyError):
        detail = str(error)
    kind = {409: ConflictError, 503: UnavailableError}.get(error.code, CallError)
    return kind(detail)
