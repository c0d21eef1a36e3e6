"""Leaves of Polars' plan -> Source nodes, and nodes for the words of `.stream`.

A leaf that occurs several times, in one frame or in several of a job, is one node; it reads the columns that
all its users need. Not here: what stands above leaves (`nodes.py`).
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from dataflare_fast.planner.building import Building
from dataflare_fast.planner.csv_text import CsvReader, csv_columns, csv_ends
from dataflare_fast.planner.frames import Frame
from dataflare_fast.planner.schema import Json
from dataflare_fast.planner.visitor.plan import (
    DataFrameScanIR,
    FileScanIR,
    LeafIR,
    PlanIR,
    read_plan,
)
from dataflare_fast.sources.batches import Batches
from dataflare_fast.sources.files import local_path
from dataflare_fast.sources.leaf import Leaf, Source
from dataflare_fast.words.marks import Errors
from dataflare_fast.words.native import Native
from dataflare_fast.words.watermark import Late, Watermark
from dataflare_fast.words.word import Word

__all__ = ["Demand", "file_frame", "memory_frame", "source_frame", "survey"]


_ROWS: Final = "\x01rows"
"""A column that nobody reads. No zero character: that would end a name in C, and marks the engine's own."""


@dataclass(slots=True)
class Demand:
    """What the users of a leaf need of it."""

    columns: set[str] = field(default_factory=set)
    below: PlanIR | None = None
    """The plan of the frame below a word, with those columns."""


def survey(roots: Sequence[PlanIR]) -> dict[Leaf, Demand]:
    """Finds all leaves of a job and the columns that they must give.

    A word stands above leaves that are older than itself: taking the youngest first means that all users of a
    leaf are known when its turn comes.
    """
    demands: dict[Leaf, Demand] = {}
    waiting: list[tuple[int, int, Leaf]] = []
    order = itertools.count()

    def need(leaf: Leaf, columns: Sequence[str]) -> None:
        if leaf not in demands:
            demands[leaf] = Demand()
            heapq.heappush(waiting, (-leaf.serial, next(order), leaf))
        demands[leaf].columns.update(columns)

    def look(plan: PlanIR) -> None:
        for one in plan.walk():
            if isinstance(one, LeafIR) and isinstance(one.source, Leaf):
                need(one.source, one.schema.names())

    for root in roots:
        look(root)
    while waiting:
        leaf = heapq.heappop(waiting)[2]
        demand = demands[leaf]
        if isinstance(leaf, Late):
            need(leaf.watermark, list(demand.columns))
        elif isinstance(leaf, Word):
            demand.below = read_plan(_narrowed(leaf, demand))
            look(demand.below)
        elif not demand.columns:
            # A batch needs a column to have a height.
            demand.columns.update(leaf.schema.names()[:1])
    return demands


def _narrowed(word: Word, demand: Demand) -> pl.LazyFrame:
    """The frame below a word with the columns that are needed."""
    if isinstance(word, Native | Errors):
        return word.upstream
    if isinstance(word, Watermark):
        demand.columns.add(word.column)
    names = [name for name in word.schema if name in demand.columns] or word.schema.names()[:1]
    demand.columns.update(names)
    return word.upstream if len(names) == len(word.schema) else word.upstream.select(names)


def source_frame(building: Building, source: Source, demand: Demand) -> Frame:
    """One of our sources."""
    schema = pl.Schema({name: dtype for name, dtype in source.schema.items() if name in demand.columns})
    options: dict[str, Any] = source.options()
    if source.carried is not None:
        options["object"] = building.graph.object(source.carried)
    return _source(
        building,
        source.connector,
        options,
        schema,
        bounded=source.bounded,
        replayable=source.replayable,
        single_split=source.single_split,
    )


def memory_frame(building: Building, ir: DataFrameScanIR) -> Frame:
    """A `DataFrame` of the user's: one split."""
    frame = ir.frame.select(ir.schema.names())
    if not ir.schema:
        # A batch needs a column to have a height.
        frame = pl.DataFrame({_ROWS: pl.repeat(False, ir.frame.height, eager=True)})
    options = {"object": building.graph.object(Batches([[frame]], frame.schema))}
    return _source(
        building, "batches", options, frame.schema, bounded=True, replayable=True, single_split=True
    )


def file_frame(building: Building, ir: FileScanIR) -> Frame:
    """`pl.scan_parquet`, `scan_ndjson`, `scan_csv`: one split, files in path order."""
    part = f"scan_{ir.format}({', '.join(ir.paths[:1])})"
    if ir.format not in ("parquet", "ndjson", "csv"):
        building.refusals.add(
            part,
            f"scans of {ir.format} arrive in a later release",
            f"a copy as Parquet (scan_{ir.format}(...).sink_parquet(path) in plain Polars), "
            f"or dff.from_batches(pl.read_{ir.format}(...)) if it fits into memory",
        )
        return building.nothing(ir.schema)
    if ir.reader.get("ignore_errors"):
        building.refusals.add(
            f"{part} with ignore_errors=True",
            "the engine itself decides what becomes of a row that cannot be read",
            'the scan without ignore_errors, and dff.Engine(on_error="skip") or "dead_letter"',
        )
    if ir.reader.get("decryption_properties"):
        building.refusals.add(part, "encrypted Parquet arrives in a later release", "a decrypted copy")
    for special in ir.special:
        building.refusals.add(part, f"{special} arrive in a later release", f"the scan without {special}")
    schema, row_index = ir.schema, ir.row_index
    if not schema:
        # A batch needs a column to have a height.
        schema, row_index = pl.Schema({_ROWS: pl.UInt32()}), (_ROWS, 0)
    options: dict[str, Json] = {
        "paths": [local_path(path, f"scan_{ir.format}") for path in ir.paths],
        "row_index": None if row_index is None else {"name": row_index[0], "offset": row_index[1]},
        "path_column": ir.path_column,
        "polars": ir.reader if ir.format == "ndjson" else None,
    }
    if ir.hive:
        options["hive"] = list(ir.hive)
    if ir.format == "csv":
        elsewhere = {*ir.hive, ir.path_column, None if row_index is None else row_index[0]}
        wanted = pl.Schema({name: dtype for name, dtype in schema.items() if name not in elsewhere})
        parser = CsvReader(ir.reader, csv_columns(ir.reader, ir.paths), wanted)
        options |= {"csv": csv_ends(ir.reader), "object": building.graph.object(parser)}
    frame = _source(building, ir.format, options, schema, bounded=True, replayable=True, single_split=True)
    if ir.slice is not None:
        frame = building.head(frame, *ir.slice, any_rows=False)
    return frame if ir.predicate is None else building.filter(frame, ir.predicate.expr)


def _source(
    building: Building,
    connector: str,
    options: dict[str, Any],
    schema: pl.Schema,
    *,
    bounded: bool,
    replayable: bool,
    single_split: bool,
) -> Frame:
    fields = {"connector": connector, "options": options, "bounded": bounded, "replayable": replayable}
    node = building.graph.add("source", [], schema, fields=fields)
    return Frame(node=node, schema=schema, endless=not bounded, single_split=single_split)
