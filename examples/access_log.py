"""A web server's log: failures a minute by path, the busiest hosts, and the lines that are none.

`dataflare run examples/access_log.py:failures` prints them as minutes close. Lines are in the Common Log
Format; some stand late in the file, one is broken.
"""

from pathlib import Path

import polars as pl

import dataflare_fast as dff  # noqa: F401 - registers `.stream`

LINE = (
    r'^(?<host>\S+) \S+ \S+ \[(?<at>[^\]]+)\] "(?<method>\S+) (?<path>[^ ?"]+)\S* [^"]*" '
    r"(?<status>\d{3}) (?<bytes>\S+)$"
)

lines = pl.scan_ndjson(Path(__file__).parent / "data" / "access_log.ndjson", schema={"line": pl.String})
fields = lines.with_columns(found=pl.col("line").str.extract_groups(LINE))
broken = fields.filter(pl.col("found").struct.field("at").is_null()).select("line")
requests = (
    fields.select(pl.col("found").struct.unnest())
    .filter(pl.col("at").is_not_null())
    .with_columns(
        pl.col("at").str.to_datetime("%d/%b/%Y:%H:%M:%S +0000"),
        pl.col("status").cast(pl.Int16),
        pl.col("bytes").cast(pl.Int64, strict=False),
    )
    .stream.with_watermark("at", delay="10s")
)
late = requests.stream.late()
failures = (
    requests.filter(pl.col("status") >= 500)
    .group_by_dynamic("at", every="1m", group_by="path")
    .agg(pl.len().alias("failures"), pl.col("host").n_unique().alias("hosts"))
)
busiest = (
    requests.group_by_dynamic("at", every="5m", group_by="host")
    .agg(pl.len().alias("requests"), pl.col("bytes").sum())
    .sort("requests", "host", descending=[True, False])
    .group_by("at")
    .head(1)
)
