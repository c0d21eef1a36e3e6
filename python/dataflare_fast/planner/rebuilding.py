"""Writes an expression of the plan as a `pl.Expr` again.

Not here: evaluating it (`residual.py`), and the words of a refusal. Called by the planner, which checks that
Polars gives the result the same type, and by `ResidualEvaluator`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias, cast

import polars as pl

from dataflare_fast.planner.classes import names_of
from dataflare_fast.planner.literals import literal_expression, literal_values
from dataflare_fast.planner.rebuilding_groups import GROUP_BUILDERS
from dataflare_fast.planner.schema import Json, dtype_from_json

__all__ = ["RebuildError", "rebuild"]


class RebuildError(Exception):
    """A function, or one use of it, that cannot be written as a `pl.Expr` again; the text says which."""


def rebuild(tree: Json) -> pl.Expr:
    """Writes a tree of the plan as a `pl.Expr`.

    Raises:
        RebuildError: a function that this module does not know.
    """
    match tree["kind"]:
        case "column":
            return pl.col(tree["name"])
        case "literal":
            return literal_expression(tree)
        case "binary":
            return _OPERATORS[tree["op"]](rebuild(tree["left"]), rebuild(tree["right"]))
        case "cast":
            return rebuild(tree["input"]).cast(
                dtype_from_json(tree["dtype"]), strict=tree["strict"], wrap_numerical=tree.get("wrap", False)
            )
        case "when":
            return (
                pl.when(rebuild(tree["predicate"]))
                .then(rebuild(tree["then"]))
                .otherwise(rebuild(tree["otherwise"]))
            )
        case "residual":
            return rebuild(tree["expr"])
        case _:
            return _rebuild_function(tree)


class _Call(NamedTuple):
    """One function of the plan, ready to be written again."""

    name: str
    trees: list[Json]
    args: list[pl.Expr]
    options: dict[str, Any]
    dtype: pl.DataType

    def values(self, index: int) -> pl.Series:
        """The constant list at `index`."""
        tree = self.trees[index]
        if tree["kind"] != "literal" or not isinstance(tree["value"], list):
            raise RebuildError(f"{self.name} with a mapping from columns")
        return _list_values(tree)


_Builder: TypeAlias = Callable[[_Call], pl.Expr]
_AnyFunction: TypeAlias = Callable[..., pl.Expr]
"""Options come from the plan; Polars' overloads on them say nothing here."""


def _rebuild_function(tree: Json) -> pl.Expr:
    call = _Call(
        tree["name"],
        tree["args"],
        [rebuild(arg) for arg in tree["args"]],
        dict(tree.get("options") or {}),
        dtype_from_json(tree["dtype"]),
    )
    builder = _BUILDERS.get(call.name)
    if builder is None:
        builder = GROUP_BUILDERS.get(call.name, _method)
    return builder(call)


def _method(call: _Call) -> pl.Expr:
    """The usual shape: `first.namespace.name(*others, **options)`."""
    if call.name not in _PLAIN_METHODS:
        raise RebuildError(call.name)
    target: Any = call.args[0]
    for part in call.name.split("."):
        target = getattr(target, part)
    return cast("_AnyFunction", target)(*call.args[1:], **call.options)


def _list_values(tree: Json) -> pl.Series:
    return literal_values(tree["value"], dtype_from_json(tree["dtype"]["list"]))


_OPERATORS: Final[Mapping[str, Callable[[pl.Expr, pl.Expr], pl.Expr]]] = {
    "eq": pl.Expr.eq,
    "eq_missing": pl.Expr.eq_missing,
    "ne": pl.Expr.ne,
    "ne_missing": pl.Expr.ne_missing,
    "lt": pl.Expr.lt,
    "le": pl.Expr.le,
    "gt": pl.Expr.gt,
    "ge": pl.Expr.ge,
    "add": pl.Expr.add,
    "sub": pl.Expr.sub,
    "mul": pl.Expr.mul,
    "true_div": pl.Expr.truediv,
    "floor_div": pl.Expr.floordiv,
    "mod": pl.Expr.mod,
    "and": pl.Expr.and_,
    "or": pl.Expr.or_,
    "xor": pl.Expr.xor,
}

_PLAIN_METHODS: Final[frozenset[str]] = names_of(
    """abs arccos arccosh arcsin arcsinh arctan arctanh bitwise_count_ones bitwise_count_zeros
    bitwise_leading_ones bitwise_leading_zeros bitwise_trailing_ones bitwise_trailing_zeros cbrt ceil cos
    cosh cot degrees erf erfc exp fill_null floor hash is_between is_close is_finite is_in is_infinite
    is_nan is_not_nan is_not_null is_null log log1p neg not_ pow radians repeat_by round round_sig_figs sign
    sin sinh sqrt tan tanh to_physical truncate truncdiv

    str.contains str.contains_any str.count_matches str.decode str.encode str.ends_with str.escape_regex
    str.extract str.extract_all str.extract_many str.find str.find_many str.head str.json_path_match
    str.len_bytes str.len_chars str.pad_end str.pad_start str.replace_many str.reverse str.slice str.split
    str.split_exact str.splitn str.starts_with str.strip_chars str.strip_chars_end str.strip_chars_start
    str.strip_prefix str.strip_suffix str.tail str.to_decimal str.to_lowercase str.to_titlecase
    str.to_uppercase str.zfill

    dt.base_utc_offset dt.cast_time_unit dt.century dt.combine dt.convert_time_zone dt.date dt.day
    dt.days_in_month dt.dst_offset dt.hour dt.is_leap_year dt.iso_year dt.microsecond dt.millennium
    dt.millisecond dt.minute dt.month dt.month_end dt.month_start dt.nanosecond dt.offset_by dt.ordinal_day
    dt.quarter dt.round dt.second dt.time dt.timestamp dt.to_string dt.total_days dt.total_hours
    dt.total_microseconds dt.total_milliseconds dt.total_minutes dt.total_nanoseconds dt.total_seconds
    dt.truncate dt.week dt.weekday dt.year

    list.arg_max list.arg_min list.contains list.count_matches list.diff list.drop_nulls list.gather
    list.gather_every list.get list.join list.len list.max list.mean list.median list.min
    list.set_difference list.set_intersection list.set_symmetric_difference list.set_union list.shift
    list.slice list.sort list.std list.sum list.to_array list.to_struct list.var

    arr.arg_max arr.arg_min arr.contains arr.count_matches arr.dot arr.get arr.join arr.len arr.max arr.mean
    arr.median arr.min arr.shift arr.sort arr.std arr.sum arr.to_list arr.to_struct arr.var

    struct.field struct.json_encode struct.rename_fields name.prefix_fields name.suffix_fields"""
)
"""Functions whose arguments and options are those of the method, in its order and under its names."""


def _clip(call: _Call) -> pl.Expr:
    bounds = iter(call.args[1:])
    lower = next(bounds) if call.options["has_lower_bound"] else None
    upper = next(bounds) if call.options["has_upper_bound"] else None
    return call.args[0].clip(lower, upper)


def _cut(call: _Call) -> pl.Expr:
    with warnings.catch_warnings():
        # Deprecated in Polars 2.1, and still what the user wrote.
        warnings.simplefilter("ignore", DeprecationWarning)
        return call.args[0].cut(**call.options)


def _bin_intervals(call: _Call) -> pl.Expr:
    options = dict(call.options)
    return call.args[0].bin_intervals(_list_values(options.pop("breakpoints")), **options)


def _replace(call: _Call) -> pl.Expr:
    return call.args[0].replace(call.values(1), call.values(2))


def _replace_strict(call: _Call) -> pl.Expr:
    default = {"default": call.args[3]} if len(call.args) > 3 else {}
    return call.args[0].replace_strict(call.values(1), call.values(2), return_dtype=call.dtype, **default)


def _str_replace(call: _Call) -> pl.Expr:
    count, literal = call.options["n"], call.options["literal"]
    if count < 0:
        return call.args[0].str.replace_all(call.args[1], call.args[2], literal=literal)
    return call.args[0].str.replace(call.args[1], call.args[2], literal=literal, n=count)


def _strptime(call: _Call) -> pl.Expr:
    strptime: _AnyFunction = call.args[0].str.strptime
    return strptime(call.dtype, ambiguous=call.args[1], **call.options)


def _date_replace(call: _Call) -> pl.Expr:
    names = ("year", "month", "day", "hour", "minute", "second", "microsecond", "ambiguous")
    replace: _AnyFunction = call.args[0].dt.replace
    return replace(**dict(zip(names, call.args[1:], strict=True)))


def _replace_time_zone(call: _Call) -> pl.Expr:
    return call.args[0].dt.replace_time_zone(
        call.options["time_zone"], ambiguous=call.args[1], non_existent=call.options["non_existent"]
    )


def _datetime(call: _Call) -> pl.Expr:
    *parts, ambiguous = call.args
    return cast("_AnyFunction", pl.datetime)(*parts, ambiguous=ambiguous, **call.options)


def _duration(call: _Call) -> pl.Expr:
    names = ("weeks", "days", "hours", "minutes", "seconds", "milliseconds", "microseconds", "nanoseconds")
    return pl.duration(**dict(zip(names, call.args, strict=True)), time_unit=call.options["time_unit"])


def _struct(call: _Call) -> pl.Expr:
    # The visitor drops the names of arguments; the type still has them.
    if not isinstance(call.dtype, pl.Struct):
        raise RebuildError("struct of an unknown type")
    return pl.struct(arg.alias(field.name) for arg, field in zip(call.args, call.dtype.fields, strict=True))


def _format(call: _Call) -> pl.Expr:
    """`pl.format` is a concatenation; written as one, braces in the text need no escape."""
    text = call.options["text"].encode()
    pieces: list[pl.Expr] = []
    start = 0
    for end, arg in zip(call.options["insertions"], call.args, strict=True):
        pieces += [pl.lit(text[start:end].decode()), arg]
        start = end
    return pl.concat_str(*pieces, pl.lit(text[start:].decode()))


def _date_ranges(call: _Call) -> pl.Expr:
    return _ranges(call, pl.date_ranges)


def _datetime_ranges(call: _Call) -> pl.Expr:
    # The bounds already have unit and zone: Polars' plan casts them.
    return _ranges(
        call, pl.datetime_ranges, time_unit=getattr(getattr(call.dtype, "inner", None), "time_unit", None)
    )


def _time_ranges(call: _Call) -> pl.Expr:
    return _ranges(call, pl.time_ranges)


def _ranges(call: _Call, function: _AnyFunction, **options: Any) -> pl.Expr:
    arguments = call.options.get("arguments", "start_end_interval")
    if arguments != "start_end_interval":
        raise RebuildError(f"{call.name} of {arguments}")
    interval = _interval(call.options["interval"])
    return function(*call.args, interval=interval, closed=call.options["closed"], **options)


def _interval(parts: list[Any]) -> str:
    """Writes Polars' `(months, weeks, days, nanoseconds, negative, ..)` as `1mo2w`."""
    *counts, negative, _ = parts
    text = "".join(
        f"{count}{unit}" for count, unit in zip(counts, ("mo", "w", "d", "ns"), strict=True) if count
    )
    return ("-" if negative else "") + (text or "0ns")


def _int_ranges(call: _Call) -> pl.Expr:
    return cast("_AnyFunction", pl.int_ranges)(*call.args, dtype=dtype_from_json(call.options["dtype"]))


def _to_integer(call: _Call) -> pl.Expr:
    to_integer: _AnyFunction = call.args[0].str.to_integer
    return to_integer(base=call.args[1], dtype=call.dtype, strict=call.options["strict"])


def _linear_spaces(call: _Call) -> pl.Expr:
    if call.options["width"] is not None:
        raise RebuildError("linear_spaces with as_array=True")
    start, end, count = call.args
    return pl.linear_spaces(start, end, count, closed=call.options["closed"])


_BUILDERS: Final[Mapping[str, _Builder]] = {
    "all_horizontal": lambda call: pl.all_horizontal(call.args),
    "any_horizontal": lambda call: pl.any_horizontal(call.args),
    "arctan2": lambda call: pl.arctan2(*call.args),
    "arr.slice": lambda call: call.args[0].arr.slice(**call.options, as_array=True),
    "bin_intervals": _bin_intervals,
    "clip": _clip,
    "coalesce": lambda call: pl.coalesce(call.args),
    "concat_arr": lambda call: pl.concat_arr(call.args),
    "concat_list": lambda call: pl.concat_list(call.args),
    "concat_str": lambda call: pl.concat_str(call.args, **call.options),
    "cut": _cut,
    "date_ranges": _date_ranges,
    "datetime": _datetime,
    "datetime_ranges": _datetime_ranges,
    "dt.replace": _date_replace,
    "dt.replace_time_zone": _replace_time_zone,
    "duration": _duration,
    "format": _format,
    "int_ranges": _int_ranges,
    "linear_spaces": _linear_spaces,
    "list.agg": lambda call: call.args[0].list.agg(rebuild(call.options["expr"])),
    "max_horizontal": lambda call: pl.max_horizontal(call.args),
    "mean_horizontal": lambda call: pl.mean_horizontal(call.args, **call.options),
    "min_horizontal": lambda call: pl.min_horizontal(call.args),
    "reinterpret": lambda call: call.args[0].reinterpret(dtype=dtype_from_json(call.options["dtype"])),
    "replace": _replace,
    "replace_strict": _replace_strict,
    "str.extract_groups": lambda call: call.args[0].str.extract_groups(call.options["pattern"]),
    "str.json_decode": lambda call: call.args[0].str.json_decode(call.dtype),
    "str.normalize": lambda call: call.args[0].str.normalize(call.options["form"].upper()),
    "str.replace": _str_replace,
    "str.strptime": _strptime,
    "str.to_integer": _to_integer,
    "struct": _struct,
    "struct.drop": lambda call: call.args[0].struct.drop(
        call.options["fields"], strict=call.options["strict"]
    ),
    "sum_horizontal": lambda call: pl.sum_horizontal(call.args, **call.options),
    "time_ranges": _time_ranges,
}
"""Functions that are no method, or whose method takes other arguments than the visitor shows."""
