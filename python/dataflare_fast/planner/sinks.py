"""Where the results of a job go -> Sink nodes, and what kind of frame each sink takes.

An append sink takes final rows only; a single file takes bounded frames only. Not here: the writers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from dataflare_fast.planner.building import Building
from dataflare_fast.planner.csv_text import CsvWriter
from dataflare_fast.planner.frames import Frame
from dataflare_fast.planner.visitor.expressions import ColumnNode
from dataflare_fast.planner.visitor.plan import LeafIR, Named, PlanIR, SinkIR, read_plan
from dataflare_fast.sources.files import local_path
from dataflare_fast.words.sink import SinkWord

__all__ = [
    "Output",
    "batches_output",
    "collect_output",
    "folder_named_by_polars",
    "is_sink",
    "sink_node",
    "sink_output",
    "sink_target",
]

_FORMATS: Final = {"Csv": "csv", "Ipc": "ipc", "NDJson": "ndjson", "Parquet": "parquet"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A frame and where it goes.

    Args:
        frame: what the user wrote; for a lazy sink, the sink.
        connector: the writer's name; None: the frame is a lazy sink that says it itself.
        options: of the sink node, without `object`.
        maintain_order: rows must arrive in logical order.
        carried: the Python object that the engine calls, if any.
    """

    frame: pl.LazyFrame
    connector: str | None
    options: dict[str, Any] = field(default_factory=dict)
    maintain_order: bool = False
    carried: object | None = None


# Stands for "the folder itself" in Polars' plan, which refuses a path that is a folder already.
_FOLDER: Final = "/{parts}"


def sink_target(path: Any) -> Any:
    """What to give Polars for a path of ours: a text that ends in `/` is a folder of parts, there or not."""
    return path.rstrip("/") + _FOLDER if isinstance(path, str) and path.endswith("/") else path


def collect_output(
    frame: pl.LazyFrame, *, carried: object | None = None, maintain_order: bool = True
) -> Output:
    """All rows, given back to the caller in `carried`, a `_core.Collector`."""
    return Output(frame=frame, connector="collect", maintain_order=maintain_order, carried=carried)


def batches_output(
    frame: pl.LazyFrame,
    function: Callable[[pl.DataFrame], bool | None],
    *,
    chunk_rows: int | None = None,
    maintain_order: bool = True,
) -> Output:
    """`sink_batches`: a Python function that gets each batch."""
    options = {"chunk_rows": chunk_rows}
    return Output(
        frame=frame, connector="batches", options=options, maintain_order=maintain_order, carried=function
    )


def sink_output(frame: pl.LazyFrame) -> Output:
    """A lazy sink: `lf.sink_parquet(..., lazy=True)`, `lf.stream.sink_kafka(..., lazy=True)`."""
    return Output(frame=frame, connector=None)


def is_sink(frame: pl.LazyFrame) -> bool:
    """True for a lazy sink."""
    top = read_plan(frame)
    return isinstance(top, SinkIR) or (isinstance(top, LeafIR) and isinstance(top.source, SinkWord))


def folder_named_by_polars(frame: pl.LazyFrame) -> str | None:
    """The folder that a lazy sink of Polars' own writes to: it cannot be built again once that exists."""
    top = read_plan(frame)
    if not isinstance(top, SinkIR):
        return None
    path = _path_of(next(iter(top.payload.values())))
    return path if path is not None and path.endswith("/") else None


def _path_of(payload: Any) -> str | None:
    target = payload.get("target") or payload.get("base_path") if isinstance(payload, dict) else None
    path = target.get("inner") if isinstance(target, dict) else None
    return path if isinstance(path, str) else None


def sink_node(building: Building, output: Output, ir: PlanIR, plan: Callable[[PlanIR, bool], Frame]) -> Frame:
    """Plans an output and all below it.

    Args:
        building: the plan so far.
        output: what the user wants.
        ir: its plan.
        plan: plans a frame below a sink; the second argument says that any rows will do for a `head` right
            there.
    """
    if isinstance(ir, LeafIR) and isinstance(ir.source, SinkWord):
        word = ir.source
        if ir.predicate is not None or ir.rows is not None or len(ir.schema) != len(word.schema):
            return building.nothing_above_a_sink(word.title, ir.schema)
        frame = plan(ir, False)
        is_file = word.options.get("layout") == "file"
        if is_file:
            _refuse_endless(building, frame, word.connector, word.options["path"])
        return _sink(
            building,
            frame,
            word.connector,
            word.options,
            carried=word.carried,
            key=word.key,
            maintain_order=is_file,
        )
    if isinstance(ir, SinkIR):
        return _file_sink(building, ir, plan)
    if output.connector is None:
        building.refusals.add(
            "a frame that is no sink",
            "start() runs sinks: a frame alone does not say where its rows go",
            "sink_parquet('out/', lazy=True), or another sink_* with lazy=True",
        )
        return plan(ir, False)
    frame = plan(ir, True)
    if output.connector == "collect" and frame.endless:
        building.refusals.add(
            "collect of an endless frame",
            "it would never come back",
            ".head(n) before collect; or a bounded source (events=, end='latest'); or a sink: "
            "sink_parquet('out/'), sink_batches(fn)",
        )
        return building.nothing(ir.schema)
    return _sink(
        building,
        frame,
        output.connector,
        output.options,
        carried=output.carried,
        key=None,
        maintain_order=output.maintain_order,
    )


def _file_sink(building: Building, ir: SinkIR, plan: Callable[[PlanIR, bool], Frame]) -> Frame:
    frame = plan(ir.inputs[0], False)
    kind, payload = next(iter(ir.payload.items()))
    path = _path_of(payload)
    if kind not in ("File", "Partitioned") or path is None:
        building.refusals.add(
            f"a sink of kind {kind}",
            "the engine writes to paths",
            "a path as text, or sink_batches(fn) for anything else",
        )
        return building.nothing(ir.schema)
    path = local_path(path, "a sink of files")
    if path.endswith(_FOLDER):
        path = path.removesuffix(_FOLDER) + "/"
    name, settings = next(iter(payload["file_format"].items()))
    connector = _FORMATS.get(name)
    if connector is None:
        building.refusals.add(
            f"sink_{name.lower()}",
            "it is no file format of the engine",
            "sink_parquet, sink_ipc, sink_csv or sink_ndjson",
        )
        return building.nothing(ir.schema)
    arguments = payload["unified_sink_args"]
    options: dict[str, Any] = {
        "path": path,
        "layout": "folder" if path.endswith("/") else "file",
        "mkdir": bool(arguments["mkdir"]),
        "format": settings,
    }
    if kind == "Partitioned":
        options |= _partitions(building, payload, path, ir.keys)
    if options["layout"] == "file":
        _refuse_endless(building, frame, connector, path)
    in_order = options["layout"] == "file" and bool(arguments["maintain_order"])
    carried = CsvWriter(settings) if connector == "csv" else None
    return _sink(building, frame, connector, options, carried=carried, key=None, maintain_order=in_order)


_NO_BOUND: Final = 2**32 - 1
"""What Polars writes for a bound that was not given, or a larger number."""


def _partitions(
    building: Building, payload: dict[str, Any], path: str, keys: Sequence[Named]
) -> dict[str, Any]:
    """`pl.PartitionBy`: a folder for each key, or a folder of parts."""
    part = f"PartitionBy('{path}')"
    if "Hive" not in payload["file_path_provider"]:
        building.refusals.add(
            f"{part} with a file_path_provider",
            "names of files hold attempt, epoch and worker, so that each row is written once",
            "PartitionBy without it",
        )
    rows, size = payload["max_rows_per_file"], payload["approximate_bytes_per_file"]
    options: dict[str, Any] = {"path": path.rstrip("/") + "/", "layout": "folder", "mkdir": True}
    if rows < _NO_BOUND:
        options["roll_rows"] = rows
    if size < _NO_BOUND:
        options["roll_bytes"] = size
    strategy = payload["partition_strategy"]
    if not isinstance(strategy, dict):
        return options
    keyed = strategy["Keyed"]
    names = [key.name for key in keys]
    computed = [key.name for key in keys if not _is_column(key)]
    if computed:
        building.refusals.add(
            f"{part} by an expression",
            f"keys must be columns of the frame, got {', '.join(computed)}",
            "with_columns(key=...) before the sink, and key='key'",
        )
    return options | {"layout": "hive", "keys": names, "include_keys": keyed["include_keys"]}


def _is_column(key: Named) -> bool:
    return isinstance(key.expr, ColumnNode) and key.expr.name == key.name


def _refuse_endless(building: Building, frame: Frame, connector: str, path: str) -> None:
    """A single file needs an end."""
    if frame.endless:
        building.refusals.add(
            f"{connector} file '{path}' of an endless frame",
            "a single file is published when its input has ended",
            f"a folder of parts: '{_stem(path)}/'",
        )


def _stem(path: str) -> str:
    """Without what the name ends in."""
    folder, slash, name = path.rpartition("/")
    return folder + slash + (name.split(".")[0] or name)


def _sink(
    building: Building,
    frame: Frame,
    connector: str,
    options: dict[str, Any],
    *,
    carried: object | None,
    key: tuple[str, ...] | None,
    maintain_order: bool,
) -> Frame:
    _refuse_changes(building, frame, connector, key)
    # Order counts above a final sort, whatever the sink is.
    maintain_order = maintain_order or frame.order == "sorted"
    options = dict(options)
    if carried is not None:
        options["object"] = building.graph.object(carried)
    node = building.graph.add(
        "sink",
        [frame.node],
        frame.schema,
        event_time=frame.event_time,
        fields={"connector": connector, "options": options, "maintain_order": maintain_order},
        shared=False,
    )
    if frame.name is not None:
        building.graph.nodes[node]["name"] = frame.name
    return Frame(node=node, schema=frame.schema, endless=frame.endless)


def _refuse_changes(building: Building, frame: Frame, connector: str, key: tuple[str, ...] | None) -> None:
    """A changing frame needs a sink that replaces rows by key, or shows changes because the user said so."""
    if frame.upsert_key is None:
        return
    columns = ", ".join(f"'{name}'" for name in frame.upsert_key)
    if connector in ("collect", "batches") and frame.update_written:
        return
    if key is not None and set(key) == set(frame.upsert_key):
        return
    if connector in ("console", "result"):
        return
    kafka = f"; or .stream.sink_kafka(..., key=[{columns}])" if columns else ""
    fix = (
        "with_watermark(...) and a window or time key, so that results become final; or .stream.emit"
        f'("update") with sink_batches(fn), whose batches then have a column _change{kafka}'
    )
    building.refusals.add(
        f"{connector} sink of a changing frame ("
        + (f"one row for each {columns})" if columns else "one row)"),
        "the input is endless and its groups never close, so rows would have to be replaced"
        if frame.endless
        else "emit('update') gives rows that replace earlier ones, and this sink only appends",
        fix,
    )
