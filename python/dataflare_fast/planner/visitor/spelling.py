"""How Polars' visitor spells functions, and how users spell them.

`FUNCTIONS` maps the first item of a function's tuple (`StringFunction.Lowercase`, `negate`) to the method
(`str.to_lowercase`, `neg`) and to the names of the items behind it. Data only. Used by `expressions.py`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["AGGREGATES", "FIXED_OPTIONS", "FUNCTIONS", "OPERATORS", "Spelling"]


class Spelling(NamedTuple):
    """A method with the names of the options that the visitor gives, in its order."""

    name: str
    options: tuple[str, ...] = ()


def _same(*names: str, prefix: str = "", group: str = "") -> dict[str, Spelling]:
    """Functions without options whose names differ in case only: `StringFunction.LenBytes` is
    `str.len_bytes`.
    """
    return {f"{group}.{_camel(name)}" if group else name: Spelling(prefix + name) for name in names}


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


_TIME_TOTALS = ("days", "hours", "minutes", "seconds", "milliseconds", "microseconds", "nanoseconds")

FUNCTIONS: Final[dict[str, Spelling]] = {
    # Plain functions.
    **_same(
        "arccos", "arcsin", "arctan", "arccosh", "arcsinh", "arctanh", "cos", "cosh", "cot", "sin", "sinh"
    ),
    **_same(
        "tan", "tanh", "degrees", "radians", "exp", "log", "log1p", "sqrt", "cbrt", "ceil", "floor", "abs"
    ),
    **_same(
        "sign", "erf", "erfc", "pow", "coalesce", "repeat_by", "replace", "replace_strict", "to_physical"
    ),
    **_same("fill_null", "min_horizontal", "max_horizontal", "drop_nulls", "drop_nans", "null_count"),
    **_same("approx_n_unique", "product", "arg_min", "index_of", "max_by", "min_by", "pct_change", "rle"),
    **_same("rle_id", "unique_counts", "arg_unique", "extend_constant", "interpolate_by", "peak_max"),
    **_same("peak_min", "reverse", "shift"),
    "negate": Spelling("neg"),
    "atan2": Spelling("arctan2"),
    "as_struct": Spelling("struct"),
    "argwhere": Spelling("arg_where"),
    "shift_and_fill": Spelling("shift", ()),
    "truncate": Spelling("truncate", ("decimals",)),
    "round": Spelling("round", ("decimals", "mode")),
    "round_sig_figs": Spelling("round_sig_figs", ("digits",)),
    "clip": Spelling("clip", ("has_lower_bound", "has_upper_bound")),
    "hash": Spelling("hash", ("seed",)),
    "reinterpret": Spelling("reinterpret", ("dtype",)),
    "cut": Spelling("cut", ("breaks", "labels", "left_closed", "include_breaks")),
    "bin_intervals": Spelling(
        "bin_intervals", ("breakpoints", "labels", "right_closed", "include_intervals")
    ),
    "sum_horizontal": Spelling("sum_horizontal", ("ignore_nulls",)),
    "mean_horizontal": Spelling("mean_horizontal", ("ignore_nulls",)),
    "fill_null_with_strategy": Spelling("fill_null", ("strategy", "limit")),
    "set_sorted": Spelling("set_sorted", ("descending", "nulls_last")),
    # Aggregates, running and whole-column functions: only their names and what decides their class.
    "quantile": Spelling("quantile", ("interpolation",)),
    "skew": Spelling("skew", ("bias",)),
    "kurtosis": Spelling("kurtosis", ("fisher", "bias")),
    "entropy": Spelling("entropy", ("base", "normalize")),
    "corr": Spelling("corr", ("method", "ddof")),
    "arg_max": Spelling("arg_max", ("descending", "nulls_last")),
    "search_sorted": Spelling("search_sorted", ("side", "descending")),
    "top_k": Spelling("top_k", ("reverse",)),
    "top_k_by": Spelling("top_k_by", ("reverse",)),
    "gather_every": Spelling("gather_every", ("offset", "n")),
    "rank": Spelling("rank", ("method", "descending", "seed")),
    "qcut": Spelling("qcut", ("quantiles", "labels", "left_closed", "allow_duplicates", "include_breaks")),
    "bin_quantiles": Spelling("bin_quantiles"),
    "bin_ranks_uniform": Spelling("bin_ranks"),
    "unique": Spelling("unique", ("maintain_order",)),
    "value_counts": Spelling("value_counts", ("sort", "parallel", "name", "normalize")),
    "mode": Spelling("mode", ("maintain_order",)),
    "hist": Spelling("hist"),
    "diff": Spelling("diff", ("null_behavior",)),
    "interpolate": Spelling("interpolate", ("method",)),
    "concat": Spelling("append", ("upcast",)),
    "sample": Spelling("sample"),
    "shuffle": Spelling("shuffle"),
    **{
        f"cum_{kind}": Spelling(f"cum_{kind}", ("reverse",))
        for kind in ("count", "max", "min", "prod", "sum")
    },
    # Bits.
    **{
        f"BitwiseFunction.{side}{bit}": Spelling(f"bitwise_{side.lower()}_{bit.lower()}")
        for side in ("Count", "Leading", "Trailing")
        for bit in ("Ones", "Zeros")
    },
    **{f"BitwiseFunction.{_camel(op)}": Spelling(f"bitwise_{op}") for op in ("and", "or", "xor")},
    # Booleans.
    **_same(
        "is_finite", "is_infinite", "is_nan", "is_not_nan", "is_not_null", "is_null", group="BooleanFunction"
    ),
    **_same("is_duplicated", "is_unique", "is_first_distinct", "is_last_distinct", group="BooleanFunction"),
    **_same("has_nulls", "all_horizontal", "any_horizontal", group="BooleanFunction"),
    "BooleanFunction.Not": Spelling("not_"),
    "BooleanFunction.IsIn": Spelling("is_in", ("nulls_equal",)),
    "BooleanFunction.IsBetween": Spelling("is_between", ("closed",)),
    "BooleanFunction.IsClose": Spelling("is_close", ("abs_tol", "rel_tol", "nans_equal")),
    "BooleanFunction.All": Spelling("all", ("ignore_nulls",)),
    "BooleanFunction.Any": Spelling("any", ("ignore_nulls",)),
    "BooleanFunction.IsEmpty": Spelling("is_empty", ("ignore_nulls",)),
    "BooleanFunction.IsSorted": Spelling("is_sorted", ("descending", "nulls_last")),
    # Strings.
    **_same(
        "ends_with",
        "starts_with",
        "escape_regex",
        "extract_all",
        "json_path_match",
        prefix="str.",
        group="StringFunction",
    ),
    **_same(
        "len_bytes", "len_chars", "reverse", "slice", "head", "tail", prefix="str.", group="StringFunction"
    ),
    **_same("strip_chars", "strip_chars_start", "strip_chars_end", prefix="str.", group="StringFunction"),
    **_same("strip_prefix", "strip_suffix", prefix="str.", group="StringFunction"),
    "StringFunction.Lowercase": Spelling("str.to_lowercase"),
    "StringFunction.Uppercase": Spelling("str.to_uppercase"),
    "StringFunction.Titlecase": Spelling("str.to_titlecase"),
    "StringFunction.ZFill": Spelling("str.zfill"),
    "StringFunction.Contains": Spelling("str.contains", ("literal", "strict")),
    "StringFunction.ContainsAny": Spelling("str.contains_any", ("ascii_case_insensitive",)),
    "StringFunction.CountMatches": Spelling("str.count_matches", ("literal",)),
    "StringFunction.HexDecode": Spelling("str.decode", ("strict",)),
    "StringFunction.Base64Decode": Spelling("str.decode", ("strict",)),
    "StringFunction.HexEncode": Spelling("str.encode"),
    "StringFunction.Base64Encode": Spelling("str.encode"),
    "StringFunction.Extract": Spelling("str.extract", ("group_index",)),
    "StringFunction.ExtractGroups": Spelling("str.extract_groups", ("dtype", "pattern")),
    "StringFunction.ExtractMany": Spelling(
        "str.extract_many", ("ascii_case_insensitive", "overlapping", "leftmost")
    ),
    "StringFunction.Find": Spelling("str.find", ("literal", "strict")),
    "StringFunction.FindMany": Spelling(
        "str.find_many", ("ascii_case_insensitive", "overlapping", "leftmost")
    ),
    "StringFunction.JsonDecode": Spelling("str.json_decode", ("infer_schema_length",)),
    "StringFunction.Normalize": Spelling("str.normalize", ("form",)),
    "StringFunction.PadEnd": Spelling("str.pad_end", ("fill_char",)),
    "StringFunction.PadStart": Spelling("str.pad_start", ("fill_char",)),
    "StringFunction.Replace": Spelling("str.replace", ("n", "literal")),
    "StringFunction.ReplaceMany": Spelling("str.replace_many", ("ascii_case_insensitive", "leftmost")),
    "StringFunction.Split": Spelling("str.split", ("inclusive",)),
    "StringFunction.SplitRegex": Spelling("str.split", ("inclusive", "strict")),
    "StringFunction.SplitExact": Spelling("str.split_exact", ("n", "inclusive")),
    "StringFunction.SplitN": Spelling("str.splitn", ("n",)),
    "StringFunction.Strptime": Spelling("str.strptime", ("format", "strict", "exact", "cache")),
    "StringFunction.ToDecimal": Spelling("str.to_decimal", ("scale",)),
    "StringFunction.ToInteger": Spelling("str.to_integer", ("strict",)),
    "StringFunction.ConcatVertical": Spelling("str.join", ("delimiter", "ignore_nulls")),
    "StringFunction.ConcatHorizontal": Spelling("concat_str", ("separator", "ignore_nulls")),
    "StringFunction.Format": Spelling("format", ("text", "insertions")),
    # Times.
    **_same(
        "base_utc_offset",
        "century",
        "date",
        "day",
        "days_in_month",
        "hour",
        prefix="dt.",
        group="TemporalFunction",
    ),
    **_same("is_leap_year", "iso_year", "microsecond", "millennium", prefix="dt.", group="TemporalFunction"),
    **_same(
        "millisecond", "minute", "month", "month_end", "month_start", prefix="dt.", group="TemporalFunction"
    ),
    **_same(
        "nanosecond", "offset_by", "ordinal_day", "quarter", "replace", prefix="dt.", group="TemporalFunction"
    ),
    **_same("round", "second", "time", "truncate", "week", "year", prefix="dt.", group="TemporalFunction"),
    "TemporalFunction.WeekDay": Spelling("dt.weekday"),
    "TemporalFunction.DSTOffset": Spelling("dt.dst_offset"),
    "TemporalFunction.CastTimeUnit": Spelling("dt.cast_time_unit", ("time_unit",)),
    "TemporalFunction.Combine": Spelling("dt.combine", ("time_unit",)),
    "TemporalFunction.ConvertTimeZone": Spelling("dt.convert_time_zone", ("time_zone",)),
    "TemporalFunction.ReplaceTimeZone": Spelling("dt.replace_time_zone", ("time_zone", "non_existent")),
    "TemporalFunction.TimeStamp": Spelling("dt.timestamp", ("time_unit",)),
    "TemporalFunction.ToString": Spelling("dt.to_string", ("format",)),
    "TemporalFunction.DatetimeFunction": Spelling("datetime", ("time_unit", "time_zone")),
    "TemporalFunction.Duration": Spelling("duration", ("time_unit",)),
    **{
        f"TemporalFunction.Total{unit.capitalize()}": Spelling(f"dt.total_{unit}", ("fractional",))
        for unit in _TIME_TOTALS
    },
    # Ranges.
    "RangeFunction.IntRange": Spelling("int_range", ("step", "dtype")),
    "RangeFunction.IntRanges": Spelling("int_ranges", ("dtype",)),
    "RangeFunction.DateRange": Spelling("date_range", ("interval", "closed", "arguments")),
    "RangeFunction.DateRanges": Spelling("date_ranges", ("interval", "closed", "arguments")),
    "RangeFunction.DatetimeRange": Spelling(
        "datetime_range", ("interval", "closed", "time_unit", "time_zone", "arguments")
    ),
    "RangeFunction.DatetimeRanges": Spelling(
        "datetime_ranges", ("interval", "closed", "time_unit", "time_zone", "arguments")
    ),
    "RangeFunction.TimeRange": Spelling("time_range", ("interval", "closed")),
    "RangeFunction.TimeRanges": Spelling("time_ranges", ("interval", "closed")),
    "RangeFunction.LinearSpace": Spelling("linear_space", ("closed",)),
    "RangeFunction.LinearSpaces": Spelling("linear_spaces", ("closed", "width")),
    # Lists.
    **_same("arg_max", "arg_min", "count_matches", "drop_nulls", prefix="list.", group="ListFunction"),
    **_same("gather_every", "max", "mean", "median", "min", prefix="list.", group="ListFunction"),
    **_same("shift", "slice", "sum", prefix="list.", group="ListFunction"),
    "ListFunction.Length": Spelling("list.len"),
    "ListFunction.Concat": Spelling("concat_list"),
    "ListFunction.Contains": Spelling("list.contains", ("nulls_equal",)),
    "ListFunction.Diff": Spelling("list.diff", ("n", "null_behavior")),
    "ListFunction.Gather": Spelling("list.gather", ("null_on_oob",)),
    "ListFunction.Get": Spelling("list.get", ("null_on_oob",)),
    "ListFunction.Join": Spelling("list.join", ("ignore_nulls",)),
    "ListFunction.Sample": Spelling("list.sample"),
    "ListFunction.SetOperation": Spelling("list.set_", ("operation",)),
    "ListFunction.Sort": Spelling("list.sort", ("descending", "nulls_last")),
    "ListFunction.Std": Spelling("list.std", ("ddof",)),
    "ListFunction.Var": Spelling("list.var", ("ddof",)),
    "ListFunction.ToArray": Spelling("list.to_array", ("width",)),
    "ListFunction.ToStruct": Spelling("list.to_struct", ("fields",)),
    # Arrays.
    **_same("arg_max", "arg_min", "count_matches", "dot", "max", prefix="arr.", group="ArrayFunction"),
    **_same("mean", "median", "min", "shift", "sum", "to_list", prefix="arr.", group="ArrayFunction"),
    "ArrayFunction.Length": Spelling("arr.len"),
    "ArrayFunction.Concat": Spelling("concat_arr"),
    "ArrayFunction.Contains": Spelling("arr.contains", ("nulls_equal",)),
    "ArrayFunction.Explode": Spelling("arr.explode", ("empty_as_null", "keep_nulls")),
    "ArrayFunction.Get": Spelling("arr.get", ("null_on_oob",)),
    "ArrayFunction.Join": Spelling("arr.join", ("ignore_nulls",)),
    "ArrayFunction.Slice": Spelling("arr.slice", ("offset", "length")),
    "ArrayFunction.Sort": Spelling("arr.sort", ("descending", "nulls_last")),
    "ArrayFunction.Std": Spelling("arr.std", ("ddof",)),
    "ArrayFunction.Var": Spelling("arr.var", ("ddof",)),
    "ArrayFunction.ToStruct": Spelling("arr.to_struct", ("fields",)),
    # Structs.
    "StructFunction.DropFields": Spelling("struct.drop", ("fields", "strict")),
    "StructFunction.FieldByName": Spelling("struct.field", ("name",)),
    "StructFunction.JsonEncode": Spelling("struct.json_encode"),
    "StructFunction.RenameFields": Spelling("struct.rename_fields", ("names",)),
    "StructFunction.PrefixFields": Spelling("name.prefix_fields", ("prefix",)),
    "StructFunction.SuffixFields": Spelling("name.suffix_fields", ("suffix",)),
    "StructFunction.MapFieldNames": Spelling("name.map_fields"),
    # Running functions.
    **{f"EwmFunction.{_camel(kind)}": Spelling(f"ewm_{kind}") for kind in ("std", "sum", "sum_by", "var")},
    "EwmFunction.Mean": Spelling("ewm_mean", ("alpha", "adjust", "bias", "min_samples", "ignore_nulls")),
    "EwmFunction.MeanBy": Spelling("ewm_mean_by", ("half_life",)),
    **{
        f"RollingFunction.{_camel(kind)}": Spelling(
            f"rolling_{kind}", ("window_size", "min_samples", "weights", "center", "parameters")
        )
        for kind in ("kurtosis", "max", "mean", "min", "quantile", "rank", "skew", "std", "sum", "var")
    },
    "RollingFunction.CorrCov": Spelling("rolling_corr"),
    **{
        f"RollingFunctionBy.{_camel(kind)}By": Spelling(
            f"rolling_{kind}_by", ("window_size", "min_samples", "closed", "parameters")
        )
        for kind in ("max", "mean", "min", "quantile", "rank", "std", "sum", "var")
    },
}

FIXED_OPTIONS: Final[dict[str, dict[str, object]]] = {
    "StringFunction.HexDecode": {"encoding": "hex"},
    "StringFunction.HexEncode": {"encoding": "hex"},
    "StringFunction.Base64Decode": {"encoding": "base64"},
    "StringFunction.Base64Encode": {"encoding": "base64"},
    "StringFunction.Split": {"literal": True},
    "StringFunction.SplitRegex": {"literal": False},
}
"""Options that the visitor's function name implies."""

AGGREGATES: Final[dict[tuple[str, bool | None], Spelling]] = {
    ("count", False): Spelling("count"),
    ("count", True): Spelling("len"),
    ("first", None): Spelling("first"),
    ("first_non_null", None): Spelling("first"),
    ("last", None): Spelling("last"),
    ("last_non_null", None): Spelling("last"),
    ("implode", None): Spelling("implode", ("maintain_order",)),
    ("item", None): Spelling("item", ("allow_empty",)),
    ("max", False): Spelling("max"),
    ("max", True): Spelling("nan_max"),
    ("mean", None): Spelling("mean"),
    ("median", None): Spelling("median"),
    ("min", False): Spelling("min"),
    ("min", True): Spelling("nan_min"),
    ("n_unique", None): Spelling("n_unique"),
    ("std", None): Spelling("std", ("ddof",)),
    ("sum", None): Spelling("sum"),
    ("var", None): Spelling("var", ("ddof",)),
}
"""Names of `Agg` nodes by `(Agg.name, Agg.options)`, None: any options; an option takes the value of
`Agg.options`."""

OPERATORS: Final[dict[str, str]] = {
    "Operator.Eq": "eq",
    "Operator.EqValidity": "eq_missing",
    "Operator.NotEq": "ne",
    "Operator.NotEqValidity": "ne_missing",
    "Operator.Lt": "lt",
    "Operator.LtEq": "le",
    "Operator.Gt": "gt",
    "Operator.GtEq": "ge",
    "Operator.Plus": "add",
    "Operator.Minus": "sub",
    "Operator.Multiply": "mul",
    "Operator.TrueDivide": "true_div",
    "Operator.FloorDivide": "floor_div",
    "Operator.Modulus": "mod",
    "Operator.And": "and",
    "Operator.LogicalAnd": "and",
    "Operator.Or": "or",
    "Operator.LogicalOr": "or",
    "Operator.Xor": "xor",
}
"""Two-sided operators of the plan; `truncdiv` is a function there."""
