"""`dff.scan_parquet`: Parquet files, or a folder that is followed as files arrive.

The whole scan is one split, files in path order. Not here: the readers (`rust/connect`); `pl.scan_parquet`,
which the planner takes as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

from dataflare_fast.durations import duration_ns
from dataflare_fast.errors import CallError
from dataflare_fast.sources.leaf import Source, SplitPath

__all__ = ["ParquetSource", "scan_parquet"]


class ParquetSource(Source):
    """Parquet files below a path, now or also later."""

    def __init__(self, schema: pl.Schema, path: str, *, follow: bool, poll_ms: int) -> None:
        super().__init__(schema, "parquet", bounded=not follow)
        self._path = path
        self._follow = follow
        self._poll_ms = poll_ms

    @property
    def single_split(self) -> bool:
        return True

    def options(self) -> dict[str, Any]:
        if self._follow:
            return {"path": self._path, "follow": True, "poll_ms": self._poll_ms}
        return {"paths": files_below(self._path), "row_index": None, "path_column": None, "polars": None}

    def split_paths(self) -> Sequence[SplitPath]:
        return [(0,)]

    def read_split(self, split: SplitPath) -> Iterator[pl.DataFrame]:
        self.refuse_if_endless()
        for path in files_below(self._path):
            yield pl.read_parquet(path).select(self.schema.names()).cast(self.schema)


def scan_parquet(
    path: str | Path,
    *,
    schema: Mapping[str, Any] | None = None,
    follow: bool = False,
    poll: str | timedelta = "1s",
) -> pl.LazyFrame:
    """Reads Parquet files in path order, as one split.

    Args:
        path: a file, a folder or a pattern. Names that begin with `.` or `_` do not count.
        schema: the columns; without it, those of the first file.
        follow: also reads files that arrive later: the source is endless.
        poll: how often to look for new files.

    Returns:
        A LazyFrame.

    Raises:
        CallError: no file and no schema.
    """
    text = str(path)
    if schema is None:
        found = files_below(text)
        if not found:
            raise CallError(f"scan_parquet: expected a file at {text} or a schema=, got neither")
        columns = pl.Schema(pl.read_parquet_schema(found[0]))
    else:
        columns = pl.Schema(schema)
    poll_ms = duration_ns(poll, "scan_parquet: poll") // 1_000_000
    return ParquetSource(columns, text, follow=follow, poll_ms=max(poll_ms, 1)).frame()


def files_below(path: str) -> list[str]:
    """The files that count, in path order."""
    if any(character in path for character in "*?["):
        # A pattern may be absolute, which `Path.glob` does not take.
        root = Path(path).anchor
        found = list(Path(root or ".").glob(path.removeprefix(root)))
    elif Path(path).is_dir():
        found = list(Path(path).rglob("*.parquet"))
    else:
        found = [Path(path)] if Path(path).exists() else []
    return sorted(str(one) for one in found if one.is_file() and not one.name.startswith((".", "_")))
