"""Running functions -> `running` nodes: `over(key, order_by=time)`, `cum_*`, `shift`, `rolling`, ….

A running function may stand anywhere in an expression (`x - x.shift(1).over("k")`). Each becomes a column
that an operator below makes; what is left of the expression is row-wise and stands above. Functions with the
same keys share an operator. Not here: `rank(...).over(k) <= n` (`top_rows.py`), windows on a grid
(`windows.py`). Called by `nodes.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import polars as pl

from dataflare_fast.planner.building import Building
from dataflare_fast.planner.classes import FunctionClass, classify, names_of
from dataflare_fast.planner.event_time import sources_of
from dataflare_fast.planner.expressions import (
    ExpressionContext,
    LiftedAggregates,
    lift_aggregates,
    translate,
)
from dataflare_fast.planner.frames import Frame
from dataflare_fast.planner.group_values import is_row_wise
from dataflare_fast.planner.groups import types_of
from dataflare_fast.planner.schema import Json, dtype_from_json, dtype_to_json
from dataflare_fast.planner.visitor.expressions import (
    BinaryNode,
    CastNode,
    ColumnNode,
    ExprNode,
    FunctionNode,
    HiddenNode,
    LiteralNode,
    WhenNode,
)
from dataflare_fast.planner.visitor.plan import GroupByIR, Named
from dataflare_fast.planner.windows import Parts, duration_text, duration_to_json, has_dst
from dataflare_fast.planner.wording import describe

__all__ = ["filter_running", "holds_running", "rolling_groups", "with_running", "with_running_inputs"]

_PLAIN: Final = names_of("cum_sum cum_prod cum_min cum_max cum_count is_first_distinct rle_id")
"""Functions that need no more than their column."""

_NUMBERS_ONLY: Final = names_of("cum_sum cum_prod ewm_mean ewm_mean_by")
_ROLLING: Final[Mapping[str, str]] = {
    "rolling_sum": "sum",
    "rolling_mean": "mean",
    "rolling_min": "min_or_nan",
    "rolling_max": "max_or_nan",
    "rolling_var": "var",
    "rolling_std": "std",
    "rolling_quantile": "quantile",
}
_AGGREGATES: Final = names_of("len count sum mean min max first last n_unique")
_IN_ORDER: Final = names_of("first last")
_TOTALS: Final[Mapping[str, str]] = {
    "sum": "cum_sum()",
    "min": "cum_min()",
    "max": "cum_max()",
    "count": "cum_count()",
    "len": "int_range(1, pl.len() + 1)",
    "mean": "cum_sum() / cum_count()",
    "last": "the column itself, which is the last value so far",
}
"""What a running total is called."""


def holds_running(exprs: Iterable[ExprNode]) -> bool:
    """True if a function of earlier rows stands in one of them."""
    return any(_is_running(node) for expr in exprs for node in expr.walk())


def with_running(
    building: Building, frame: Frame, exprs: Sequence[Named], *, aggregated: bool = False
) -> tuple[Frame, list[Named]]:
    """The frame with a column for each running function, and the expressions over those columns.

    Args:
        building: the plan so far.
        frame: what the expressions read.
        exprs: of a `select` or `with_columns`.
        aggregated: they are aggregates.
    """
    lifting = _Lifting(building, frame, aggregated=aggregated)
    above = [replace(one, expr=lifting.resolve(one.expr, None)) for one in exprs]
    return lifting.frame_with_columns(), above


def filter_running(building: Building, frame: Frame, predicate: ExprNode) -> Frame:
    """The rows where a predicate over running functions is true."""
    below, above = with_running(building, frame, [Named("predicate", predicate)])
    return building.columns(building.filter(below, above[0].expr), frame.schema.names())


def with_running_inputs(building: Building, frame: Frame, ir: GroupByIR) -> tuple[Frame, GroupByIR]:
    """As `with_running`, for what stands inside the aggregates of a `group_by`: each group by itself."""
    lifting = _Lifting(building, frame, aggregated=True)
    keys = tuple(one.expr for one in ir.keys)
    aggregates = tuple(replace(one, expr=lifting.inputs(one.expr, keys)) for one in ir.aggregates)
    return lifting.frame_with_columns(), replace(ir, aggregates=aggregates)


def rolling_groups(building: Building, frame: Frame, ir: GroupByIR) -> Frame:
    """`frame.rolling(...).agg(...)`: the keys, the time and the aggregates of each row's window."""
    assert ir.rolling is not None
    lifting = _Lifting(building, frame)
    part = f"rolling('{ir.rolling.column}', period='{duration_text(ir.rolling.period)}')"
    index = ColumnNode(frame.schema[ir.rolling.column], ir.rolling.column)
    window = lifting.window(part, index, ir.rolling.period, ir.rolling.offset, ir.rolling.closed)
    keys = tuple(one.expr for one in ir.keys)
    exprs = {one.name: Named(one.name, one.expr) for one in ir.keys}
    exprs[index.name] = Named(index.name, index)
    for one in ir.aggregates:
        exprs[one.name] = Named(one.name, lifting.aggregates(one.expr, keys, window))
    below = lifting.frame_with_columns()
    above = building.project(below, [exprs[name] for name in ir.schema], ir.schema)
    if ir.keys:
        # Polars gives the rows of one key after the other.
        above = replace(above, order="none")
    return above


@dataclass(frozen=True, slots=True)
class _Request:
    """A function to compute: over which keys, of which columns, in which round."""

    level: int
    keys: tuple[str, ...]
    function: Json
    ties: tuple[str, ...] = ()
    """What decides between rows of equal time."""


@dataclass(slots=True)
class _Lifting:
    """The running functions of the expressions of one node."""

    building: Building
    frame: Frame
    aggregated: bool = False
    """The functions stand inside aggregates, where one of all rows has another meaning."""
    schema: dict[str, pl.DataType] = field(init=False)
    context: ExpressionContext = field(init=False)
    computed: dict[str, tuple[int, Json]] = field(default_factory=dict)
    """Columns to compute below a round, by name."""
    requests: list[_Request] = field(default_factory=list)
    totals: list[_Request] = field(default_factory=list)
    """Aggregates of all rows of a key."""
    rounds: dict[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)
    """Round and keys of each function, by its column."""
    made: dict[str, str] = field(default_factory=dict)
    """Column of each function, by what it does."""
    order_by: tuple[str, ...] = ()
    """Of the `over` around what is looked at: the event time, then what decides between equal times."""

    def __post_init__(self) -> None:
        self.schema = dict(self.frame.schema)
        self.context = ExpressionContext(self.schema, self.building.refusals)

    def resolve(self, node: ExprNode, keys: tuple[ExprNode, ...] | None) -> ExprNode:
        """The expression with each running function replaced by the column that will hold it.

        Args:
            node: the expression.
            keys: those of the `over` around it; None: there is none.
        """
        if isinstance(node, FunctionNode):
            if node.name == "over":
                return self._over(node, keys)
            if node.name == "rolling":
                return self._rolling(node, keys or ())
            rank = node if node.name == "rank" else _filled_rank(node)
            if rank is not None and keys is not None:
                ranked = self._rank_of_time(rank, keys)
                if ranked is not None:
                    return ranked if rank is node else CastNode(node.dtype, ranked, strict=True, wrap=False)
            if _is_running(node):
                return self._running(node, keys)
            if keys is not None and _is_aggregate(node):
                return self._total(node, keys)
            if keys is not None and self.aggregated and not is_row_wise(replace(node, args=())):
                return self._refuse(
                    node,
                    "over keys it looks at later rows, and the aggregate around it needs its result",
                    "filter(rank(...).over(k) <= n), or a group_by of those keys below",
                )
        return node.with_children(*(self.resolve(child, keys) for child in node.children()))

    def inputs(self, node: ExprNode, keys: tuple[ExprNode, ...]) -> ExprNode:
        """As `resolve`, with aggregates left as they are."""
        if _is_running(node):
            return self.resolve(node, keys)
        return node.with_children(*(self.inputs(child, keys) for child in node.children()))

    def _over(self, node: FunctionNode, keys: tuple[ExprNode, ...] | None) -> ExprNode:
        inner, *partition = node.args
        order = partition.pop() if node.options.get("ordered") else None
        part = describe(node)
        if keys is not None:
            return self._refuse(node, "an `over` inside an `over`", "the inner one as a column of its own")
        if (mapping := node.options.get("mapping_strategy")) is not None:
            return self._refuse(
                node, f"mapping_strategy='{mapping}' gives other rows than it was given", "the default"
            )
        if order is not None:
            columns = self._order_columns(order, part, node)
            if columns is None:
                return LiteralNode(node.dtype, None)
            self.order_by = columns
        own = tuple(one for one in partition if not isinstance(one, LiteralNode))
        try:
            if order is not None and (value := _value_of_last_peer(inner, order)) is not None:
                return self._of_peers("last", self.resolve(value, own), own)
            return self.resolve(inner, own)
        finally:
            self.order_by = ()

    def _of_peers(self, aggregate: str, value: ExprNode, keys: tuple[ExprNode, ...]) -> ExprNode:
        """The first or last value of the rows of a key that have the same time."""
        time = str(self.frame.event_time)
        peers = (*keys, ColumnNode(self.frame.schema[time], time))
        return self._total_of_time(FunctionNode(value.dtype, aggregate, (value,)), peers)

    def _rank_of_time(self, node: FunctionNode, keys: tuple[ExprNode, ...]) -> ExprNode | None:
        """`time.rank(method)`: how many rows of the key are earlier; None: a rank of something else."""
        value = node.args[0]
        is_time = isinstance(value, ColumnNode) and value.name == self.frame.event_time
        if not is_time or node.options.get("descending"):
            return None
        number: Json = {"kind": "row_number", "start": 1}
        match node.options.get("method"):
            case "ordinal":
                return self._request(node, keys, number, None)
            case "min" | "max" as method:
                peers = "first" if method == "min" else "last"
                return self._of_peers(peers, self._request(node, keys, number, None), keys)
            case "dense":
                runs = self._request(node, keys, {"kind": "rle_id"}, value)
                return BinaryNode(node.dtype, "add", runs, LiteralNode(node.dtype, 1))
            case _:
                return None

    def _order_columns(self, order: ExprNode, part: str, node: FunctionNode) -> tuple[str, ...] | None:
        """The columns of `order_by`, of which the first is the event time; None: it was refused."""
        frame, refusals = self.frame, self.building.refusals
        if node.options.get("descending"):
            refusals.add(
                part, "rows would come before those that are earlier", "order_by without descending=True"
            )
            return None
        if isinstance(order, HiddenNode):
            refusals.add(
                part,
                "Polars does not show which columns a list in order_by has",
                "a struct of them: order_by=pl.struct('ts', 'id')",
            )
            return None
        is_struct = isinstance(order, FunctionNode) and order.name == "struct"
        columns = order.children() if is_struct else (order,)
        names = tuple(one.name for one in columns if isinstance(one, ColumnNode))
        if len(names) == len(columns) and names[0] == frame.event_time:
            return names
        if len(names) == len(columns) == 1 and names[0] in sources_of(frame):
            # A coarser time leaves rows as they stand, which is the logical order or none.
            return ()
        rewrite = "with_watermark(column, delay=...) on the column of order_by"
        if frame.event_time is not None:
            rewrite = (
                f"order_by='{frame.event_time}' alone; rows of equal time stand in the order of the input; "
                f"or order_by=pl.struct('{frame.event_time}', ...) with the columns that decide between them"
            )
        refusals.add(part, "rows are in order by their event time first", rewrite)
        return None

    def _running(self, node: FunctionNode, keys: tuple[ExprNode, ...] | None) -> ExprNode:
        if (start := _row_number(node)) is not None:
            return self._request(node, keys, {"kind": "row_number", "start": start}, None)
        node = replace(node, args=tuple(self.resolve(child, keys) for child in node.args))
        value = node.args[0]
        if node.name in _NUMBERS_ONLY and not _is_number(value.dtype):
            return self._refuse(
                node,
                f"the engine has no `{node.name}` of {value.dtype}",
                "a cast to Float64 or Int64 below it",
            )
        match node.name:
            case name if name in _PLAIN:
                return self._request(node, keys, {"kind": name}, value)
            case "shift":
                return self._shift(node, keys)
            case "diff":
                return self._difference(node, keys)
            case "pct_change":
                return self._change(node, keys)
            case "fill_null":
                return self._request(
                    node, keys, {"kind": "forward_fill", "limit": node.options.get("limit")}, value
                )
            case "ewm_mean":
                wanted = ("alpha", "adjust", "ignore_nulls", "min_samples")
                options = {name: node.options[name] for name in wanted}
                return self._request(node, keys, {"kind": "ewm_mean", **options}, value)
            case "ewm_mean_by":
                return self._mean_by_time(node, keys)
            case name if name in _ROLLING:
                return self._last_rows(node, keys)
            case name if name.endswith("_by") and name.removesuffix("_by") in _ROLLING:
                return self._last_period(node, keys)
            case _:
                known = sorted(_PLAIN | _ROLLING.keys() | {"shift", "diff", "forward_fill", "ewm_mean"})
                return self._refuse(
                    node, f"`{node.name}` arrives in a later release", f"one of {', '.join(known)}"
                )

    def _shift(self, node: FunctionNode, keys: tuple[ExprNode, ...] | None) -> ExprNode:
        value, steps, *fill = node.args
        rows = _integer(steps)
        if rows is None or rows < 0:
            return self._refuse(node, "the number of rows must be a constant of 0 or more", "shift(1)")
        if rows == 0:
            return value
        if any(_has_column(one) for one in fill):
            return self._refuse(node, "the fill value must be a constant", "fill_null(...) above it")
        filled = [CastNode(node.dtype, one, strict=False, wrap=False) for one in fill]
        return self._request(
            node, keys, {"kind": "shift", "rows": rows}, value, fill=filled[0] if fill else None
        )

    def _difference(self, node: FunctionNode, keys: tuple[ExprNode, ...] | None) -> ExprNode:
        value, steps = node.args
        if node.options.get("null_behavior") == "drop":
            return self._refuse(
                node, "null_behavior='drop' gives fewer rows than it was given", "the default"
            )
        if node.dtype.is_numeric() and value.dtype != node.dtype:
            value = CastNode(node.dtype, value, strict=False, wrap=False)
        before = self._shift(FunctionNode(value.dtype, "shift", (value, steps)), keys)
        return BinaryNode(node.dtype, "sub", value, before)

    def _change(self, node: FunctionNode, keys: tuple[ExprNode, ...] | None) -> ExprNode:
        value, steps = node.args
        if value.dtype != node.dtype:
            value = CastNode(node.dtype, value, strict=False, wrap=False)
        before = self._shift(FunctionNode(value.dtype, "shift", (value, steps)), keys)
        return BinaryNode(node.dtype, "true_div", BinaryNode(node.dtype, "sub", value, before), before)

    def _mean_by_time(self, node: FunctionNode, keys: tuple[ExprNode, ...] | None) -> ExprNode:
        value, time = node.args
        half_life = node.options["half_life"]
        if not self._is_event_time(node, time):
            return LiteralNode(node.dtype, None)
        function = {"kind": "ewm_mean_by", "half_life": duration_to_json(half_life, time.dtype.is_integer())}
        return self._request(node, keys, function, value)

    def _last_rows(self, node: FunctionNode, keys: tuple[ExprNode, ...] | None) -> ExprNode:
        options = node.options
        if options["weights"] is not None:
            return self._refuse(node, "weights arrive in a later release", "ewm_mean(...), or no weights")
        frame = {"rows": options["window_size"]}
        return self._fold(node, keys, frame, options["min_samples"])

    def _last_period(self, node: FunctionNode, keys: tuple[ExprNode, ...] | None) -> ExprNode:
        options = node.options
        period = options["window_size"]
        frame = self.window(describe(node), node.args[1], period, _negative(period), options["closed"])
        if frame is None:
            return LiteralNode(node.dtype, None)
        samples = options["min_samples"]
        # Polars gives 0 for the sum of a window without values, unless more than one is asked for.
        return self._fold(node, keys, frame, 0 if node.name == "rolling_sum_by" and samples <= 1 else samples)

    def _fold(
        self, node: FunctionNode, keys: tuple[ExprNode, ...] | None, frame: Json, min_samples: int
    ) -> ExprNode:
        value = node.args[0]
        fold: Json = _ROLLING[node.name.removesuffix("_by")]
        parameters = node.options["parameters"]
        is_extreme = fold in ("min_or_nan", "max_or_nan")
        fits = _is_number(value.dtype) and (fold == "sum" or node.dtype.is_float())
        if not (is_extreme or fits):
            return self._refuse(
                node, f"the engine has no `{node.name}` of {value.dtype}", "a cast to Float64 below it"
            )
        if fold in ("var", "std"):
            fold = {fold: {"ddof": parameters[0]}}
        elif fold == "quantile":
            fold = {"quantile": {"quantile": parameters[0], "interpolation": parameters[1]}}
            if value.dtype != pl.Float64():
                value = CastNode(pl.Float64(), value, strict=False, wrap=False)
        function = {"kind": "rolling", "fold": fold, "frame": frame, "min_samples": min_samples}
        return self._request(node, keys, function, value)

    def _rolling(self, node: FunctionNode, keys: tuple[ExprNode, ...]) -> ExprNode:
        """`aggregate.rolling(time, period=)`."""
        inner, time = node.args
        options = node.options
        window = self.window(describe(node), time, options["period"], options["offset"], options["closed"])
        return self.aggregates(self.resolve(inner, None), keys, window)

    def aggregates(self, expr: ExprNode, keys: tuple[ExprNode, ...], window: Json) -> ExprNode:
        """An expression of aggregates over the window of each row; `window` None: it was refused."""
        lifted = self._lifted(expr)
        if window is None or (not lifted.aggregates and lifted.above is expr):
            return lifted.above
        inputs = {one["name"]: one["expr"] for one in lifted.pre}
        self._compute(inputs)
        names: dict[str, str] = {}
        for one in lifted.aggregates:
            dtype = dtype_from_json(one["dtype"])
            text = f"{one['text']}.rolling(period='{_window_text(window)}')"
            if one["function"] not in _AGGREGATES or not _has_fold(one, self.schema):
                self.building.refusals.add(
                    one["text"],
                    "the engine has no such window that ends at each row yet",
                    f"one of {', '.join(sorted(_AGGREGATES))} of numbers",
                )
                continue
            function = {
                "function": {
                    "kind": "rolling",
                    "fold": one["function"],
                    "frame": window,
                    "min_samples": 0,
                },
                "column": one["column"],
                "filter": one["filter"],
                "text": text,
                "dtype": one["dtype"],
            }
            names[one["name"]] = self._column(
                function, keys, dtype, inputs, needs_order=one["function"] in _IN_ORDER
            )
        return _renamed(lifted.above, names)

    def _lifted(self, expr: ExprNode) -> LiftedAggregates:
        """The aggregates of one window or key: others have names of their own."""
        lifted = lift_aggregates(expr, self.context)
        generated = self.context.generated
        for known in [known for known in generated if known.startswith("agg ")]:
            generated[f"of number {len(generated)}"] = generated.pop(known)
        return lifted

    def _total(self, node: FunctionNode, keys: tuple[ExprNode, ...]) -> ExprNode:
        """An aggregate of all rows of a key: they are all known only when the key ends."""
        if self._time_key(keys) is not None:
            return self._total_of_time(node, keys)
        if node.name == "first" and not node.options.get("ignore_nulls"):
            value = self.resolve(_without_slices(node.args[0]), keys)
            return self._request(node, keys, {"kind": "first"}, value)
        running = _TOTALS.get(node.name, "cum_sum(), cum_min(), cum_max() or cum_count()")
        return self._refuse(
            node,
            f"`{node.name}` over a key needs all its rows, and a stream has no last one",
            f"so far: {running}; of a time: the event time, or a column that follows it, among the keys",
        )

    def _time_key(self, keys: tuple[ExprNode, ...]) -> str | None:
        """The key that ends when the watermark has passed it: the event time, or a column that follows it."""
        names = [one.name for one in keys if isinstance(one, ColumnNode)]
        followed = [name for name in sources_of(self.frame) if name in names]
        return next(iter(followed), None)

    def _total_of_time(self, node: FunctionNode, keys: tuple[ExprNode, ...]) -> ExprNode:
        lifted = self._lifted(node)
        inputs = {one["name"]: one["expr"] for one in lifted.pre}
        self._compute(inputs)
        for one in lifted.aggregates:
            in_order = one["function"] in _IN_ORDER
            names = self._key_names(keys)
            self._refuse_input(one["text"], needs_order=in_order, keys=tuple(names))
            self.schema[one["name"]] = dtype_from_json(one["dtype"])
            level = max(
                (self._level(name, tree, None) for name, tree in {**inputs, **names}.items()), default=0
            )
            self.computed[one["name"]] = (level + 1, None)
            self.totals.append(_Request(level, tuple(names), one))
        return lifted.above

    def _key_names(self, keys: tuple[ExprNode, ...]) -> dict[str, Json]:
        """Columns that hold the keys, and what each is."""
        names: dict[str, Json] = {}
        for key in keys:
            tree = translate(key, self.context)
            names[key.name if isinstance(key, ColumnNode) else self._name_of(tree)] = tree
        self._compute(names)
        return names

    def window(self, part: str, time: ExprNode, period: Parts, offset: Parts, closed: str) -> Json:
        """The window of each row, or None if it was refused."""
        refusals = self.building.refusals
        if not self._is_event_time(part, time):
            return None
        if offset != _negative(period):
            refusals.add(
                part,
                f"with offset='{duration_text(offset)}' the window does not end at its row",
                "the default offset, minus the period",
            )
            return None
        if has_dst(time.dtype) and any(period[:3]):
            refusals.add(
                part,
                "a calendar period has no fixed length on a time zone with daylight saving",
                "dt.convert_time_zone('UTC') first, or a period in hours",
            )
            return None
        return {"time": {"period": duration_to_json(period, time.dtype.is_integer()), "closed": closed}}

    def _is_event_time(self, part: str | FunctionNode, time: ExprNode) -> bool:
        """True if a column is the event time; else that is noted."""
        frame = self.frame
        if isinstance(time, ColumnNode) and time.name == frame.event_time:
            return True
        text = part if isinstance(part, str) else describe(part)
        rewrite = f".stream.with_watermark({describe(time)}, delay=...) below it"
        if frame.event_time is not None:
            rewrite = f"the event time '{frame.event_time}'"
        self.building.refusals.add(text, f"{describe(time)} is not the event time of its input", rewrite)
        return False

    def _request(
        self,
        node: FunctionNode,
        keys: tuple[ExprNode, ...] | None,
        function: Json,
        value: ExprNode | None,
        *,
        fill: ExprNode | None = None,
    ) -> ExprNode:
        """Notes a function; gives the column that will hold it."""
        if value is not None and not _has_column(value):
            return self._refuse(node, "Polars takes a constant once, not once for each row", "a column")
        before = len(self.building.refusals)
        columns: dict[str, str | None] = {"column": None, "filter": None, "fill": None}
        inputs: dict[str, Json] = {}
        for slot, expr in (("column", value), ("fill", fill)):
            if expr is None:
                continue
            tree = translate(expr, self.context)
            name = expr.name if isinstance(expr, ColumnNode) else self._name_of(tree)
            inputs[name] = tree
            columns[slot] = name
        if len(self.building.refusals) > before:
            return LiteralNode(node.dtype, None)
        self._compute(inputs)
        over = f".over({', '.join(describe(key) for key in keys)})" if keys else ""
        one = {
            "function": function,
            **columns,
            "text": describe(node) + over,
            "dtype": dtype_to_json(node.dtype),
        }
        time_only = function["kind"] == "rolling" and "time" in function["frame"]
        name = self._column(one, keys or (), node.dtype, inputs, needs_order=not time_only)
        return ColumnNode(node.dtype, name)

    def _column(
        self,
        function: Json,
        keys: tuple[ExprNode, ...],
        dtype: pl.DataType,
        inputs: Mapping[str, Json],
        *,
        needs_order: bool,
    ) -> str:
        """The column of a function, which is made once."""
        key_inputs = self._key_names(keys)
        names = tuple(sorted(key_inputs))
        self._refuse_input(function["text"], needs_order=needs_order, keys=names)
        # Windows of time hold the same rows in any order.
        ties = self.order_by[1:] if needs_order else ()
        level = max(
            (self._level(one, tree, names) for one, tree in {**inputs, **key_inputs}.items()), default=0
        )
        known = json.dumps([names, ties, {**function, "text": ""}], sort_keys=True)
        if known not in self.made:
            self.made[known] = f"\x01run{len(self.made)}"
            name = self.made[known]
            self.requests.append(_Request(level, names, {"name": name, **function}, ties))
            self.schema[name] = dtype
            self.computed[name] = (level + 1, None)
            self.rounds[name] = (level, names)
        return self.made[known]

    def _name_of(self, tree: Json) -> str:
        """The name of a computed column, one for equal expressions."""
        known = f"value {json.dumps(tree, sort_keys=True)}"
        generated = self.context.generated
        return generated.setdefault(known, f"\x01value{len(generated)}")

    def _level(self, name: str, tree: Json, keys: tuple[str, ...] | None) -> int:
        """The first round in which a column is there; a function of the same keys may be read in its own.

        `keys` None: by another operator.
        """
        level, made_by = self.rounds.get(name, (0, None))
        if keys is not None and made_by == keys and tree == {"kind": "column", "name": name}:
            return level
        return max((self.computed[one][0] for one in _columns(tree) if one in self.computed), default=0)

    def _compute(self, inputs: Mapping[str, Json]) -> None:
        """Notes columns to compute."""
        for name, tree in inputs.items():
            level = max((self.computed[one][0] for one in _columns(tree) if one in self.computed), default=0)
            if tree != {"kind": "column", "name": name} and name not in self.computed:
                self.computed[name] = (level, tree)
                self.schema[name] = types_of({name: tree}, pl.Schema(self.schema))[name]

    def _refuse_input(self, text: str, *, needs_order: bool, keys: tuple[str, ...]) -> None:
        frame, refusals = self.frame, self.building.refusals
        if frame.upsert_key is not None:
            refusals.add(
                f"{text} above a changing frame",
                "earlier answers would have to be taken back, which arrives in a later release",
                '.stream.emit("close") on a window below',
            )
        elif frame.event_time is None and frame.endless:
            refusals.add(
                text,
                "rows of an endless input without event time have no order",
                ".stream.with_watermark(column, delay=...) below it",
            )
        elif needs_order and frame.order != "logical" and not self._is_ordered(keys):
            rewrite = (
                "one .stream.with_watermark above the concat, or the function below the join or group_by"
            )
            if frame.event_time is not None:
                rewrite += (
                    f", or .over(keys, order_by=pl.struct('{frame.event_time}', ...)), which orders them"
                )
            refusals.add(text, "it depends on the order of rows, and its input has none", rewrite)

    def _is_ordered(self, keys: tuple[str, ...]) -> bool:
        """True if `order_by` says of any two rows of a key which comes first.

        With further columns behind the event time the user says so.
        """
        distinct = self.frame.distinct_by
        return len(self.order_by) > 1 or (
            bool(self.order_by) and distinct is not None and {*keys, *self.order_by}.issuperset(distinct)
        )

    def _refuse(self, node: FunctionNode, reason: str, rewrite: str) -> ExprNode:
        self.building.refusals.add(describe(node), reason, rewrite)
        return LiteralNode(node.dtype, None)

    def frame_with_columns(self) -> Frame:
        """The frame with all columns that were asked for."""
        frame = self.frame
        self._refuse_two_times()
        for level in sorted({one.level for one in (*self.requests, *self.totals)}):
            frame = self._with_totals(self._with_computed(frame, level), level)
            now = [one for one in self.requests if one.level == level]
            for keys, ties in dict.fromkeys((one.keys, one.ties) for one in now):
                functions = [one.function for one in now if (one.keys, one.ties) == (keys, ties)]
                added = {one["name"]: self.schema[one["name"]] for one in functions}
                schema = pl.Schema({**frame.schema, **added})
                node = self.building.graph.add(
                    "running",
                    [frame.node],
                    schema,
                    event_time=frame.event_time,
                    fields={"keys": list(keys), "functions": functions, **_tied(ties)},
                )
                frame = replace(frame, node=node, schema=schema, positioned=False)
        return frame

    def _refuse_two_times(self) -> None:
        """A key that follows the event time takes its place, so nothing beside it can need that."""
        moved = [one for one in self.totals if self.frame.event_time not in one.keys]
        by_time = [one for one in self.requests if _reads_time(one.function["function"])]
        if moved and by_time:
            self.building.refusals.add(
                f"{moved[0].function['text']} over a column of the event time, beside windows of time",
                "both wait for the watermark, one for that column and one for the event time",
                "two with_columns(...), the windows of time in the first",
            )

    def _with_totals(self, frame: Frame, level: int) -> Frame:
        now = [one for one in self.totals if one.level == level]
        for keys in dict.fromkeys(one.keys for one in now):
            frame = self._timed_by(frame, keys)
            aggregates = [one.function for one in now if one.keys == keys]
            added = {one["name"]: self.schema[one["name"]] for one in aggregates}
            schema = pl.Schema({**frame.schema, **added})
            fields = {"keys": list(keys), "aggregates": aggregates}
            node = self.building.graph.add(
                "over", [frame.node], schema, event_time=frame.event_time, fields=fields
            )
            frame = replace(frame, node=node, schema=schema, positioned=False)
        return frame

    def _timed_by(self, frame: Frame, keys: tuple[str, ...]) -> Frame:
        """The frame with one of the keys as event time."""
        sources = sources_of(frame)
        if frame.event_time in keys or frame.event_time is None:
            return frame
        key = next(name for name in sources if name in keys)
        exprs = {name: {"kind": "column", "name": name} for name in frame.schema}
        exprs[key] = translate(sources[key], self.context)
        node = self.building.graph.add(
            "project",
            [frame.node],
            frame.schema,
            event_time=key,
            fields={"exprs": [{"name": name, "expr": expr} for name, expr in exprs.items()]},
        )
        return replace(frame, node=node, event_time=key, derived={})

    def _with_computed(self, frame: Frame, level: int) -> Frame:
        """Adds the columns that a round reads."""
        new = {
            name: tree
            for name, (at, tree) in self.computed.items()
            if tree is not None and at <= level and name not in frame.schema
        }
        if not new:
            return frame
        schema = pl.Schema({**frame.schema, **{name: self.schema[name] for name in new}})
        exprs = {name: {"kind": "column", "name": name} for name in frame.schema} | new
        node = self.building.graph.add(
            "project",
            [frame.node],
            schema,
            event_time=frame.event_time,
            fields={"exprs": [{"name": name, "expr": expr} for name, expr in exprs.items()]},
        )
        return replace(frame, node=node, schema=schema)


def _value_of_last_peer(node: ExprNode, order: ExprNode) -> ExprNode | None:
    """What SQL's windows by RANGE take from the last of the rows of equal time, as Polars writes it."""
    match node:
        case FunctionNode(
            name="gather",
            args=(
                value,
                FunctionNode(name="cum_min", args=(WhenNode(predicate=predicate),), options=options),
            ),
        ) if options.get("reverse"):
            changes = [
                one
                for one in predicate.walk()
                if isinstance(one, BinaryNode) and one.op == "ne_missing" and one.left == order
            ]
            return value if changes else None
        case _:
            return None


def _filled_rank(node: FunctionNode) -> FunctionNode | None:
    """SQL's rank, which gives nulls a place; times have none."""
    match node:
        case FunctionNode(name="fill_null", args=(CastNode(input=FunctionNode(name="rank") as rank), _)):
            return rank
        case _:
            return None


def _tied(ties: tuple[str, ...]) -> dict[str, Json]:
    return {"ties": [{"column": name} for name in ties]} if ties else {}


def _is_running(node: ExprNode) -> bool:
    if not isinstance(node, FunctionNode):
        return False
    verdict = classify(node)
    classes = (FunctionClass.RUNNING, FunctionClass.BY_INNER)
    return verdict is not None and verdict.function_class in classes


def _is_aggregate(node: FunctionNode) -> bool:
    verdict = classify(node)
    return verdict is not None and verdict.function_class is FunctionClass.AGGREGATE


def _is_number(dtype: pl.DataType) -> bool:
    is_wide = isinstance(dtype, pl.Decimal | pl.Int128 | pl.UInt128)
    return (dtype.is_numeric() and not is_wide) or isinstance(dtype, pl.Boolean | pl.Duration)


def _has_column(expr: ExprNode) -> bool:
    return any(isinstance(node, ColumnNode) for node in expr.walk())


def _has_fold(aggregate: Json, schema: Mapping[str, pl.DataType]) -> bool:
    """True if the engine has the aggregate for windows that slide, for the type of its column."""
    if aggregate["function"] not in ("sum", "mean"):
        return True
    is_mean = aggregate["function"] == "mean"
    fits = not is_mean or dtype_from_json(aggregate["dtype"]).is_float()
    return fits and _is_number(schema[aggregate["column"]])


def _without_slices(expr: ExprNode) -> ExprNode:
    """Polars writes `(a + b).first()` as the first of `a.slice(0, 1) + b.slice(0, 1)`."""
    if (
        isinstance(expr, FunctionNode)
        and expr.name == "slice"
        and [_integer(one) for one in expr.args[1:]] == [0, 1]
    ):
        return expr.args[0]
    return expr.with_children(*(_without_slices(child) for child in expr.children()))


def _reads_time(function: Json) -> bool:
    return function["kind"] == "ewm_mean_by" or "time" in function.get("frame", {})


def _integer(expr: ExprNode) -> int | None:
    """A constant whole number."""
    inner = expr.input if isinstance(expr, CastNode) else expr
    value = inner.value if isinstance(inner, LiteralNode) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _row_number(node: FunctionNode) -> int | None:
    """The start of `int_range(start, pl.len() + start)`, which numbers the rows."""
    if node.name != "int_range" or node.options.get("step", 1) != 1 or len(node.args) != 2:
        return None
    start, end = _integer(node.args[0]), node.args[1]
    while isinstance(end, CastNode):
        end = end.input
    shift: int | None = 0
    if isinstance(end, BinaryNode) and end.op == "add":
        shift = _integer(end.right)
        end = end.left
        while isinstance(end, CastNode):
            end = end.input
    is_len = isinstance(end, FunctionNode) and end.name == "len" and not end.args
    return start if is_len and start is not None and start == shift else None


def _negative(parts: Parts) -> Parts:
    months, weeks, days, ticks, index, negative = parts
    return months, weeks, days, ticks, index, not negative


def _window_text(window: Json) -> str:
    period = window["time"]["period"]
    parts = (period["months"], period["weeks"], period["days"], period["nanoseconds"], period["index"], False)
    closed = window["time"]["closed"]
    return duration_text(parts) + ("" if closed == "right" else f", closed='{closed}'")


def _renamed(expr: ExprNode, names: Mapping[str, str]) -> ExprNode:
    if isinstance(expr, ColumnNode):
        return replace(expr, name=names.get(expr.name, expr.name))
    return expr.with_children(*(_renamed(child, names) for child in expr.children()))


def _columns(tree: Json) -> Iterator[str]:
    """The columns that an expression of the plan reads."""
    if isinstance(tree, list):
        for one in tree:
            yield from _columns(one)
    elif isinstance(tree, dict):
        if tree.get("kind") == "column":
            yield tree["name"]
        for one in tree.values():
            yield from _columns(one)
