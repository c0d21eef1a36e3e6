"""`.stream.sink_redis`: rows into a stream of Redis (`XADD`), exactly once.

The entries of an epoch wait in a list of their own, `<stream>:dataflare:<token>`. After the checkpoint one
script of the server appends them to the stream, removes the list and leaves a mark. How much a crash of the
server itself can lose is its own setting: `appendonly yes` with `appendfsync always` loses nothing.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import polars as pl

from dataflare_fast.errors import DataError, UnavailableError
from dataflare_fast.sinks.extras import hidden, required

__all__ = ["RedisSink"]

_PUBLISH = """
if redis.call('EXISTS', KEYS[3]) == 1 then return 1 end
if redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
for _, entry in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
  redis.call('XADD', KEYS[1], '*', unpack(cjson.decode(entry)))
end
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[3], '1', 'EX', ARGV[1])
return 1
"""
_KEPT_FOR_S = 30 * 24 * 3600
_ROWS_PER_CALL = 1_000


class RedisSink:
    """Writes to one stream: an entry for each row, a field for each column that is not null.

    Texts are what they are, anything else is JSON.

    Args:
        url: `redis://user:password@host:port/0`.
        stream: its key.

    Raises:
        MissingExtraError: redis is not installed.
    """

    def __init__(self, url: str, stream: str) -> None:
        self._redis = required("redis", "redis", "sink_redis")
        self._server = self._redis.Redis.from_url(url)
        self._stream = stream
        self._token: str | None = None
        self._rows = 0
        # By job, so that what a dead process left is found: the lists of its tokens.
        self._owner = f"none/{uuid.uuid4()}"
        self._cleaned = False

    def open(self, owner: str | None) -> None:
        """Called before all else; `owner` is the same after a restart."""
        if owner is not None:
            self._owner = owner
        with self._errors():
            self._server.ping()

    def write(self, rows: pl.DataFrame) -> None:
        with self._errors():
            self._clean()
            if self._token is None:
                self._token, self._rows = uuid.uuid4().hex, 0
                self._server.sadd(self._tokens(), self._token)
            entries = [_entry(row) for row in rows.iter_rows(named=True)]
            for start in range(0, len(entries), _ROWS_PER_CALL):
                self._server.rpush(self._waiting(self._token), *entries[start : start + _ROWS_PER_CALL])
            self._rows += rows.height

    def prepare(self, epoch: int) -> Any:
        token, self._token = self._token, None
        if token is None:
            return None
        with self._errors():
            found = self._server.llen(self._waiting(token))
        if found != self._rows:
            raise UnavailableError(
                f"{self._place()}: expected {self._rows} waiting rows of epoch {epoch}, got {found}"
            )
        return {"token": token, "rows": self._rows}

    def confirm(self, epoch: int, prepared: Any) -> None:
        if prepared is None:
            return
        token = prepared["token"]
        keys = (self._stream, self._waiting(token), f"{self._waiting(token)}:published")
        with self._errors():
            published = self._server.eval(_PUBLISH, len(keys), *keys, _KEPT_FOR_S)
            if not published:
                raise DataError(
                    f"{self._place()}: expected the rows of epoch {epoch} in the list {keys[1]}, or a mark "
                    f"{keys[2]}; got neither: the server has lost data"
                )
            self._server.srem(self._tokens(), token)

    def close(self) -> None:
        """Gives the connections back."""
        self._server.close()

    def _clean(self) -> None:
        """Removes what dead processes of this job prepared; what the checkpoint names is confirmed by now."""
        if self._cleaned:
            return
        for token in self._server.smembers(self._tokens()):
            self._server.delete(self._waiting(token.decode()))
        self._server.delete(self._tokens())
        self._cleaned = True

    def _tokens(self) -> str:
        return f"{self._stream}:dataflare:tokens:{self._owner}"

    def _waiting(self, token: str) -> str:
        return f"{self._stream}:dataflare:{token}"

    def _place(self) -> str:
        return f"redis stream {self._stream}"

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (self._redis.ConnectionError, self._redis.TimeoutError) as error:
            raise UnavailableError(f"{self._place()}: {hidden(error)}") from None
        except self._redis.RedisError as error:
            raise DataError(f"{self._place()}: {hidden(error)}") from None


def _entry(row: dict[str, Any]) -> str:
    fields: list[str] = []
    for name, value in row.items():
        if value is not None:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            fields += (name, text)
    # An entry needs a field.
    return json.dumps(fields or ["", ""])
