"""What random queries are made of: one line for each expression, aggregate, window and time key.

A line that is added here is tested against Polars in thousands of queries, under random schedules. Not here:
how they are put together (`random_queries.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import time, timedelta
from typing import Any, Final

import polars as pl

__all__ = [
    "AGGREGATES",
    "BY_TIME",
    "EXPRESSIONS",
    "INTEGER_WINDOWS",
    "KEYS",
    "PREDICATES",
    "ROLLED",
    "RUNNING",
    "TIME_KEYS",
    "WINDOWS",
    "Aggregate",
    "Rule",
    "TimeRule",
    "kind_of",
]

Make = Callable[[pl.Expr, pl.Expr], pl.Expr]


@dataclass(frozen=True, slots=True)
class Rule:
    """An expression over a column `a`, and another column `b` of the same type (or `a` again).

    Args:
        kinds: types of columns, as `kind_of` names them, with spaces between.
        make: the expression.
        rounded: its last bits may depend on the order of additions, so nothing is added up above it.
        inexact: it may differ from Polars' in its last bits, so nothing at all is computed of it.
    """

    kinds: str
    make: Make
    rounded: bool = False
    inexact: bool = False

    def takes(self, kind: str) -> bool:
        """True for a column of this kind."""
        return self.kinds == "any" or kind in self.kinds.split()


@dataclass(frozen=True, slots=True)
class Aggregate(Rule):
    """As `Rule`, for one value of a group.

    Args:
        ordered: needs rows in logical order.
        filtered: it also runs over `a.filter(...)`.
        is_open: it gives a list in no order.
        many: it gives a list of a group, but rows without keys.
    """

    ordered: bool = False
    filtered: bool = True
    is_open: bool = False
    many: bool = False


@dataclass(frozen=True, slots=True)
class TimeRule:
    """A function of a column, the event time and a period; otherwise as `Rule`."""

    kinds: str
    make: Callable[[pl.Expr, str, str], pl.Expr]
    inexact: bool = False


_NUMBERS = "integer float"
_PLAIN = "integer string boolean datetime date"
_VALUES = "integer string datetime"
_ORDERED = "integer float string boolean datetime date time duration decimal binary"

PREDICATES: Final[tuple[Rule, ...]] = (
    Rule("any", lambda a, b: a.is_not_null()),
    Rule("any", lambda a, b: a.is_null()),
    Rule("integer", lambda a, b: a > 0),
    Rule("integer", lambda a, b: a % 3 != 1),
    Rule("integer", lambda a, b: a.is_between(-2, 60)),
    Rule("integer", lambda a, b: a.is_in([-1, 0, 1, 5])),
    Rule("integer", lambda a, b: (a > 1) & (b < 4) | a.is_null()),
    Rule("float", lambda a, b: a > 0.5),
    Rule("float", lambda a, b: a.is_nan()),
    Rule("float", lambda a, b: a == 0.0),
    Rule("string", lambda a, b: a.str.starts_with("a")),
    Rule("string", lambda a, b: a.str.contains("a", literal=True)),
    Rule("string", lambda a, b: a.is_in(["a", "b"])),
    Rule("string", lambda a, b: a > "a"),
    Rule("boolean", lambda a, b: a),
    Rule("boolean", lambda a, b: ~a | b.is_null()),
    Rule("datetime", lambda a, b: a.dt.hour() < 23),
    Rule("date", lambda a, b: a.dt.day() != 30),
    Rule(_ORDERED, lambda a, b: a <= b),
    Rule(_ORDERED, lambda a, b: a.eq_missing(b)),
)

_OF_NUMBERS: Final[tuple[Make, ...]] = (
    lambda a, b: a.abs(),
    lambda a, b: a.sign(),
    lambda a, b: a.clip(1, 3),
    lambda a, b: pl.min_horizontal(a, b),
    lambda a, b: pl.sum_horizontal(a, b),
    lambda a, b: pl.sum_horizontal(a, b, ignore_nulls=False),
    lambda a, b: a.is_between(b, 5, closed="left"),
    lambda a, b: a.fill_null(strategy="zero"),
    lambda a, b: a.replace({1: 7, None: 0}),
    lambda a, b: a.replace_strict({1: "one", 2: None}, default="many"),
    lambda a, b: a.bin_intervals([0, 2], labels=["lo", "mid", "hi"]).cast(pl.String),
)
_OF_REALS: Final[tuple[Make, ...]] = (
    lambda a, b: a.sqrt(),
    lambda a, b: a.exp(),
    lambda a, b: a.log(2),
    lambda a, b: a.log1p(),
    lambda a, b: a.cbrt(),
    lambda a, b: a.sin() + b.cos(),
    lambda a, b: a.tanh(),
    lambda a, b: a.arctan(),
    lambda a, b: a**3,
    lambda a, b: a**-2,
    lambda a, b: pl.arctan2(a, b),
    lambda a, b: a.degrees(),
    lambda a, b: pl.mean_horizontal(a, b),
    lambda a, b: a.round(1),
    lambda a, b: a.round_sig_figs(2),
    lambda a, b: a.truncate(1),
    lambda a, b: a.ceil(),
    lambda a, b: a.is_finite() | b.is_infinite(),
    lambda a, b: a.is_close(b, abs_tol=0.5, nans_equal=True),
)
_OF_INTEGERS: Final[tuple[Make, ...]] = (
    lambda a, b: a**2,
    lambda a, b: -(a.cast(pl.Int64)),
    lambda a, b: a & b,
    lambda a, b: a | b,
    lambda a, b: a ^ 3,
    lambda a, b: a.bitwise_count_ones(),
    lambda a, b: a.bitwise_leading_zeros(),
    lambda a, b: a.reinterpret(signed=False),
    lambda a, b: a.cast(pl.Int8, strict=False),
    lambda a, b: a.cast(pl.Decimal(30, 2)),
    lambda a, b: a.truncdiv(b),
    lambda a, b: pl.concat_str(a, b, separator="/", ignore_nulls=True),
    lambda a, b: pl.format("{}: {}", a, b),
    lambda a, b: a.cast(pl.String).str.zfill(4),
    lambda a, b: pl.concat_list(a, b).list.get(1, null_on_oob=True),
    lambda a, b: pl.concat_list(a, b).list.sum(),
    lambda a, b: pl.struct(x=a, y=b).struct.field("y"),
    lambda a, b: pl.int_ranges(a.cast(pl.Int64) % 3).list.len(),
)
_OF_TEXTS: Final[tuple[Make, ...]] = (
    lambda a, b: a.str.to_lowercase(),
    lambda a, b: a.str.len_bytes(),
    lambda a, b: a.str.contains("[aï]"),
    lambda a, b: a.str.contains_any(["ï", "long"]),
    lambda a, b: a.str.ends_with("e"),
    lambda a, b: a.str.count_matches("[a-e]"),
    lambda a, b: a.str.find("t", literal=True),
    lambda a, b: a.str.extract("(a)(.)", 2),
    lambda a, b: a.str.extract_all("[aeï]"),
    lambda a, b: a.str.replace("a|ï", "<$0>"),
    lambda a, b: a.str.replace_all("a", "", literal=True),
    lambda a, b: a.str.replace_many({"a": "1", "long": "2"}),
    lambda a, b: a.str.head(2) + b.str.tail(3),
    lambda a, b: a.str.slice(-2),
    lambda a, b: a.str.strip_chars("a "),
    lambda a, b: a.str.strip_chars_start("a") + b.str.strip_chars_end("e"),
    lambda a, b: a.str.strip_prefix("a").str.strip_suffix("s"),
    lambda a, b: a.str.pad_start(4, "é").str.pad_end(6),
    lambda a, b: a.str.split(" "),
    lambda a, b: a.str.split(" ").list.get(1, null_on_oob=True),
    lambda a, b: a.str.split("").list.join("-"),
    lambda a, b: a.str.split_exact(" ", 1),
    lambda a, b: a.str.splitn(" ", 2).struct.field("field_1"),
    lambda a, b: a.str.to_integer(strict=False),
    lambda a, b: a.str.to_date("%Y", strict=False),
    lambda a, b: a.str.encode("hex"),
    lambda a, b: a.str.to_titlecase(),
    lambda a, b: a.str.normalize("NFKD"),
    lambda a, b: a.str.json_path_match("$.a"),
    lambda a, b: a.str.escape_regex(),
    lambda a, b: pl.concat_str(a, b, separator="-", ignore_nulls=True),
    lambda a, b: a.replace_strict({"a": 1, "b": 2}, default=0),
    lambda a, b: a.fill_null("none"),
    lambda a, b: pl.when(a > b).then(a).otherwise(pl.lit("x")),
)
_OF_TIMES: Final[tuple[Make, ...]] = (
    lambda a, b: a.dt.minute(),
    lambda a, b: a.dt.second(),
    lambda a, b: a.dt.year() * 100 + b.dt.month(),
    lambda a, b: a.dt.ordinal_day(),
    lambda a, b: a.dt.week(),
    lambda a, b: a.dt.quarter(),
    lambda a, b: a.dt.iso_year(),
    lambda a, b: a.dt.time(),
    lambda a, b: a.dt.truncate("15m"),
    lambda a, b: a.dt.truncate("1mo"),
    lambda a, b: a.dt.round("1h"),
    lambda a, b: a.dt.offset_by("36h"),
    lambda a, b: a.dt.epoch("s"),
    lambda a, b: a.dt.timestamp("ms"),
    lambda a, b: a.dt.to_string("%Y-%m-%d %H:%M:%S"),
    lambda a, b: a.dt.cast_time_unit("ms"),
    lambda a, b: a.dt.month_start(),
    lambda a, b: a.dt.days_in_month(),
    lambda a, b: a.dt.is_leap_year(),
    lambda a, b: (a - b).dt.total_seconds(),
    lambda a, b: pl.max_horizontal(a, b),
    lambda a, b: a.to_physical(),
)
_OF_DATES: Final[tuple[Make, ...]] = (
    lambda a, b: a.dt.month(),
    lambda a, b: a.dt.weekday(),
    lambda a, b: a.dt.truncate("1w"),
    lambda a, b: a.dt.month_end(),
    lambda a, b: a.dt.offset_by("1mo"),
    lambda a, b: a.cast(pl.Datetime("ms")),
    lambda a, b: a.dt.combine(time(12, 30)),
    lambda a, b: a.dt.to_string("%d/%m/%y"),
    lambda a, b: a - b,
    lambda a, b: a.dt.century(),
    lambda a, b: a.dt.replace(day=1),
)
_OF_SPANS: Final[tuple[Make, ...]] = (
    lambda a, b: a.abs(),
    lambda a, b: -a,
    lambda a, b: a * 3,
    lambda a, b: a.dt.total_seconds(),
    lambda a, b: a.clip(timedelta(minutes=-1), timedelta(minutes=1)),
)
_OF_LISTS: Final[tuple[Make, ...]] = (
    lambda a, b: a.list.len(),
    lambda a, b: a.list.get(0, null_on_oob=True),
    lambda a, b: a.list.slice(1, 2),
    lambda a, b: a.list.head(1),
    lambda a, b: a.list.first(),
    lambda a, b: a.list.last(),
    lambda a, b: a.list.drop_nulls(),
)

EXPRESSIONS: Final[tuple[Rule, ...]] = (
    *PREDICATES,
    Rule(_NUMBERS, lambda a, b: a + b),
    Rule(_NUMBERS, lambda a, b: a - 1),
    Rule(_NUMBERS, lambda a, b: a * 2),
    Rule(_NUMBERS, lambda a, b: a.fill_null(7)),
    Rule(_NUMBERS, lambda a, b: pl.when(a > b).then(a).otherwise(b)),
    Rule(_NUMBERS, lambda a, b: pl.when(a > 0).then(1).when(a < 0).then(-1).otherwise(0)),
    Rule(_NUMBERS, lambda a, b: pl.max_horizontal(a, b)),
    Rule("integer", lambda a, b: a // 3),
    Rule("integer", lambda a, b: a // b),
    Rule("integer", lambda a, b: a % 5),
    Rule("integer", lambda a, b: a.cast(pl.Float64)),
    Rule("integer", lambda a, b: a.cast(pl.String)),
    Rule("integer", lambda a, b: a / 4),
    Rule("float", lambda a, b: a.floor()),
    Rule("float", lambda a, b: a.fill_nan(None)),
    Rule("float", lambda a, b: a.fill_nan(0.5)),
    Rule("string", lambda a, b: a.str.to_uppercase()),
    Rule("string", lambda a, b: a.str.len_chars()),
    Rule("string", lambda a, b: a.str.slice(0, 1)),
    Rule("string", lambda a, b: a + "-" + b),
    Rule("string", lambda a, b: a.str.reverse()),
    Rule("datetime", lambda a, b: a.dt.weekday()),
    Rule("datetime", lambda a, b: a.dt.date()),
    Rule("datetime", lambda a, b: a.dt.strftime("%H:%M")),
    Rule("datetime", lambda a, b: a + timedelta(minutes=5)),
    Rule("datetime", lambda a, b: a - b),
    Rule("date", lambda a, b: a.dt.year()),
    Rule("duration", lambda a, b: a + b),
    Rule("duration", lambda a, b: a.dt.total_minutes()),
    Rule("any", lambda a, b: pl.coalesce(a, b)),
    *(Rule(_NUMBERS, make) for make in _OF_NUMBERS),
    *(Rule("float", make, inexact=True) for make in _OF_REALS),
    *(Rule("integer", make) for make in _OF_INTEGERS),
    *(Rule("string", make) for make in _OF_TEXTS),
    *(Rule("datetime", make) for make in _OF_TIMES),
    *(Rule("date", make) for make in _OF_DATES),
    *(Rule("duration", make) for make in _OF_SPANS),
    Rule("duration", lambda a, b: a.dt.total_hours(fractional=True), inexact=True),
    Rule("integer", lambda a, b: a.round(1)),
    *(Rule("list", make) for make in _OF_LISTS),
    Rule("time", lambda a, b: a.dt.hour()),
    Rule("time", lambda a, b: a.dt.to_string("%H:%M")),
    Rule("decimal", lambda a, b: a + b),
    Rule("decimal", lambda a, b: a.abs()),
    Rule("boolean", lambda a, b: pl.any_horizontal(a, b)),
    Rule("boolean", lambda a, b: pl.all_horizontal(a, b)),
    Rule("boolean", lambda a, b: a ^ b),
    Rule("boolean", lambda a, b: pl.sum_horizontal(a, b)),
    Rule("binary", lambda a, b: a.is_in([b"", b"\x00"])),
    Rule("enum", lambda a, b: a == "x"),
    Rule("enum", lambda a, b: a.cast(pl.String)),
    Rule("struct", lambda a, b: a.struct.field("x")),
    Rule("struct", lambda a, b: a.struct.rename_fields(["p", "q"])),
    Rule("struct", lambda a, b: a.struct.json_encode()),
    Rule(_PLAIN, lambda a, b: pl.concat_list(a, b)),
    Rule(_PLAIN, lambda a, b: pl.struct(x=a, y=b)),
    Rule(_PLAIN, lambda a, b: a.repeat_by(2)),
    Rule(_NUMBERS + " string boolean datetime date", lambda a, b: a.hash(3)),
)

_MOMENTS: Final[tuple[Make, ...]] = (
    lambda a, b: a.var(),
    lambda a, b: a.std(ddof=2),
    lambda a, b: a.skew(),
    lambda a, b: a.kurtosis(),
    lambda a, b: a.mean() * 2,
)
_OF_TWO: Final[tuple[Make, ...]] = (
    lambda a, b: pl.cov(a, b),
    lambda a, b: a.dot(b),
)
_QUANTILES: Final[tuple[Make, ...]] = (
    lambda a, b: a.median(),
    lambda a, b: a.quantile(0.9),
    lambda a, b: a.quantile(0.25, "linear"),
    lambda a, b: a.quantile(0.5, "midpoint"),
    lambda a, b: a.quantile(0.1, "lower"),
    lambda a, b: a.quantile(0.7, "higher"),
    lambda a, b: a.quantile(0.7, "equiprobable"),
)
_BITS: Final[tuple[Make, ...]] = (
    lambda a, b: a.product(),
    lambda a, b: a.bitwise_and(),
    lambda a, b: a.bitwise_or(),
    lambda a, b: a.bitwise_xor(),
)
_LISTS_IN_ORDER: Final[tuple[Make, ...]] = (
    lambda a, b: a,
    lambda a, b: a.head(2),
    lambda a, b: a.tail(2),
    lambda a, b: a.slice(1, 2),
    lambda a, b: a.reverse(),
    lambda a, b: a.shift(1),
    lambda a, b: a.gather_every(2),
    lambda a, b: a.unique(maintain_order=True),
    lambda a, b: a.sort_by(b),
)
_LISTS: Final[tuple[Make, ...]] = (
    lambda a, b: a.unique(),
    lambda a, b: a.mode(),
    lambda a, b: a.value_counts(),
)
_LISTS_OF_A_LIST: Final[tuple[Make, ...]] = (
    lambda a, b: a.unique_counts(),
    lambda a, b: a.top_k(2),
    lambda a, b: a.bottom_k(2),
)

AGGREGATES: Final[tuple[Aggregate, ...]] = (
    Aggregate("any", lambda a, b: pl.len()),
    Aggregate("any", lambda a, b: a.len()),
    Aggregate("any", lambda a, b: a.count()),
    Aggregate("any", lambda a, b: a.null_count()),
    Aggregate("integer float duration decimal boolean", lambda a, b: a.sum()),
    Aggregate("integer float", lambda a, b: a.mean(), rounded=True),
    Aggregate(_ORDERED, lambda a, b: a.min()),
    Aggregate(_ORDERED, lambda a, b: a.max()),
    Aggregate("any", lambda a, b: a.first(), ordered=True),
    Aggregate("any", lambda a, b: a.last(), ordered=True),
    Aggregate("any", lambda a, b: a.n_unique()),
    Aggregate("boolean", lambda a, b: a.any()),
    Aggregate("boolean", lambda a, b: a.all()),
    Aggregate("integer float", lambda a, b: a.max() - a.min()),
    Aggregate("integer", lambda a, b: (a + b).sum(), filtered=False),
    Aggregate("integer", lambda a, b: a.cast(pl.Int32, strict=False).sum() * 2 + pl.len().cast(pl.Int64)),
    Aggregate("integer float", lambda a, b: a.drop_nulls().min(), filtered=False),
    Aggregate("integer", lambda a, b: pl.when(a.sum() > 0).then(pl.len()).otherwise(a.count())),
    *(Aggregate(_NUMBERS, make, inexact=True) for make in _MOMENTS),
    *(Aggregate(_NUMBERS, make, inexact=True, filtered=False) for make in _OF_TWO),
    *(Aggregate(_NUMBERS, make, inexact=True) for make in _QUANTILES),
    *(Aggregate("integer", make) for make in _BITS),
    *(Aggregate(_VALUES, make, ordered=True, filtered=False, many=True) for make in _LISTS_IN_ORDER),
    *(Aggregate(_VALUES, make, is_open=True, many=True) for make in _LISTS),
    *(Aggregate(_VALUES, make, ordered=True, is_open=True, many=True) for make in _LISTS_OF_A_LIST),
    Aggregate("any", lambda a, b: a.has_nulls()),
    Aggregate("any", lambda a, b: a.is_empty()),
    Aggregate("any", lambda a, b: a.implode(), ordered=True),
    Aggregate("any", lambda a, b: a.first(ignore_nulls=True), ordered=True),
    Aggregate("any", lambda a, b: a.last(ignore_nulls=True), ordered=True),
    Aggregate("boolean", lambda a, b: a.any(ignore_nulls=False)),
    Aggregate("boolean", lambda a, b: a.all(ignore_nulls=False)),
    Aggregate("float", lambda a, b: a.nan_min()),
    Aggregate("float", lambda a, b: a.nan_max()),
    Aggregate("integer", lambda a, b: a.min_by(b), ordered=True, filtered=False),
    Aggregate("integer", lambda a, b: a.max_by(b), ordered=True, filtered=False),
    Aggregate("integer", lambda a, b: a.index_of(1), ordered=True),
    Aggregate("integer", lambda a, b: a.sort().head(2), ordered=True, filtered=False, many=True),
    Aggregate("integer", lambda a, b: a.unique().sort().sum(), filtered=False),
    Aggregate("integer", lambda a, b: a.diff().max(), ordered=True, filtered=False),
    Aggregate("integer", lambda a, b: a.cum_sum().last(), ordered=True, filtered=False),
    Aggregate("integer", lambda a, b: (a > a.mean()).sum(), filtered=False),
    Aggregate("integer", lambda a, b: a.drop_nulls().is_sorted(), ordered=True, filtered=False),
    Aggregate("integer", lambda a, b: a.rank("dense").max(), filtered=False),
    Aggregate("integer", lambda a, b: a.is_duplicated().sum(), filtered=False),
    Aggregate("integer", lambda a, b: a.is_unique().sum(), filtered=False),
    Aggregate("integer", lambda a, b: a.is_last_distinct().sum(), ordered=True, filtered=False),
    Aggregate("integer", lambda a, b: a.peak_max().sum(), ordered=True, filtered=False),
    Aggregate("integer", lambda a, b: a.peak_min().sum(), ordered=True, filtered=False),
    Aggregate("integer", lambda a, b: a.arg_unique().sum(), ordered=True, filtered=False),
    Aggregate("integer", lambda a, b: a.head(1).item(), ordered=True, filtered=False, many=True),
    Aggregate(
        "integer",
        lambda a, b: a.drop_nulls().sort().search_sorted(1),
        ordered=True,
        filtered=False,
        many=True,
    ),
    Aggregate("float", lambda a, b: a.drop_nans().count(), filtered=False),
    Aggregate("string", lambda a, b: a.str.join("-"), ordered=True),
)
"""The harness adds `.filter(...)` below an aggregate by itself, and `.cast(pl.Int64)` above a count."""

WINDOWS: Final[tuple[dict[str, Any], ...]] = (
    {"every": "10m"},
    {"every": "10m", "closed": "none"},
    {"every": "10m", "closed": "right"},
    {"every": "10m", "closed": "both", "offset": "-10m"},
    {"every": "10m", "period": "30m", "offset": "-20m"},
    {"every": "10m", "period": "25m", "offset": "-20m", "label": "right"},
    {"every": "10m", "period": "20m", "closed": "right", "offset": "-20m"},
    {"every": "10m", "period": "20m", "closed": "none", "offset": "-10m"},
    {"every": "1h", "period": "7m"},
    {"every": "1h", "offset": "7m"},
    {"every": "1h", "offset": "-90s", "include_boundaries": True},
    {"every": "1d"},
    {"every": "1d", "period": "2d", "offset": "-1d"},
    {"every": "1d", "closed": "right", "label": "right"},
    {"every": "1w", "start_by": "tuesday"},
    {"every": "1mo", "include_boundaries": True},
    {"every": "1q", "label": "right"},
)
"""Windows over a Datetime; those in days and more also over a Date and on a zone with daylight saving."""

INTEGER_WINDOWS: Final[tuple[dict[str, Any], ...]] = (
    {"every": "500i"},
    {"every": "500i", "closed": "right", "label": "right"},
    {"every": "500i", "period": "1500i", "offset": "-1000i"},
    {"every": "500i", "period": "100i", "closed": "none"},
    {"every": "700i", "offset": "13i", "include_boundaries": True},
)

RUNNING: Final[tuple[Rule, ...]] = (
    Rule("integer float", lambda a, b: a.cum_sum()),
    Rule("integer float", lambda a, b: a.cum_max()),
    Rule("any", lambda a, b: a.cum_count()),
    Rule("any", lambda a, b: a.shift(1)),
    Rule("any", lambda a, b: a.shift(2)),
    Rule("integer", lambda a, b: a.diff()),
    Rule("any", lambda a, b: a.forward_fill()),
    Rule("integer string boolean", lambda a, b: a.is_first_distinct()),
    Rule("integer", lambda a, b: a.rolling_sum(3, min_samples=1)),
    Rule("integer float", lambda a, b: a.rolling_max(4, min_samples=1)),
    Rule("any", lambda a, b: pl.int_range(pl.len())),
    Rule("integer float", lambda a, b: a.cum_min()),
    Rule("integer", lambda a, b: a.cum_prod()),
    Rule("integer", lambda a, b: a.shift(1, fill_value=0)),
    Rule("integer", lambda a, b: a.rle_id()),
    Rule("any", lambda a, b: a.first()),
    Rule("any", lambda a, b: a.forward_fill(1)),
    Rule("integer", lambda a, b: a - a.shift(1) + b.cum_sum()),
    Rule("integer float", lambda a, b: a.rolling_min(3, min_samples=1)),
    Rule("integer", lambda a, b: a.rolling_mean(3, min_samples=1), inexact=True),
    Rule("integer", lambda a, b: a.rolling_median(4, min_samples=2), inexact=True),
    Rule("integer", lambda a, b: a.rolling_quantile(0.3, window_size=4, min_samples=1), inexact=True),
    Rule("integer", lambda a, b: a.rolling_std(4, min_samples=2), inexact=True),
    Rule("integer", lambda a, b: a.rolling_var(4, min_samples=2), inexact=True),
    Rule("integer", lambda a, b: a.ewm_mean(alpha=0.5), inexact=True),
    Rule("integer", lambda a, b: a.pct_change(), inexact=True),
)
"""Functions of earlier rows; the harness adds `.over(key, order_by=time)`."""

BY_TIME: Final[tuple[TimeRule, ...]] = (
    TimeRule("integer float", lambda a, time, period: a.rolling_sum_by(time, period)),
    TimeRule("integer float", lambda a, time, period: a.rolling_max_by(time, period, closed="left")),
    TimeRule("integer", lambda a, time, period: a.rolling_min_by(time, period, closed="both")),
    TimeRule("integer", lambda a, time, period: a.rolling_mean_by(time, period, closed="none"), inexact=True),
    TimeRule("integer", lambda a, time, period: a.rolling_std_by(time, period), inexact=True),
    TimeRule("integer", lambda a, time, period: a.rolling_var_by(time, period), inexact=True),
    TimeRule("integer", lambda a, time, period: a.rolling_median_by(time, period), inexact=True),
    TimeRule(
        "integer", lambda a, time, period: a.rolling_quantile_by(time, period, quantile=0.7), inexact=True
    ),
)
"""Windows of time that end at a row."""

ROLLED: Final[tuple[Aggregate, ...]] = (
    Aggregate("any", lambda a, b: pl.len()),
    Aggregate("any", lambda a, b: a.count()),
    Aggregate("integer float", lambda a, b: a.sum()),
    Aggregate("integer", lambda a, b: a.mean(), rounded=True),
    Aggregate("integer float", lambda a, b: a.min()),
    Aggregate("integer float", lambda a, b: a.max()),
    Aggregate("integer", lambda a, b: a.max() - a.min()),
    Aggregate("any", lambda a, b: a.first(), ordered=True),
    Aggregate("any", lambda a, b: a.last(), ordered=True),
    Aggregate("integer string", lambda a, b: a.n_unique()),
    Aggregate("integer", lambda a, b: a.filter(a > 0).sum()),
)
"""Aggregates of `rolling(time, period=)`."""

TIME_KEYS: Final[tuple[Rule, ...]] = (
    Rule("datetime", lambda a, b: a.dt.truncate("10m")),
    Rule("datetime", lambda a, b: a.dt.truncate("1d")),
    Rule("datetime date", lambda a, b: a.dt.year()),
    Rule("date", lambda a, b: a.dt.month_start()),
    Rule("datetime", lambda a, b: a.dt.date()),
    Rule("datetime", lambda a, b: (a + timedelta(hours=1)).dt.truncate("1h")),
    Rule("integer", lambda a, b: a),
)
"""Keys that are monotone functions of the event time."""

KEYS: Final[tuple[Rule, ...]] = (
    Rule("any", lambda a, b: a),
    Rule("integer", lambda a, b: a % 3),
    Rule("string", lambda a, b: a.str.slice(0, 1)),
    Rule("float", lambda a, b: a * 2),
)
"""Keys that say nothing about time."""


def kind_of(dtype: pl.DataType) -> str:
    """The word that the tables use for a type."""
    if dtype.is_integer():
        return "integer"
    if dtype.is_float():
        return "float"
    return {pl.Enum: "enum", pl.Binary: "binary"}.get(type(dtype), type(dtype).__name__.lower())
