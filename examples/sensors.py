"""Two weather stations: the range of each day, and how far apart they are at the same hour.

`dataflare run examples/sensors.py:days` prints the days as they close. The data are hourly temperatures of
January 2010 (NOAA, public domain, in degrees Fahrenheit), one file a station.
"""

from pathlib import Path

import polars as pl

import dataflare_fast as dff  # noqa: F401 - registers `.stream`

DATA = Path(__file__).parent / "data"


def station(name: str) -> pl.LazyFrame:
    """The readings of one station in degrees Celsius."""
    lines = pl.scan_ndjson(
        DATA / f"temperatures_{name}.ndjson", schema={"city": pl.String, "at": pl.String, "temp": pl.Float64}
    )
    at = pl.col("at").str.to_datetime("%Y-%m-%dT%H:%M:%S")
    readings = lines.select("city", at, celsius=(pl.col("temp") - 32) / 1.8)
    return readings.stream.with_watermark("at", delay="1h")


seattle, francisco = station("seattle"), station("francisco")
days = (
    pl.concat([seattle, francisco])
    .sort("at")
    .group_by_dynamic("at", every="1d", group_by="city")
    .agg(pl.col("celsius").min().alias("coldest"), pl.col("celsius").max().alias("warmest"), pl.len())
)
differences = (
    seattle.join_asof(francisco, on="at", strategy="nearest", tolerance="30m")
    .select("at", warmer=pl.col("celsius_right") - pl.col("celsius"))
    .filter(pl.col("warmer") > 4)
)
