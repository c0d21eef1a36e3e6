"""`dff.read_checkpoint`: offsets, watermarks and the state of each operator, as frames.

Reads the files themselves, so a running job is not disturbed. Used by the command line too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from dataflare_fast import _core
from dataflare_fast.checkpoint.folder import checkpoint_record, job_folder, read_format
from dataflare_fast.errors import DataError

__all__ = ["CheckpointContents", "read_checkpoint"]

_OFFSETS = {"source": pl.String, "split": pl.String, "offset": pl.String}
_WATERMARKS = {"operator": pl.String, "split": pl.String, "largest_time": pl.Int64, "promise": pl.Int64}


@dataclass(frozen=True, slots=True)
class CheckpointContents:
    """One checkpoint.

    Args:
        job: the name of the job.
        epoch: its number.
        attempt: which start of the job wrote it.
        parallelism: with how many workers.
        finished: the input had ended and everything was published.
        offsets: columns source, split, offset (JSON; null: at the beginning).
        watermarks: columns operator, split, largest_time (of the split so far) and promise (of all splits
            together: no later row is older), in units of the time column; null: before the first row or
            after the last.
        state: by `<operator>/<table>`, the key columns and state columns of all workers.
    """

    job: str
    epoch: int
    attempt: int
    parallelism: int
    finished: bool
    offsets: pl.DataFrame
    watermarks: pl.DataFrame
    state: dict[str, pl.DataFrame]


def read_checkpoint(path: str | Path, *, epoch: int | None = None) -> CheckpointContents:
    """Reads a checkpoint of a job, running or not.

    Args:
        path: the folder of a job, or one that holds a single job.
        epoch: which one; None: the newest.

    Raises:
        CallError: no job there, several, or no such checkpoint.
        DataError: a damaged object, by name.
    """
    job = job_folder(Path(path))
    name = read_format(job)["job"]
    found = checkpoint_record(job, epoch)
    return CheckpointContents(
        job=name,
        epoch=found["epoch"],
        attempt=found["attempt"],
        parallelism=found["parallelism"],
        finished=found["finished"],
        offsets=_offsets(found),
        watermarks=_watermarks(found),
        state=_state(job, found),
    )


def _offsets(record: dict[str, Any]) -> pl.DataFrame:
    rows = [
        (source, split, None if offset is None else json.dumps(offset))
        for source, splits in record["sources"].items()
        for split, offset in splits.items()
    ]
    return pl.DataFrame(rows, schema=_OFFSETS, orient="row")


def _watermarks(record: dict[str, Any]) -> pl.DataFrame:
    rows = [
        (operator, split, _ticks(time["maximum"]), _ticks(marks["promise"]))
        for operator, marks in record["watermarks"].items()
        for split, time in marks["splits"].items()
    ]
    return pl.DataFrame(rows, schema=_WATERMARKS, orient="row")


def _ticks(time: int) -> int | None:
    # The smallest and the largest number stand for "before the first row" and "after the last".
    return time if abs(time) < 2**63 - 1 else None


def _state(job: Path, record: dict[str, Any]) -> dict[str, pl.DataFrame]:
    tables: dict[str, list[pl.DataFrame]] = {}
    for operator, objects in record["operators"].items():
        for one in objects:
            tables.setdefault(f"{operator}/{one['table']}", []).append(_table(job / one["name"], one))
    return {name: pl.concat(frames) for name, frames in tables.items()}


def _table(path: Path, entry: dict[str, Any]) -> pl.DataFrame:
    try:
        data = path.read_bytes()
        _core.verify_object(json.dumps(entry), data)
        return pl.read_ipc(data)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"checkpoint object {path}: expected an Arrow file, got {error}; restore an earlier checkpoint"
        ) from error
