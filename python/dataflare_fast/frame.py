"""The words that streams need and Polars lacks: the namespace `.stream` of every `pl.LazyFrame`.

Each is written in `words/` with its meaning in plain Polars. Registered when `dataflare_fast` is imported.
Not here: the plan, sinks to files (those are Polars' own methods).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import polars as pl

from dataflare_fast.config import parse_bytes, parse_duration_ns
from dataflare_fast.errors import CallError
from dataflare_fast.words.apply import Apply
from dataflare_fast.words.hopping import hopping_offset
from dataflare_fast.words.letters import letter_columns
from dataflare_fast.words.map_batches import MapBatches
from dataflare_fast.words.marks import Emit, Errors, Name
from dataflare_fast.words.metric import DEFAULT_BUCKETS, Metric, MetricKind, histogram, metric_kind
from dataflare_fast.words.native import Native
from dataflare_fast.words.servers import ServerSinks
from dataflare_fast.words.session import SessionGroupBy
from dataflare_fast.words.sink import SinkWord, WritableSink, run_unless_lazy
from dataflare_fast.words.watermark import Late, Watermark
from dataflare_fast.words.word import top_leaf

if TYPE_CHECKING:
    from polars.lazyframe.group_by import LazyGroupBy

__all__ = ["AvroCompression", "StreamWords"]

AvroCompression: TypeAlias = Literal["uncompressed", "deflate", "snappy", "zstd"]


@pl.api.register_lazyframe_namespace("stream")
class StreamWords(ServerSinks):
    """`lf.stream`: what a stream needs beyond Polars.

    Example:
        >>> import polars as pl
        >>> import dataflare_fast as dff
        >>> bids = pl.LazyFrame({"ts": [1, 30, 2], "price": [5, 7, 9]})
        >>> bids.stream.with_watermark("ts", delay="1i").collect()["price"].to_list()
        [5, 7]
    """

    def __init__(self, lf: pl.LazyFrame) -> None:
        self._lf = lf

    def with_watermark(
        self,
        column: str,
        *,
        delay: str | timedelta,
        idle: str | timedelta | None = None,
        ahead: str | timedelta | None = None,
    ) -> pl.LazyFrame:
        """Says which column is the event time and how late a row may be; drops the rows that are later.

        Within a split, W is the largest event time so far minus `delay`; a row is late iff its time < W
        before it, or null. In plain Polars the rows that are left stand in event-time order.

        Args:
            column: of Datetime, Date or integers.
            delay: how far a row may be behind, such as `"4s"`; `"10i"` on integers.
            idle: a split that is silent so long no longer holds the others up.
            ahead: a row further beyond the largest time so far is an error of that row and does not move W.

        Returns:
            The rows on time.

        Raises:
            CallError: no such column, or a duration that does not fit it.
        """
        return Watermark(self._lf, column, delay=delay, idle=idle, ahead=ahead).frame()

    def late(self) -> pl.LazyFrame:
        """The rows that the `with_watermark` right here dropped, split by split.

        Raises:
            CallError: the top of this frame is no `with_watermark`.
        """
        leaf = top_leaf(self._lf)
        if not isinstance(leaf, Watermark):
            raise CallError(
                "late: expected a frame whose last step is .stream.with_watermark(...); "
                "keep that frame in a variable and call .stream.late() on it"
            )
        return Late(leaf).frame()

    def errors(self) -> pl.LazyFrame:
        """The rows that `on_error="dead_letter"` removed in any step of this frame, as that step read them.

        Returns:
            The columns of the sources and those that steps on the way have read (null where a row did not get
            so far, a common type where a column changes its own), and `_error_operator`, `_error_code`,
            `_error_message`, `_error_split`, `_error_offset`. No rows in plain Polars, which fails instead.

        Raises:
            CallError: a column has types in two steps that have nothing in common.
        """
        return Errors(self._lf, letter_columns(self._lf)).frame()

    def emit(self, mode: Literal["close", "update"], every: str | timedelta | None = None) -> pl.LazyFrame:
        """Says when results of the nearest stateful operator below leave. Changes no row in plain Polars.

        Args:
            mode: `"close"`: each result once, when it is final. `"update"`: the new row of each changed key.
            every: with `"update"`: at most so often.
        """
        return Emit(self._lf, mode, every).frame()

    def name(self, text: str) -> pl.LazyFrame:
        """Names the stateful operator below in checkpoints, metrics and messages. Changes no row.

        Args:
            text: unique within a job.
        """
        return Name(self._lf, text).frame()

    def metric(
        self,
        name: str,
        expr: pl.Expr,
        by: str | Sequence[str] | None = None,
        *,
        kind: MetricKind | None = None,
        buckets: Sequence[float] = DEFAULT_BUCKETS,
    ) -> pl.LazyFrame:
        """Keeps a number of the rows that go by, which `job.metrics(name)` and `/metrics` show. Changes no
        row.

        Args:
            name: unique within a job; letters, digits and `_`.
            expr: one aggregate, such as `pl.len()` or `pl.col("price").sum()`; counted since this start. Of a
                histogram: the number of each row.
            by: columns whose values have a number each; `/metrics` shows up to 1000 of them.
            kind: `"counter"` (the name ends in `_total`), `"gauge"` or `"histogram"`; None: as the name ends.
            buckets: of a histogram: upper bounds that rise.

        Raises:
            CallError: no number, no such column, or a name of another kind.

        Example:
            >>> import polars as pl
            >>> import dataflare_fast as dff
            >>> counted = pl.LazyFrame({"a": [1, 2]}).stream.metric("rows", pl.len())
            >>> job = dff.Engine().start(counted.sink_parquet("/tmp/dff-metric/", lazy=True))
            >>> job.wait(), job.metrics("rows")["value"].to_list()
            (True, [2])
        """
        columns = [] if by is None else [by] if isinstance(by, str) else list(by)
        found = metric_kind(name, kind)
        if found == "histogram":
            return histogram(self._lf, name, expr, columns, buckets)
        if buckets is not DEFAULT_BUCKETS:
            raise CallError(f"metric '{name}': buckets: a {found} has none; write kind='histogram'")
        return Metric(self._lf, name, expr, columns, found).frame()

    def group_by_hopping(
        self,
        column: str,
        *,
        every: str | timedelta,
        period: str | timedelta,
        group_by: str | pl.Expr | Iterable[str | pl.Expr] | None = None,
    ) -> LazyGroupBy:
        """`group_by_dynamic` with the offset that makes the standard grid: all windows that hold a row.

        Args:
            column: the event time.
            every: from the start of one window to the start of the next.
            period: how long a window is.
            group_by: more keys.

        Raises:
            CallError: durations that have no common grid.
        """
        offset = hopping_offset(every, period)
        return self._lf.group_by_dynamic(column, every=every, period=period, offset=offset, group_by=group_by)

    def group_by_session(
        self,
        column: str,
        gap: str | timedelta,
        *,
        group_by: str | pl.Expr | Iterable[str | pl.Expr] | None = None,
    ) -> SessionGroupBy:
        """Groups the rows of each key that lie no further apart in time than `gap`.

        A row opens a new group iff its time > the last one's + gap. On a stream a session is final, and
        leaves, when the watermark is above its last time + gap.

        Args:
            column: the event time; Datetime, Date or integers.
            gap: such as `"10s"`; `"10i"` on integers.
            group_by: the keys; without any, all rows make one chain of sessions.

        Returns:
            What takes `.agg(...)`: keys, `window_start`, `window_end` (last time + gap), aggregates.

        Raises:
            CallError: no such column, or a gap that does not fit it.

        Example:
            >>> import polars as pl
            >>> import dataflare_fast as dff
            >>> clicks = pl.LazyFrame({"ts": [1, 5, 40], "user": ["a", "a", "a"]})
            >>> sessions = clicks.stream.group_by_session("ts", "10i", group_by="user").agg(pl.len())
            >>> sessions.collect(engine=dff.Engine()).sort("window_start").rows()
            [('a', 1, 15, 2), ('a', 40, 50, 1)]
        """
        return SessionGroupBy(self._lf, column, gap, group_by)

    def apply(self, function: Callable[[pl.LazyFrame], pl.LazyFrame]) -> pl.LazyFrame:
        """A part of the query that Polars itself runs, batch by batch: what the engine cannot see into.

        Functions of Python (`map_elements`, `map_batches`) belong here, and what Polars' plan does not show
        to engines. They must go row by row; what is known not to is refused.

        Args:
            function: gets a frame with the columns of this one, gives what becomes of it: filters, columns,
                explode, unnest. Called once, when the query is written.

        Returns:
            What `function` makes of the rows. The event time goes on if its column is kept as it is.

        Raises:
            CallError: `function` gives no LazyFrame.

        Example:
            >>> import polars as pl
            >>> import dataflare_fast as dff
            >>> def with_hex(lf: pl.LazyFrame) -> pl.LazyFrame:
            ...     return lf.with_columns(h=pl.col("a").map_elements(hex, return_dtype=pl.String))
            >>> pl.LazyFrame({"a": [1, 20]}).stream.apply(with_hex).collect(engine=dff.Engine()).rows()
            [(1, '0x1'), (20, '0x14')]
        """
        return Apply(self._lf, function).frame()

    def map_batches(
        self,
        function: Callable[[pl.DataFrame], pl.DataFrame],
        schema: Mapping[str, Any],
        *,
        workers: int = 0,
    ) -> pl.LazyFrame:
        """Calls a function of Python with the rows of each batch.

        Where batches are cut is open, so the rows that come of a row must depend on that row only. Event time
        ends here; `with_watermark` above may start it again.

        Args:
            function: gets a `pl.DataFrame` that is not empty, gives one with the columns of `schema` and any
                number of rows.
            schema: the columns that come out.
            workers: 0: in this process, one batch at a time. Else so many other processes, of which the
                engine keeps as many busy as it has workers; the function must be at the top of a module.

        Raises:
            CallError: no function, or one that cannot be sent to another process.

        Example:
            >>> import polars as pl
            >>> import dataflare_fast as dff
            >>> frame = pl.LazyFrame({"a": [1, 2]})
            >>> twice = frame.stream.map_batches(lambda rows: rows.select(pl.col("a") * 2), {"a": pl.Int64})
            >>> twice.collect(engine=dff.Engine())["a"].to_list()
            [2, 4]
        """
        return MapBatches(self._lf, function, pl.Schema(schema), workers).frame()

    def map_native(
        self,
        function: Callable[[pl.DataFrame], pl.DataFrame],
        schema: Mapping[str, Any],
    ) -> pl.LazyFrame:
        """Calls a compiled function once per batch, without the GIL.

        Args:
            function: of `dataflare_fast.udf`.
            schema: the columns that come out.

        Raises:
            CallError: it is no native function.
        """
        return Native(self._lf, function, pl.Schema(schema)).frame()

    @overload
    def sink_kafka(
        self,
        topic: str,
        *,
        bootstrap_servers: str,
        key: str | Sequence[str] | None = None,
        value: Literal["json", "bytes", "string"] = "json",
        headers: str | None = None,
        timestamp: str | None = None,
        compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "none",
        delivery: Literal["exactly_once", "at_least_once"] | None = None,
        outage_limit: str | timedelta = "10m",
        transaction_timeout: str | timedelta = "15m",
        config: Mapping[str, str] | None = None,
        lazy: Literal[False] = False,
        engine: pl.Engine | None = None,
    ) -> None: ...

    @overload
    def sink_kafka(
        self,
        topic: str,
        *,
        bootstrap_servers: str,
        key: str | Sequence[str] | None = None,
        value: Literal["json", "bytes", "string"] = "json",
        headers: str | None = None,
        timestamp: str | None = None,
        compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "none",
        delivery: Literal["exactly_once", "at_least_once"] | None = None,
        outage_limit: str | timedelta = "10m",
        transaction_timeout: str | timedelta = "15m",
        config: Mapping[str, str] | None = None,
        lazy: Literal[True],
        engine: None = None,
    ) -> pl.LazyFrame: ...

    def sink_kafka(
        self,
        topic: str,
        *,
        bootstrap_servers: str,
        key: str | Sequence[str] | None = None,
        value: Literal["json", "bytes", "string"] = "json",
        headers: str | None = None,
        timestamp: str | None = None,
        compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "none",
        delivery: Literal["exactly_once", "at_least_once"] | None = None,
        outage_limit: str | timedelta = "10m",
        transaction_timeout: str | timedelta = "15m",
        config: Mapping[str, str] | None = None,
        lazy: bool = False,
        engine: pl.Engine | None = None,
    ) -> pl.LazyFrame | None:
        """Writes to a topic of Apache Kafka; exactly once with a checkpoint.

        Readers of committed messages see the rows of an epoch with its checkpoint.

        Args:
            topic: its name.
            bootstrap_servers: `"host:port,host:port"`.
            key: the columns of the message key; a changing frame needs those that tell its rows apart.
            value: how a row is written: one JSON object, or the one String or Binary column that is neither
                key, headers nor timestamp.
            headers: a column of `List(Struct(key, value))` that becomes the headers instead of a field.
            timestamp: a Datetime column that becomes the time of the message too.
            compression: of the batches that are sent.
            delivery: `"exactly_once"`: in transactions; needs a checkpoint. `"at_least_once"`: seen at once,
                and twice after a crash. None: exactly once if the engine has a checkpoint.
            outage_limit: how long a message may wait for a broker that takes it before the job fails.
            transaction_timeout: how long brokers keep a transaction open; longer than a checkpoint's interval
                and a restart, up to their `transaction.max.timeout.ms`.
            config: more settings, under librdkafka's names.
            lazy: True: gives a lazy sink for `Engine.start`, and writes nothing yet.
            engine: runs it now; needed unless lazy.

        Raises:
            CallError: a bad argument.
        """
        if value not in ("json", "bytes", "string"):
            raise CallError(f"sink_kafka: value: expected 'json', 'bytes' or 'string', got {value!r}")
        if compression not in ("none", "gzip", "snappy", "lz4", "zstd"):
            expected = "'none', 'gzip', 'snappy', 'lz4' or 'zstd'"
            raise CallError(f"sink_kafka: compression: expected {expected}, got {compression!r}")
        if delivery not in (None, "exactly_once", "at_least_once"):
            expected = "'exactly_once', 'at_least_once' or None"
            raise CallError(f"sink_kafka: delivery: expected {expected}, got {delivery!r}")
        timeout_ms = parse_duration_ns(transaction_timeout, "sink_kafka: transaction_timeout") // 1_000_000
        columns = None if key is None else (key,) if isinstance(key, str) else tuple(key)
        options = {
            "topic": topic,
            "bootstrap_servers": bootstrap_servers,
            "key": None if columns is None else list(columns),
            "value": "json" if value == "json" else "raw",
            "headers": headers,
            "timestamp": timestamp,
            "compression": compression,
            "delivery": delivery,
            "outage_limit_ms": parse_duration_ns(outage_limit, "sink_kafka: outage_limit") // 1_000_000,
            "transaction_timeout_ms": timeout_ms,
            "config": dict(config or {}),
        }
        return run_unless_lazy(SinkWord(self._lf, "kafka", options, key=columns), lazy, engine)

    @overload
    def sink_parquet(
        self,
        path: str,
        *,
        roll_rows: int | None = None,
        roll_bytes: str | int = "128MiB",
        roll_after: str | timedelta = "60s",
        lazy: Literal[False] = False,
        engine: pl.Engine | None = None,
    ) -> None: ...

    @overload
    def sink_parquet(
        self,
        path: str,
        *,
        roll_rows: int | None = None,
        roll_bytes: str | int = "128MiB",
        roll_after: str | timedelta = "60s",
        lazy: Literal[True],
        engine: None = None,
    ) -> pl.LazyFrame: ...

    def sink_parquet(
        self,
        path: str,
        *,
        roll_rows: int | None = None,
        roll_bytes: str | int = "128MiB",
        roll_after: str | timedelta = "60s",
        lazy: bool = False,
        engine: pl.Engine | None = None,
    ) -> pl.LazyFrame | None:
        """Writes a folder of Parquet parts; exactly once with a checkpoint.

        A part becomes visible, whole, with the checkpoint that holds its rows, when one of the bounds is
        reached. `lf.sink_parquet("out/", engine=...)` is the same with the default bounds.

        Args:
            path: the folder; made if missing.
            roll_rows: publish a part when it has so many rows; None: no such bound.
            roll_bytes: or so many bytes, before compression.
            roll_after: or when its first row is so old; `"0s"`: with each checkpoint.
            lazy: gives a lazy sink for `Engine.start` instead of running it.
            engine: runs it now; needed unless lazy.

        Raises:
            CallError: a bad argument.
        """
        options: dict[str, Any] = {
            "path": path.rstrip("/") + "/",
            "layout": "folder",
            "mkdir": True,
            "roll_rows": roll_rows,
            "roll_bytes": parse_bytes(roll_bytes, "sink_parquet: roll_bytes", least=1),
            "roll_after_ns": parse_duration_ns(roll_after, "sink_parquet: roll_after"),
        }
        return run_unless_lazy(SinkWord(self._lf, "parquet", options), lazy, engine)

    @overload
    def sink_avro(
        self,
        path: str,
        *,
        compression: AvroCompression = "uncompressed",
        roll_rows: int | None = None,
        roll_bytes: str | int = "128MiB",
        roll_after: str | timedelta = "60s",
        lazy: Literal[False] = False,
        engine: pl.Engine | None = None,
    ) -> None: ...

    @overload
    def sink_avro(
        self,
        path: str,
        *,
        compression: AvroCompression = "uncompressed",
        roll_rows: int | None = None,
        roll_bytes: str | int = "128MiB",
        roll_after: str | timedelta = "60s",
        lazy: Literal[True],
        engine: None = None,
    ) -> pl.LazyFrame: ...

    def sink_avro(
        self,
        path: str,
        *,
        compression: AvroCompression = "uncompressed",
        roll_rows: int | None = None,
        roll_bytes: str | int = "128MiB",
        roll_after: str | timedelta = "60s",
        lazy: bool = False,
        engine: pl.Engine | None = None,
    ) -> pl.LazyFrame | None:
        """Writes Avro files; exactly once with a checkpoint.

        Args:
            path: a folder of parts if it ends in `/`, made if missing; else a file, which appears at the end.
            compression: of the blocks: `"uncompressed"`, `"deflate"`, `"snappy"` or `"zstd"`.
            roll_rows: as for `sink_parquet`.
            roll_bytes: as for `sink_parquet`.
            roll_after: as for `sink_parquet`.
            lazy: gives a lazy sink for `Engine.start` instead of running it.
            engine: runs it now; needed unless lazy.

        Raises:
            CallError: a bad argument.
        """
        is_folder = path.endswith("/")
        options: dict[str, Any] = {
            "path": path,
            "layout": "folder" if is_folder else "file",
            "mkdir": is_folder,
            "format": {"compression": compression},
            "roll_rows": roll_rows,
            "roll_bytes": parse_bytes(roll_bytes, "sink_avro: roll_bytes", least=1),
            "roll_after_ns": parse_duration_ns(roll_after, "sink_avro: roll_after"),
        }
        return run_unless_lazy(SinkWord(self._lf, "avro", options), lazy, engine)

    @overload
    def sink_console(
        self, *, rows: int = 10, lazy: Literal[False] = False, engine: pl.Engine | None = None
    ) -> None: ...

    @overload
    def sink_console(self, *, rows: int = 10, lazy: Literal[True], engine: None = None) -> pl.LazyFrame: ...

    def sink_console(
        self, *, rows: int = 10, lazy: bool = False, engine: pl.Engine | None = None
    ) -> pl.LazyFrame | None:
        """Prints results as they come.

        Args:
            rows: at most so many of a batch.
            lazy: True: gives a lazy sink for `Engine.start`, and prints nothing yet.
            engine: runs it now; needed unless lazy.

        Raises:
            CallError: a bad argument.
        """
        if rows < 1:
            raise CallError(f"sink_console: rows: expected at least 1, got {rows}")
        return run_unless_lazy(SinkWord(self._lf, "console", {"rows": rows}), lazy, engine)

    @overload
    def sink_to(
        self, sink: WritableSink, *, lazy: Literal[False] = False, engine: pl.Engine | None = None
    ) -> None: ...

    @overload
    def sink_to(self, sink: WritableSink, *, lazy: Literal[True], engine: None = None) -> pl.LazyFrame: ...

    def sink_to(
        self, sink: WritableSink, *, lazy: bool = False, engine: pl.Engine | None = None
    ) -> pl.LazyFrame | None:
        """Writes to a sink that is written in Python.

        Args:
            sink: see `WritableSink`.
            lazy: True: gives a lazy sink for `Engine.start`, and writes nothing yet.
            engine: runs it now; needed unless lazy.

        Raises:
            CallError: it lacks something.
        """
        missing = [name for name in ("write", "prepare", "confirm") if not hasattr(sink, name)]
        if missing:
            raise CallError(f"sink_to: {type(sink).__name__} lacks {', '.join(missing)}")
        return run_unless_lazy(SinkWord(self._lf, "python", {}, carried=sink), lazy, engine)
