"""The files of a checkpoint folder: which jobs it holds, and the records of a job's log.

Layout: `<folder>/<job>/{format,manifest/<sequence>.json,state/...,plan/...}`. Not here: what a record means
(`contents.py`), writing (`rust/engine/src/checkpoint/log.rs`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dataflare_fast.errors import CallError, DataError

__all__ = [
    "LAYOUT_VERSION",
    "checkpoint_record",
    "checkpoint_records",
    "job_folder",
    "jobs_in",
    "read_format",
]

LAYOUT_VERSION = 1


def jobs_in(folder: Path) -> list[str]:
    """The names of the jobs that have a folder here."""
    if not folder.is_dir():
        return []
    return sorted(one.name for one in folder.iterdir() if (one / "format").is_file())


def job_folder(path: Path) -> Path:
    """The folder of one job: `path` itself, or the only job in it.

    Raises:
        CallError: no job, or several.
    """
    if (path / "format").is_file():
        return path
    names = jobs_in(path)
    if len(names) != 1:
        found = f"{len(names)} jobs ({', '.join(names)})" if names else "none"
        raise CallError(f"checkpoint {path}: expected the folder of one job, got {found}")
    return path / names[0]


def read_format(job: Path) -> dict[str, Any]:
    """The `format` file of a job.

    Raises:
        CallError: another version of the layout.
    """
    found: dict[str, Any] = _json(job / "format")
    if found.get("version") != LAYOUT_VERSION:
        raise CallError(
            f"checkpoint {job}: expected layout version {LAYOUT_VERSION}, got {found.get('version')!r}"
        )
    return found


def checkpoint_records(job: Path) -> list[dict[str, Any]]:
    """The commits of a job's log, oldest first; records of attempts are left out."""
    records = [(int(path.stem), _json(path)) for path in (job / "manifest").glob("*.json")]
    return [record for _, record in sorted(records, key=lambda one: one[0]) if record["kind"] == "checkpoint"]


def checkpoint_record(job: Path, epoch: int | None) -> dict[str, Any]:
    """The commit of an epoch; None: the newest.

    Raises:
        CallError: no commit yet, or none of this epoch.
    """
    records = checkpoint_records(job)
    if not records:
        raise CallError(f"checkpoint {job}: expected at least one checkpoint, got none yet")
    found = records[-1] if epoch is None else next((one for one in records if one["epoch"] == epoch), None)
    if found is None:
        kept = ", ".join(str(one["epoch"]) for one in records)
        raise CallError(f"checkpoint {job}: expected one of the epochs {kept}, got {epoch}")
    return found


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(
            f"checkpoint object {path}: expected JSON of layout version {LAYOUT_VERSION}, got {error}; "
            "restore an earlier checkpoint"
        ) from error
