"""A folder of compressed CSV becomes Parquet by day and place: `python examples/csv_folder.py`.

Rows that cannot be read are skipped; a checkpoint makes the output exactly once, also when the job is killed
and started again.
"""

from __future__ import annotations

import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

import dataflare_fast as dff

SCHEMA = {"ts": pl.Datetime("us"), "place": pl.String, "degrees": pl.Float64}


def write_sensor_files(folder: Path) -> None:
    """Three days of two sensors, one file a day; one line of them is broken."""
    folder.mkdir()
    for day in range(3):
        times = [datetime(2024, 5, 1 + day) + timedelta(minutes=10 * step) for step in range(144)]
        rows = pl.DataFrame(
            {
                "ts": times * 2,
                "place": ["roof"] * 144 + ["cellar"] * 144,
                "degrees": [20.0 + step % 7 for step in range(144)] + [12.5] * 144,
            },
            schema=SCHEMA,
        ).sort("ts")
        rows.write_csv(folder / f"{day}.csv.gz", compression="gzip")
    (folder / "3.csv").write_text("ts,place,degrees\n2024-05-04T00:00:00,roof,warm\n")


def main(folder: Path) -> pl.DataFrame:
    """Runs the job and reads what it wrote."""
    write_sensor_files(folder / "in")
    rows = dff.scan_csv(folder / "in", schema=SCHEMA)
    hours = (
        rows.stream.with_watermark("ts", delay="1h")
        .group_by_dynamic("ts", every="1h", group_by="place")
        .agg(pl.col("degrees").mean())
        .with_columns(day=pl.col("ts").dt.date())
    )
    engine = dff.Engine(name="sensors", on_error="skip", checkpoint=dff.Checkpoint(str(folder / "state")))
    hours.sink_parquet(pl.PartitionBy(folder / "out", key=["day", "place"]), engine=engine)
    return pl.scan_parquet(f"{folder}/out/").sort("ts", "place").collect()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(main(Path(folder)))
