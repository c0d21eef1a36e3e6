"""Copies Polars' optimised plan into plain frozen values, one class for each node that we know by name.

Not here: what a node means for a stream (`planner/nodes.py`). With `expressions.py` the only file that
touches Polars' private classes, so all knowledge of their versions is here. Called by `planner/plan.py` and
by the words (`sources/leaf.py`) that look below themselves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import polars as pl

from dataflare_fast.errors import CallError
from dataflare_fast.planner.visitor.expressions import (
    BinaryNode,
    CastNode,
    ColumnNode,
    ExprNode,
    FunctionNode,
    HiddenNode,
    constants_checked,
    read_expression,
)
from dataflare_fast.planner.visitor.spelling import OPERATORS

__all__ = [
    "CacheIR",
    "DataFrameScanIR",
    "DistinctIR",
    "DynamicIR",
    "FileScanIR",
    "FilterIR",
    "FunctionIR",
    "GroupByIR",
    "HStackIR",
    "JoinIR",
    "LeafIR",
    "MergeSortedIR",
    "Named",
    "OtherIR",
    "PlanIR",
    "ProjectionIR",
    "RollingIR",
    "SelectIR",
    "SinkIR",
    "SliceIR",
    "SortIR",
    "UnionIR",
    "collect_with_leaves",
    "list_leaves",
    "read_plan",
    "require_supported_polars",
]

SUPPORTED_POLARS = ">=2.1,<2.2"
_VISITOR_MAJOR = 16


@dataclass(frozen=True, slots=True)
class Named:
    """An expression and the column that it makes."""

    name: str
    expr: ExprNode


@dataclass(frozen=True, slots=True)
class PlanIR:
    """Any node: `schema` is its output as Polars types it, `inputs` stand left to right."""

    schema: pl.Schema
    inputs: tuple[PlanIR, ...]

    def walk(self) -> Iterator[PlanIR]:
        """This node and all below, parents first, left to right."""
        yield self
        for one in self.inputs:
            yield from one.walk()


@dataclass(frozen=True, slots=True)
class LeafIR(PlanIR):
    """A `register_io_source` leaf: the first `rows` rows, of those where `predicate`, of those `columns`."""

    source: Callable[..., Any]
    columns: tuple[str, ...] | None
    predicate: Named | None
    rows: int | None


@dataclass(frozen=True, slots=True)
class FileScanIR(PlanIR):
    """`pl.scan_parquet`, `scan_ndjson`, `scan_csv`, …; `reader` holds Polars' own reader options."""

    format: str
    reader: dict[str, Any]
    paths: tuple[str, ...]
    columns: tuple[str, ...] | None
    predicate: Named | None
    slice: tuple[int, int] | None
    row_index: tuple[str, int] | None
    path_column: str | None
    hive: tuple[str, ...]
    """Columns that the names of folders hold."""
    special: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DataFrameScanIR(PlanIR):
    """A frame in memory."""

    frame: pl.DataFrame
    columns: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class FilterIR(PlanIR):
    """`filter`."""

    predicate: Named


@dataclass(frozen=True, slots=True)
class SelectIR(PlanIR):
    """`select`, `rename`."""

    exprs: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class HStackIR(PlanIR):
    """`with_columns`."""

    exprs: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class ProjectionIR(PlanIR):
    """The columns of `schema`, by name."""


@dataclass(frozen=True, slots=True)
class DynamicIR:
    """`group_by_dynamic`; durations are Polars' six parts (months, weeks, days, ns, index, negative)."""

    column: str
    every: tuple[int, int, int, int, bool, bool]
    period: tuple[int, int, int, int, bool, bool]
    offset: tuple[int, int, int, int, bool, bool]
    closed: str
    label: str
    start_by: str
    include_boundaries: bool


@dataclass(frozen=True, slots=True)
class RollingIR:
    """`rolling`; durations as for `DynamicIR`."""

    column: str
    period: tuple[int, int, int, int, bool, bool]
    offset: tuple[int, int, int, int, bool, bool]
    closed: str


@dataclass(frozen=True, slots=True)
class GroupByIR(PlanIR):
    """All kinds of `group_by`."""

    keys: tuple[Named, ...]
    aggregates: tuple[Named, ...]
    maintain_order: bool
    dynamic: DynamicIR | None
    rolling: RollingIR | None
    slice: tuple[int, int] | None
    opaque: bool


@dataclass(frozen=True, slots=True)
class SortIR(PlanIR):
    """`sort`, `top_k`."""

    by: tuple[ExprNode, ...]
    descending: tuple[bool, ...]
    nulls_last: tuple[bool, ...]
    slice: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class SliceIR(PlanIR):
    """`head`, `slice`, `tail` (a negative offset); `rows` None: all that follow."""

    offset: int
    rows: int | None


@dataclass(frozen=True, slots=True)
class UnionIR(PlanIR):
    """`concat`, vertical."""

    slice: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class MergeSortedIR(PlanIR):
    """`merge_sorted`: two frames that are sorted by `key`, as one that is."""

    key: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DistinctIR(PlanIR):
    """`unique`; `subset` None: all columns."""

    keep: str
    subset: tuple[str, ...] | None
    maintain_order: bool
    slice: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class AsofIR:
    """What `join_asof` adds to a join; `tolerance` in ticks of the time columns."""

    strategy: str
    tolerance: int | None
    left_by: tuple[str, ...]
    right_by: tuple[str, ...]
    allow_exact_matches: bool


@dataclass(frozen=True, slots=True)
class JoinIR(PlanIR):
    """All joins; `how` is Polars' word, `iejoin` for inequalities: then `operators` stand between the keys.

    `predicate`: what joined rows must fulfil too, over the output.
    """

    how: str
    left_on: tuple[Named, ...]
    right_on: tuple[Named, ...]
    operators: tuple[str, ...]
    predicate: Named | None
    nulls_equal: bool
    slice: tuple[int, int] | None
    suffix: str
    coalesce: bool
    maintain_order: str
    asof: AsofIR | None


@dataclass(frozen=True, slots=True)
class FunctionIR(PlanIR):
    """A frame function without a node of its own, such as `unnest`, `explode`, `row_index`, `hint_sorted`."""

    name: str
    parameters: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class CacheIR(PlanIR):
    """A part that occurs several times; equal ids within one plan are the same part."""

    id: int


@dataclass(frozen=True, slots=True)
class SinkIR(PlanIR):
    """A lazy sink; `payload` is Polars' own JSON, `keys` are those of a `PartitionBy`."""

    payload: dict[str, Any]
    keys: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class OtherIR(PlanIR):
    """A node without a class here; `name` is Polars' word for it, `detail` what the visitor says."""

    name: str
    detail: str


def require_supported_polars(lf: pl.LazyFrame) -> None:
    """Checks that this Polars shows plans in the form that this module reads.

    Raises:
        CallError: another version, naming the supported range.
    """
    found: tuple[int, int] = cast("Any", lf)._ldf.visit().version()
    if found[0] != _VISITOR_MAJOR:
        raise CallError(
            f"Polars: expected {SUPPORTED_POLARS} (plan version {_VISITOR_MAJOR}), "
            f"got {pl.__version__} (plan version {found[0]}); install a supported Polars"
        )


def read_plan(lf: pl.LazyFrame) -> PlanIR:
    """Copies the optimised plan of a frame.

    The set of optimisations is fixed, so that equal queries give equal plans in every process: all but
    `comm_subexpr_elim` (random names) and `join_order` (depends on sizes).

    Raises:
        CallError: another version of Polars.
    """
    require_supported_polars(lf)
    flags = cast("Any", pl.QueryOptFlags(comm_subexpr_elim=False, join_order=False))
    visitor = cast("Any", lf)._ldf.with_optimizations(flags._pyoptflags).visit()
    with constants_checked(lambda: lf.explain(optimizations=flags)):
        return _Reader(visitor).read()


def list_leaves(lf: pl.LazyFrame) -> list[Callable[..., Any] | None]:
    """The leaves of a frame as it was written, left to right: io sources, and None for Polars' own scans."""
    require_supported_polars(lf)
    flags = cast("Any", pl.QueryOptFlags.none())
    visitor = cast("Any", lf)._ldf.with_optimizations(flags._pyoptflags).visit()
    return [_io_source(visitor) for _ in _each_leaf(visitor)]


def collect_with_leaves(
    lf: pl.LazyFrame, replace: Callable[[int, Callable[..., Any] | None], pl.DataFrame | None]
) -> pl.DataFrame:
    """Collects a frame in plain Polars with some of its leaves replaced by frames.

    A context variable would not do: Polars calls leaves on threads of its own. Nothing is pushed into leaves.

    Args:
        lf: the frame.
        replace: called for each leaf with its number in `list_leaves` and its io source; gives the frame that
            stands in for it (without columns: no rows of this leaf), or None to leave the leaf as it is.
    """

    def swap(visitor: Any, _duration: int | None = None) -> None:
        root = visitor.get_node()
        for number, _ in enumerate(_each_leaf(visitor)):
            frame = replace(number, _io_source(visitor))
            if frame is not None:
                stand_in = frame if frame.width else pl.DataFrame(schema=visitor.get_schema())
                visitor.set_udf(_constant(stand_in))
        visitor.set_node(root)

    flags = cast("Any", pl.QueryOptFlags.none())
    pydf = cast("Any", lf)._ldf.with_optimizations(flags._pyoptflags).collect("in-memory", swap)
    return cast("pl.DataFrame", cast("Any", pl.DataFrame)._from_pydf(pydf))


def _each_leaf(visitor: Any) -> Iterator[None]:
    """Sets the visitor to each leaf in turn, left to right."""
    pending = [visitor.get_node()]
    while pending:
        visitor.set_node(pending.pop())
        inputs = visitor.get_inputs()
        pending.extend(reversed(inputs))
        if not inputs:
            yield None


def _io_source(visitor: Any) -> Callable[..., Any] | None:
    node = visitor.view_current_node()
    if type(node).__name__ != "PythonScan":
        return None
    source: Callable[..., Any] | None = getattr(node.options[0], "io_source", None)
    return source


def _constant(frame: pl.DataFrame) -> Callable[..., pl.DataFrame]:
    return lambda *_pushed: frame


class _Reader:
    """Walks one plan; expressions are typed against the node that they read from."""

    def __init__(self, visitor: Any) -> None:
        self._visitor = visitor

    def read(self) -> PlanIR:
        visitor = self._visitor
        number = visitor.get_node()
        schema = pl.Schema(visitor.get_schema())
        try:
            node = visitor.view_current_node()
        except Exception as error:  # Polars raises several kinds for nodes that it does not show.
            inputs = self._inputs(number)
            name = "scan_ipc" if str(error) == "ipc scan" else "function"
            return OtherIR(schema, inputs, name, str(error))
        inputs = self._inputs(number)
        kind = type(node).__name__
        # Expressions of a node with an input read that input; those of a leaf read the leaf itself.
        numbers = visitor.get_inputs()
        visitor.set_node(numbers[0] if numbers else number)
        try:
            if kind == "Join":
                return self._join(node, schema, inputs, number)
            return self._copy(kind, node, schema, inputs)
        finally:
            visitor.set_node(number)

    def _inputs(self, number: int) -> tuple[PlanIR, ...]:
        inputs = []
        for one in self._visitor.get_inputs():
            self._visitor.set_node(one)
            inputs.append(self.read())
        self._visitor.set_node(number)
        return tuple(inputs)

    def _copy(self, kind: str, node: Any, schema: pl.Schema, inputs: tuple[PlanIR, ...]) -> PlanIR:
        match kind:
            case "PythonScan":
                return self._leaf(node, schema)
            case "Scan":
                return self._files(node, schema)
            case "DataFrameScan":
                frame = cast("Any", pl.DataFrame)._from_pydf(node.df)
                return DataFrameScanIR(schema, (), frame, _names(node.projection))
            case "Filter":
                predicate = _without_dynamic(self._named(node.predicate))
                return inputs[0] if predicate is None else FilterIR(schema, inputs, predicate)
            case "Select":
                return SelectIR(schema, inputs, tuple(map(_without_wide_count, self._all(node.expr))))
            case "HStack":
                return HStackIR(schema, inputs, self._all(node.exprs))
            case "SimpleProjection":
                return ProjectionIR(schema, inputs)
            case "GroupBy":
                return self._group_by(node, schema, inputs)
            case "Sort":
                _stable, nulls_last, descending = node.sort_options
                by = tuple(self._named(one).expr for one in node.by_column)
                piece = None if node.slice is None else (node.slice[0], node.slice[1])
                return SortIR(schema, inputs, by, _flags(descending, by), _flags(nulls_last, by), piece)
            case "Distinct":
                keep, subset, maintain_order, piece = node.options
                names = None if subset is None else tuple(subset)
                piece = None if piece is None else (piece[0], piece[1])
                return DistinctIR(schema, inputs, keep, names, maintain_order, piece)
            case "Slice":
                return SliceIR(schema, inputs, node.offset, _rows(node.len))
            case "Union":
                return UnionIR(schema, inputs, node.slice)
            case "MapFunction":
                name, *parameters = node.function
                if name == "fast_count":
                    return _counted_files(schema, *parameters)
                return FunctionIR(schema, inputs, name, tuple(parameters))
            case "MergeSorted":
                return MergeSortedIR(schema, inputs, tuple(node.key))
            case "Cache":
                return CacheIR(schema, inputs, node.id_)
            case "Sink":
                payload = json.loads(node.payload)
                return SinkIR(schema, inputs, payload, self._partition_keys(payload))
            case _:
                return OtherIR(schema, inputs, kind, str(getattr(node, "options", "")))

    def _leaf(self, node: Any, schema: pl.Schema) -> PlanIR:
        scan, columns, kind, predicate, rows = node.options
        source = getattr(scan, "io_source", None)
        if kind != "io_plugin" or source is None:
            return OtherIR(schema, (), "python scan", f"a scan of kind {kind}")
        read = None if predicate is None else Named("predicate", read_expression(self._visitor, predicate[1]))
        kept = None if read is None else _without_dynamic(read)
        return LeafIR(schema, (), source, _names(columns), kept, rows)

    def _files(self, node: Any, schema: pl.Schema) -> PlanIR:
        options = node.file_options
        format_name, *reader = node.scan_type
        special = {
            "column mapping": options.column_mapping,
            "default values": options.default_values,
            "deletion files": options.deletion_files,
            "extra_columns='ignore'": None if options.extra_columns_policy == "raise" else True,
            "missing_columns='insert'": None if options.missing_columns_policy == "raise" else True,
        }
        return FileScanIR(
            schema,
            (),
            format=format_name,
            reader=json.loads(reader[0]) if reader else {},
            paths=tuple(str(path) for path in node.paths),
            columns=_names(options.with_columns),
            predicate=None if node.predicate is None else _without_dynamic(self._named(node.predicate)),
            slice=options.n_rows,
            row_index=options.row_index,
            path_column=options.include_file_paths,
            hive=_hive_columns(node.hive_parts),
            special=tuple(name for name, value in special.items() if value),
        )

    def _partition_keys(self, payload: dict[str, Any]) -> tuple[Named, ...]:
        strategy = payload.get("Partitioned", {}).get("partition_strategy")
        keys = strategy.get("Keyed", {}).get("keys", []) if isinstance(strategy, dict) else []
        return tuple(
            Named(str(next(iter(key["output_name"].values()))), read_expression(self._visitor, key["node"]))
            for key in keys
        )

    def _group_by(self, node: Any, schema: pl.Schema, inputs: tuple[PlanIR, ...]) -> PlanIR:
        options = node.options
        dynamic = options.dynamic
        return GroupByIR(
            schema,
            inputs,
            keys=self._all(node.keys),
            aggregates=self._all(node.aggs),
            maintain_order=node.maintain_order,
            dynamic=None
            if dynamic is None
            else DynamicIR(
                column=dynamic.index_column,
                every=dynamic.every,
                period=dynamic.period,
                offset=dynamic.offset,
                closed=dynamic.closed_window,
                label=dynamic.label,
                start_by=dynamic.start_by,
                include_boundaries=dynamic.include_boundaries,
            ),
            rolling=None
            if options.rolling is None
            else RollingIR(
                column=options.rolling.index_column,
                period=options.rolling.period,
                offset=options.rolling.offset,
                closed=options.rolling.closed_window,
            ),
            slice=options.slice,
            opaque=bool(node.apply),
        )

    def _join(self, node: Any, schema: pl.Schema, inputs: tuple[PlanIR, ...], number: int) -> PlanIR:
        how, nulls_equal, piece, suffix, coalesce, maintain_order = node.options
        kind, *rest = (how,) if isinstance(how, str) else how
        left_on = self._all(node.left_on)
        self._visitor.set_node(node.input_right)
        right_on = self._all(node.right_on)
        self._visitor.set_node(number)
        predicate = None if node.predicate is None else self._named(node.predicate)
        asof = None
        if kind == "AsOf":
            strategy, tolerance, _text, left_by, right_by, allow_exact, _checked = rest
            asof = AsofIR(strategy, tolerance, tuple(left_by or ()), tuple(right_by or ()), allow_exact)
        return JoinIR(
            schema,
            inputs,
            how=kind.lower(),
            left_on=left_on,
            right_on=right_on,
            operators=tuple(OPERATORS[str(one)] for one in rest) if kind == "IEJoin" else (),
            predicate=predicate,
            nulls_equal=nulls_equal,
            slice=None if piece is None else (piece[0], piece[1]),
            suffix=suffix,
            coalesce=coalesce,
            maintain_order=maintain_order,
            asof=asof,
        )

    def _named(self, expr: Any) -> Named:
        return Named(expr.output_name, read_expression(self._visitor, expr.node))

    def _all(self, exprs: list[Any]) -> tuple[Named, ...]:
        return tuple(self._named(expr) for expr in exprs)


def _without_dynamic(predicate: Named) -> Named | None:
    """Polars puts a predicate below `sort().head()` that drops what the sort would drop: a hint only."""
    match predicate.expr:
        case HiddenNode(what="dynamic_pred"):
            return None
        case BinaryNode(op="and", left=left, right=right):
            parts = [_without_dynamic(Named(predicate.name, part)) for part in (left, right)]
            kept = [part.expr for part in parts if part is not None]
            if len(kept) < 2:
                return Named(predicate.name, kept[0]) if kept else None
            return Named(predicate.name, replace(predicate.expr, left=kept[0], right=kept[1]))
        case _:
            return predicate


def _counted_files(schema: pl.Schema, paths: list[str], scan: tuple[str, ...], name: str) -> PlanIR:
    """Polars makes a function of `scan_csv(...).select(pl.len())`: back to what the user wrote."""
    files = FileScanIR(
        pl.Schema(),
        (),
        format=scan[0],
        reader=json.loads(scan[1]),
        paths=tuple(paths),
        columns=(),
        predicate=None,
        slice=None,
        row_index=None,
        path_column=None,
        hive=(),
        special=(),
    )
    return SelectIR(schema, (files,), (Named(name, FunctionNode(schema[name], "len")),))


def _without_wide_count(named: Named) -> Named:
    """Polars counts a concat as a sum of counts in 128 bits; the plan has 64, which is as good for rows."""
    match named.expr:
        case CastNode(
            input=FunctionNode(
                name="sum",
                dtype=pl.UInt128(),
                args=(CastNode(dtype=pl.UInt128(), input=ColumnNode()) as inner,),
            ) as total
        ):
            wide = pl.UInt64()
            counted = replace(total, dtype=wide, args=(replace(inner, dtype=wide),))
            return replace(named, expr=replace(named.expr, input=counted))
        case _:
            return named


def _hive_columns(parts: Any) -> tuple[str, ...]:
    """Columns that the names of folders hold."""
    return () if parts is None else tuple(cast("Any", pl.DataFrame)._from_pydf(parts).columns)


def _names(columns: list[str] | None) -> tuple[str, ...] | None:
    return None if columns is None else tuple(columns)


def _flags(flags: list[bool], by: tuple[ExprNode, ...]) -> tuple[bool, ...]:
    """Polars gives one flag for all keys, or one each."""
    return tuple(flags) * len(by) if len(flags) == 1 else tuple(flags)


def _rows(rows: int) -> int | None:
    """Polars writes `slice(3)` without a length as the largest row number."""
    return None if rows >= 2**32 - 1 else rows
