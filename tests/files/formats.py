"""One table of the file formats, for the tests of this folder: how Polars writes, how the engine reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

import dataflare_fast as dff

SCHEMA = pl.Schema({"n": pl.Int64(), "word": pl.String(), "half": pl.Float64(), "day": pl.Date()})


@dataclass(frozen=True)
class Format:
    """A format.

    Args:
        name: as in `scan_<name>`.
        suffix: of file names.
        write: one file, by Polars.
        scan: `dff.scan_*` of a path, with the schema if it needs one.
        sink: a lazy sink into a path.
    """

    name: str
    suffix: str
    write: Callable[[pl.DataFrame, Path], Any]
    scan: Callable[..., pl.LazyFrame]
    sink: Callable[[pl.LazyFrame, str], pl.LazyFrame]

    def read(self, path: Path | str) -> pl.DataFrame:
        """All rows below a path, by Polars."""
        files = (
            sorted(one for one in Path(path).rglob("*") if one.is_file()) if Path(path).is_dir() else [path]
        )
        readers: dict[str, Callable[[Any], pl.DataFrame]] = {
            "avro": pl.read_avro,
            "csv": lambda one: pl.read_csv(one, schema=SCHEMA),
            "ipc": lambda one: pl.read_ipc(one),
            "ndjson": lambda one: pl.read_ndjson(one, schema=SCHEMA),
            "parquet": lambda one: pl.read_parquet(one, hive_partitioning=False),
        }
        return pl.concat([pl.DataFrame(schema=SCHEMA), *(readers[self.name](one) for one in files)])


def with_schema(scan: Callable[..., pl.LazyFrame]) -> Callable[..., pl.LazyFrame]:
    return lambda path, **options: scan(path, schema=SCHEMA, **options)


def folder(path: str) -> str:
    """What to give Polars for a folder of parts."""
    from dataflare_fast.planner.sinks import sink_target

    target: str = sink_target(path)
    return target


FORMATS = [
    Format(
        "parquet",
        "parquet",
        lambda rows, path: rows.write_parquet(path, row_group_size=1000),
        dff.scan_parquet,
        lambda lf, path: lf.sink_parquet(folder(path), lazy=True),
    ),
    Format(
        "ipc",
        "arrow",
        lambda rows, path: rows.write_ipc(path, compression="zstd", record_batch_size=1000),
        dff.scan_ipc,
        lambda lf, path: lf.sink_ipc(folder(path), lazy=True, compression="lz4"),
    ),
    Format(
        "csv",
        "csv",
        lambda rows, path: rows.write_csv(path),
        with_schema(dff.scan_csv),
        lambda lf, path: lf.sink_csv(folder(path), lazy=True),
    ),
    Format(
        "ndjson",
        "ndjson",
        lambda rows, path: rows.write_ndjson(path),
        with_schema(dff.scan_ndjson),
        lambda lf, path: lf.sink_ndjson(folder(path), lazy=True),
    ),
    Format(
        "avro",
        "avro",
        lambda rows, path: rows.write_avro(path, compression="deflate"),
        dff.scan_avro,
        lambda lf, path: lf.stream.sink_avro(path, lazy=True),
    ),
]
BY_NAME = {one.name: one for one in FORMATS}


def frame(start: int, rows: int) -> pl.DataFrame:
    """Rows that no format changes; words hold quotes, separators and line breaks."""
    numbers = pl.int_range(start, start + rows, eager=True)
    words = pl.Series(["plain", 'a "quote"', "a,b", "two\nlines", "ü€", None])
    return pl.DataFrame(
        {
            "n": numbers,
            "word": words.gather(numbers % 6),
            "half": pl.select(pl.when(numbers % 7 > 0).then(numbers / 2)).to_series(),
            "day": pl.select(pl.date(2024, 1, 1) + pl.duration(days=pl.lit(numbers % 90))).to_series(),
        },
        schema=SCHEMA,
    )


def write_files(one: Format, path: Path, files: int, rows: int) -> pl.DataFrame:
    """`files` files of `rows` rows each; all of them as one frame."""
    path.mkdir(exist_ok=True)
    frames = [frame(file * rows, rows) for file in range(files)]
    for number, rows_of_file in enumerate(frames):
        one.write(rows_of_file, path / f"{number:03}.{one.suffix}")
    return pl.concat(frames)
