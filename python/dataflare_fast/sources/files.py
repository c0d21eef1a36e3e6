"""Files below a path as a source: one reader for all formats, followed or not.

Not here: the functions that users call (`scans.py`), the readers (`rust/connect`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import unquote, urlsplit

import polars as pl

from dataflare_fast.durations import duration_ns
from dataflare_fast.errors import CallError
from dataflare_fast.sources.leaf import Source, SplitPath
from dataflare_fast.sources.reading import native_splits, read_native

__all__ = ["EXTENSIONS", "FileSource", "Splits", "file_source", "files_below", "local_path"]

Splits: TypeAlias = Literal["scan", "file", "hive"]
"""What is one split: the whole scan, each file, or the files of each folder."""

EXTENSIONS: Final = {
    "avro": ("avro",),
    "csv": ("csv", "tsv", "txt"),
    "ipc": ("arrow", "ipc", "feather"),
    "ndjson": ("ndjson", "jsonl", "json"),
    "parquet": ("parquet",),
}
"""How names of the files of a folder end; those of text may have `.gz`, `.zst` or `.zz` behind it."""
_COMPRESSED: Final = (".gz", ".zst", ".zz")


class FileSource(Source):
    """Files of one format below a path, now or also later."""

    def __init__(
        self,
        schema: pl.Schema,
        connector: str,
        path: str,
        *,
        follow: bool,
        poll_ms: int,
        splits: Splits,
        hive: Sequence[str],
        settings: Mapping[str, Any],
    ) -> None:
        super().__init__(schema, connector, bounded=not follow)
        self._path = path
        self._follow = follow
        self._poll_ms = poll_ms
        self._splits = splits
        self._hive = list(hive)
        self._settings = dict(settings)

    @property
    def single_split(self) -> bool:
        return self._splits == "scan"

    def options(self) -> dict[str, Any]:
        options: dict[str, Any] = dict(self._settings)
        if self._hive:
            options["hive"] = self._hive
        if self._follow:
            return options | {"path": self._path, "follow": True, "poll_ms": self._poll_ms}
        if self._splits != "scan":
            options["splits"] = self._splits
        paths = files_below(self._path, self.connector)
        return options | {"paths": paths, "row_index": None, "path_column": None, "polars": None}

    def split_paths(self) -> Sequence[SplitPath]:
        if self.single_split:
            return [(0,)]
        return [(number,) for number, _ in enumerate(native_splits(self))]

    def read_split(self, split: SplitPath) -> Iterator[pl.DataFrame]:
        self.refuse_if_endless()
        yield from read_native(self, native_splits(self)[split[0]])


def file_source(
    format_name: str,
    path: str | Path,
    schema: pl.Schema,
    *,
    follow: bool,
    poll: str | timedelta,
    splits: Splits,
    hive: Mapping[str, Any] | None,
    settings: Mapping[str, Any] | None = None,
) -> pl.LazyFrame:
    """Checks what all formats share.

    Raises:
        CallError: a bad argument.
    """
    word = f"scan_{format_name}"
    if splits not in ("scan", "file", "hive"):
        raise CallError(f"{word}: splits: expected 'scan', 'file' or 'hive', got {splits!r}")
    if follow and splits != "scan":
        raise CallError(
            f"{word}: splits: expected 'scan' with follow=True, because a followed folder is one split that "
            f"goes on, got {splits!r}"
        )
    keys = dict(hive or {})
    columns = pl.Schema({name: dtype for name, dtype in schema.items() if name not in keys} | keys)
    poll_ms = duration_ns(poll, f"{word}: poll") // 1_000_000
    return FileSource(
        columns,
        format_name,
        local_path(path, word),
        follow=follow,
        poll_ms=max(poll_ms, 1),
        splits=splits,
        hive=list(keys),
        settings=settings or {},
    ).frame()


def local_path(path: str | Path, word: str) -> str:
    """A path of this machine; `file://` names one too.

    Raises:
        CallError: another scheme, or another machine.
    """
    text = str(path)
    if "://" not in text:
        return text
    parts = urlsplit(text)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        raise CallError(
            f"{word}: expected a path of this machine, such as 'in/' or 'file:///data/in/', got {text!r}"
        )
    return unquote(parts.path)


def files_below(path: str, format_name: str) -> list[str]:
    """The files that count, in path order."""
    if any(character in path for character in "*?["):
        # A pattern may be absolute, which `Path.glob` does not take.
        root = Path(path).anchor
        found = list(Path(root or ".").glob(path.removeprefix(root)))
    elif Path(path).is_dir():
        kinds = EXTENSIONS[format_name]
        found = [one for one in Path(path).rglob("*") if _extension(one, format_name) in kinds]
    else:
        found = [Path(path)] if Path(path).exists() else []
    base = Path(path)
    return sorted(str(one) for one in found if one.is_file() and not _is_hidden(one, base))


def _extension(path: Path, format_name: str) -> str:
    name = path.name
    if format_name in ("csv", "ndjson"):
        for compressed in _COMPRESSED:
            name = name.removesuffix(compressed)
    return name.rpartition(".")[2]


def _is_hidden(path: Path, base: Path) -> bool:
    """A name, or a folder on the way from the path that was given, begins with `.` or `_`."""
    parts = path.relative_to(base).parts if path.is_relative_to(base) and path != base else (path.name,)
    return any(part.startswith((".", "_")) for part in parts)
