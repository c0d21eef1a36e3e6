"""`dataflare checkpoint ls|show|verify`: looks into the checkpoints of a job, running or not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import polars as pl
import typer

import dataflare_fast as dff
from dataflare_fast.checkpoint.folder import checkpoint_records, job_folder, jobs_in

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Looks into checkpoints.")
_Folder = Annotated[Path, typer.Argument(help="A job's folder, or one that holds a single job.")]


@app.command()
def ls(folder: Annotated[Path, typer.Argument(help="A checkpoint folder.")]) -> None:
    """Lists jobs and their checkpoints."""
    jobs = [folder / name for name in jobs_in(folder)] or [job_folder(folder)]
    for job in jobs:
        for record in checkpoint_records(job):
            size = sum(one["size"] for objects in record["operators"].values() for one in objects)
            end = "   finished" if record["finished"] else ""
            place = f"{job.name}   epoch {record['epoch']}   attempt {record['attempt']}"
            print(f"{place}   {size:,} bytes of state{end}")


@app.command()
def show(
    folder: _Folder, epoch: Annotated[int | None, typer.Option(help="Without it: the newest.")] = None
) -> None:
    """Shows offsets, watermarks and state."""
    contents = dff.read_checkpoint(folder, epoch=epoch)
    print(
        f"{contents.job}: epoch {contents.epoch}, attempt {contents.attempt}, {contents.parallelism} workers"
    )
    with pl.Config(tbl_rows=20, tbl_hide_dataframe_shape=True):
        print(contents.offsets)
        print(contents.watermarks)
        for name, frame in contents.state.items():
            print(f"{name}: {frame.height:,} rows")
            print(frame)


@app.command()
def verify(folder: _Folder) -> None:
    """Reads every object of every kept checkpoint."""
    job = job_folder(folder)
    records = checkpoint_records(job)
    for record in records:
        contents = dff.read_checkpoint(job, epoch=record["epoch"])
        rows = sum(frame.height for frame in contents.state.values())
        print(f"epoch {record['epoch']}: {len(contents.state)} tables, {rows:,} rows, whole")
    if not records:
        print("no checkpoint yet")
