"""The table: the class of every function that Polars' expressions have.

A name stands in exactly one class; a name in no class is refused. Determined by evaluating Polars on random
cuts; the tests repeat that for each row-wise function. Data and one question (`classify`); the words of a
refusal are in `row_wise.py`. `docs/expressions.md` is generated from this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

import polars as pl

from dataflare_fast.planner.visitor.expressions import ColumnNode, ExprNode, FunctionNode, LiteralNode

__all__ = [
    "AGGREGATES_OF_THE_ENGINE",
    "CLASSES",
    "CONDITIONS",
    "COUNTED",
    "HIDDEN",
    "LISTS_OF_THE_ENGINE",
    "ORDERED",
    "ORDERED_OVER_A_GROUP",
    "OVER_A_GROUP",
    "RUNNING_OF_THE_ENGINE",
    "FunctionClass",
    "Verdict",
    "classify",
    "holds_categorical",
    "names_of",
]


class FunctionClass(Enum):
    """What a function needs to know; the value is the heading in the documentation."""

    ROW_WISE = "row-wise"
    """The answer of a row needs this row only."""
    RESHAPING = "reshaping, row by row"
    """As row-wise, but a row gives any number of rows."""
    AGGREGATE = "aggregate"
    """One answer of all rows of a group."""
    RUNNING = "running"
    """The answer of a row needs earlier rows."""
    WHOLE_COLUMN = "whole column"
    """The answer of a row needs later rows."""
    NONDETERMINISTIC = "open"
    """Polars itself answers differently by run, thread, engine or process."""
    USER_FUNCTION = "user function"
    """Python code that the planner cannot see."""
    BY_INNER = "by its inner expression"
    """A context for another expression."""
    PLAN_TIME = "at plan time only"
    """Gone, or a constant, before the first row moves."""


def names_of(text: str, prefix: str = "") -> frozenset[str]:
    """The words of a text, each behind a prefix."""
    return frozenset(prefix + name for name in text.split())


_CLASS_MEMBERS: Final[dict[FunctionClass, frozenset[str]]] = {
    FunctionClass.ROW_WISE: names_of(
        """abs add and_ arccos arccosh arcsin arcsinh arctan arctanh bin_intervals bitwise_count_ones
        bitwise_count_zeros bitwise_leading_ones bitwise_leading_zeros bitwise_trailing_ones
        bitwise_trailing_zeros cast cbrt ceil clip cos cosh cot cut degrees eq eq_missing erf erfc exp
        fill_nan fill_null floor floordiv ge gt hash is_between is_close is_finite is_in is_infinite is_nan
        is_not_nan is_not_null is_null le log log10 log1p lt mod mul ne ne_missing neg not_ or_ pow radians
        reinterpret repeat_by replace replace_strict round round_sig_figs sign sin sinh sqrt sub tan tanh
        to_physical truediv truncate truncdiv xor"""
    )
    | names_of(
        """contains contains_any count_matches decode encode ends_with escape_regex extract extract_all
        extract_groups extract_many find find_many head json_decode json_path_match len_bytes len_chars
        normalize pad_end pad_start replace replace_all replace_many reverse slice split split_exact splitn
        starts_with strip_chars strip_chars_end strip_chars_start strip_prefix strip_suffix strptime tail
        to_date to_datetime to_decimal to_integer to_lowercase to_time to_titlecase to_uppercase zfill""",
        "str.",
    )
    | names_of(
        """add_business_days base_utc_offset cast_time_unit century combine convert_time_zone date day
        days_in_month dst_offset epoch hour is_business_day is_leap_year iso_year microsecond millennium
        millisecond minute month month_end month_start nanosecond offset_by ordinal_day quarter replace
        replace_time_zone round second strftime time timestamp to_string total_days total_hours
        total_microseconds total_milliseconds total_minutes total_nanoseconds total_seconds truncate week
        weekday year""",
        "dt.",
    )
    | names_of(
        """agg all any arg_max arg_min concat contains count_matches diff drop_nulls eval filter first
        gather gather_every get head item join last len max mean median min n_unique reverse set_difference
        set_intersection set_symmetric_difference set_union shift slice sort std sum tail to_array to_map
        to_struct unique var""",
        "list.",
    )
    | names_of(
        """agg all any arg_max arg_min contains count_matches dot eval first get head join last len max mean
        median min n_unique reverse shift slice sort std sum tail to_list to_struct unique var""",
        "arr.",
    )
    | names_of("drop eval field json_encode rename_fields unnest with_fields", "struct.")
    | names_of("contains decode encode ends_with get head reinterpret size slice starts_with tail", "bin.")
    | names_of("ends_with len_bytes len_chars slice starts_with to", "cat.")
    | names_of("contains_key entries get keys len values", "map.")
    | names_of("storage to", "ext.")
    | names_of("map_fields prefix_fields suffix_fields", "name.")
    | names_of(
        """when struct format coalesce concat_str concat_list concat_arr arctan2 sum_horizontal
        mean_horizontal min_horizontal max_horizontal any_horizontal all_horizontal date datetime duration
        time int_ranges date_ranges datetime_ranges time_ranges linear_spaces from_epoch"""
    ),
    FunctionClass.RESHAPING: names_of("drop_nans drop_nulls explode filter reshape list.explode arr.explode"),
    FunctionClass.AGGREGATE: names_of(
        """all any approx_n_unique bitwise_and bitwise_or bitwise_xor count has_nulls is_empty len max
        median min n_unique nan_max nan_min null_count quantile dot entropy kurtosis mean product skew std
        sum var corr cov arg_max arg_min first get implode index_of is_sorted item last max_by min_by
        search_sorted str.join"""
    ),
    FunctionClass.RUNNING: names_of(
        """cum_count cum_max cum_min cum_prod cum_sum diff ewm_mean ewm_mean_by ewm_std ewm_sum ewm_sum_by
        ewm_var forward_fill is_first_distinct pct_change rle_id rolling_kurtosis rolling_max rolling_mean
        rolling_median rolling_min rolling_quantile rolling_rank rolling_skew rolling_std rolling_sum
        rolling_var shift rolling_max_by rolling_mean_by rolling_median_by rolling_min_by
        rolling_quantile_by rolling_rank_by rolling_std_by rolling_sum_by rolling_var_by rolling_corr
        rolling_cov int_range row_index"""
    ),
    FunctionClass.WHOLE_COLUMN: names_of(
        """bin_quantiles is_duplicated is_unique qcut rank arg_sort backward_fill bin_ranks interpolate
        interpolate_by is_last_distinct peak_max peak_min reverse sort sort_by arg_where arg_sort_by
        date_range datetime_range time_range linear_space bottom_k hist top_k mode unique unique_counts
        value_counts append arg_true arg_unique bottom_k_by extend_constant gather gather_every head limit
        rle slice tail top_k_by"""
    ),
    FunctionClass.NONDETERMINISTIC: names_of(
        "sample shuffle list.sample arr.sample approx_quantile cat.physical"
    ),
    FunctionClass.USER_FUNCTION: names_of(
        """inspect map_batches map_elements rolling_map map_groups fold reduce cum_fold cum_reduce
        cum_sum_horizontal business_day_count"""
    ),
    FunctionClass.BY_INNER: names_of("over rolling cumulative_eval"),
    FunctionClass.PLAN_TIME: names_of(
        """alias set_sorted lower_bound upper_bound exclude pipe pipe_with_dtype deserialize name.keep
        name.map name.prefix name.replace name.strip_prefix name.strip_suffix name.suffix name.to_lowercase
        name.to_uppercase"""
    ),
}

CLASSES: Final[dict[str, FunctionClass]] = {
    name: function_class for function_class, names in _CLASS_MEMBERS.items() for name in sorted(names)
}
"""The class of every name, with a namespace in front (`str.len_chars`)."""

ORDERED: Final[frozenset[str]] = names_of(
    "arg_max arg_min first get implode index_of is_sorted item last max_by min_by search_sorted str.join"
)
"""Aggregates whose answer depends on the logical order of rows."""

HIDDEN: Final[frozenset[str]] = (
    names_of("add_business_days is_business_day", "dt.")
    | names_of("agg all any eval filter item n_unique reverse to_map unique", "list.")
    | names_of("agg all any eval n_unique reverse unique", "arr.")
    | names_of("eval with_fields", "struct.")
    | names_of("contains decode encode ends_with get head reinterpret size slice starts_with tail", "bin.")
    | names_of("ends_with len_bytes len_chars slice starts_with to physical", "cat.")
    | names_of("contains_key entries get keys len values", "map.")
    | names_of("storage to", "ext.")
    | names_of("reshape approx_quantile cumulative_eval", "")
    | _CLASS_MEMBERS[FunctionClass.USER_FUNCTION]
)
"""Functions that Polars' visitor does not show: refused whatever their class."""

AGGREGATES_OF_THE_ENGINE: Final[frozenset[str]] = names_of(
    """len count sum mean min max first last n_unique var std skew kurtosis cov corr median quantile product
    bitwise_and bitwise_or bitwise_xor min_by max_by implode"""
)
"""Aggregates that have an accumulator."""

LISTS_OF_THE_ENGINE: Final[frozenset[str]] = names_of("unique value_counts mode")
"""What has an accumulator and gives a list for each group."""

COUNTED: Final[frozenset[str]] = names_of(
    "all any has_nulls is_empty null_count nan_min nan_max approx_n_unique dot"
)
"""Aggregates that the planner writes with other ones: as a count of rows, a sum, an extreme."""

OVER_A_GROUP: Final[frozenset[str]] = names_of(
    """len count sum mean min max first last n_unique var std skew kurtosis cov corr median quantile product
    bitwise_and bitwise_or bitwise_xor min_by max_by all any has_nulls is_empty null_count nan_min nan_max
    approx_n_unique entropy arg_max arg_min index_of is_sorted item search_sorted str.join

    filter drop_nulls drop_nans unique unique_counts value_counts mode top_k bottom_k top_k_by bottom_k_by
    slice head tail limit sort sort_by reverse gather gather_every rank arg_unique is_unique is_duplicated
    is_first_distinct is_last_distinct peak_min peak_max cum_count cum_max cum_min cum_prod cum_sum diff shift
    pct_change rle_id"""
)
"""Functions that Polars computes over the list of a group's values, where the engine has no accumulator."""

ORDERED_OVER_A_GROUP: Final[frozenset[str]] = names_of(
    """first last min_by max_by arg_max arg_min index_of is_sorted search_sorted str.join top_k_by
    bottom_k_by slice head tail limit sort_by reverse gather gather_every arg_unique is_first_distinct
    is_last_distinct peak_min peak_max cum_count cum_max cum_min cum_prod cum_sum diff shift pct_change
    rle_id"""
)
"""Those of them whose answer depends on the order of the values."""

_ONE_ROW: Final = (
    "with `ddof=0`, a group of one row that is null, NaN or infinite gives null or NaN (Polars: 0 in windows)"
)

RUNNING_OF_THE_ENGINE: Final[frozenset[str]] = names_of(
    """cum_count cum_max cum_min cum_prod cum_sum diff ewm_mean ewm_mean_by forward_fill int_range
    is_first_distinct over pct_change rle_id rolling rolling_max rolling_max_by rolling_mean rolling_mean_by
    rolling_median rolling_median_by rolling_min rolling_min_by rolling_quantile rolling_quantile_by
    rolling_std rolling_std_by rolling_sum rolling_sum_by rolling_var rolling_var_by shift"""
)
"""Functions of earlier rows that the engine computes."""

CONDITIONS: Final[dict[str, str]] = {
    "approx_n_unique": "exact here: its error is 0",
    "arr.count_matches": "of a constant",
    "arr.join": "of a column",
    "bin_intervals": "with break points, not a number of bins",
    "cast": "not of a Categorical to its codes",
    "cum_count": "with `reverse=True`: whole column",
    "cum_max": "with `reverse=True`: whole column",
    "cum_min": "with `reverse=True`: whole column",
    "cum_prod": "with `reverse=True`: whole column",
    "cum_sum": "with `reverse=True`: whole column",
    "diff": "with a negative `n`: whole column",
    "dt.replace": "of a column",
    "fill_null": 'with a value or `strategy="zero" | "one"`; "forward": running; others: whole column',
    "int_range": "of `pl.len()`, as a row number",
    "is_in": "of constants, or of a list column; `is_in(column.implode())`: whole column",
    "list.count_matches": "of a constant",
    "list.gather_every": "of a column",
    "list.join": "of a column",
    "lit": "a Series of one value only",
    "over": "with running functions and `first()` inside; a total of a key needs all its rows: whole column",
    "pct_change": "with a negative `n`: whole column",
    "rank": 'with method="random": open',
    "reinterpret": "not of a Categorical",
    "replace": "with constants; a mapping from columns: whole column",
    "replace_strict": "with constants; a mapping from columns: whole column",
    "rolling_*": "with `center=True`: whole column",
    "shift": "with a negative `n`: whole column",
    "str.contains_any": "with constant patterns",
    "str.replace": "with a constant pattern; a replacement from a column with `n=1` only",
    "str.replace_all": "with a constant pattern and replacement",
    "str.replace_many": "with constants",
    "str.split": "of a column",
    "str.split_exact": "of a column",
    "str.splitn": "of a column",
    "str.strptime": "with `format=`; without, the first value decides for all",
    "str.to_date": "with `format=`; without, the first value decides for all",
    "str.to_datetime": "with `format=`; without, the first value decides for all",
    "str.to_time": "with `format=`; without, the first value decides for all",
    "std": _ONE_ROW,
    "to_physical": "not of a Categorical",
    "var": _ONE_ROW,
}
"""What `classify` asks beyond the name, in words for the documentation."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The class of one use of a function; `reason` says which argument changed it, if one did."""

    function_class: FunctionClass
    reason: str | None = None


def classify(node: FunctionNode) -> Verdict | None:
    """Finds the class of one use of a function, by name and conditions; None: not in the table.

    Its arguments may make the whole worse; who asks walks them.
    """
    condition = _condition(node)
    if condition is not None:
        return condition
    function_class = CLASSES.get(node.name)
    return None if function_class is None else Verdict(function_class)


_TAKEN_ONCE: Final[dict[str, tuple[int, ...]]] = {
    "arr.count_matches": (1,),
    "list.count_matches": (1,),
    "str.contains_any": (1,),
    "str.replace": (1,),
    "str.replace_many": (1, 2),
}
"""Arguments of which Polars takes one value for the whole column: from a column they work on one row only."""

_COLUMN_FIRST: Final[frozenset[str]] = names_of(
    """arr.join dt.replace list.gather_every list.join replace_strict str.replace str.split str.split_exact
    str.splitn"""
)
"""Functions that do not stretch a constant first argument to the length of the others, or do so at random."""


def _condition(node: FunctionNode) -> Verdict | None:
    options = node.options
    match node.name:
        case "fill_null" if (strategy := options.get("strategy")) not in (None, "zero", "one"):
            running = strategy == "forward"
            return Verdict(
                FunctionClass.RUNNING if running else FunctionClass.WHOLE_COLUMN,
                f'with strategy="{strategy}"',
            )
        case "str.strptime" if options.get("format") is None:
            return Verdict(
                FunctionClass.WHOLE_COLUMN, "without `format` the first value decides how all others are read"
            )
        case "to_physical" | "reinterpret" if holds_categorical(node.args[0].dtype):
            return Verdict(FunctionClass.NONDETERMINISTIC, "the codes of a Categorical depend on the process")
        case "rank" if options.get("method") == "random":
            return Verdict(FunctionClass.NONDETERMINISTIC, 'with method="random"')
        case "shift" | "diff" | "pct_change" if _is_negative(node):
            return Verdict(FunctionClass.WHOLE_COLUMN, "with a negative n")
        case "cum_count" | "cum_max" | "cum_min" | "cum_prod" | "cum_sum" if options.get("reverse"):
            return Verdict(FunctionClass.WHOLE_COLUMN, "with reverse=True")
        case name if name.startswith("rolling_") and options.get("center"):
            return Verdict(FunctionClass.WHOLE_COLUMN, "with center=True")
        case "arg_max" if "descending" in options:
            return Verdict(FunctionClass.WHOLE_COLUMN, "it is arg_sort")
        case "str.replace" if options["n"] != 1 and _has_column(node.args[2]):
            # A batch of one row takes another path in Polars, and fails on a null.
            return Verdict(FunctionClass.WHOLE_COLUMN, "a replacement from a column works with n=1 only")
        case name if any(_has_column(node.args[index]) for index in _TAKEN_ONCE.get(name, ())):
            return Verdict(FunctionClass.WHOLE_COLUMN, "Polars takes this argument once, not for each row")
        case name if name in _COLUMN_FIRST and not _has_column(node.args[0]) and _has_column(node):
            return Verdict(FunctionClass.WHOLE_COLUMN, "Polars does not repeat a constant for each row here")
        case _:
            return None


def _has_column(node: ExprNode) -> bool:
    return any(isinstance(part, ColumnNode) for part in node.walk())


def _is_negative(node: FunctionNode) -> bool:
    steps = node.args[1] if len(node.args) > 1 else None
    return isinstance(steps, LiteralNode) and isinstance(steps.value, int) and steps.value < 0


def holds_categorical(dtype: pl.DataType) -> bool:
    """True if a Categorical, whose codes differ from process to process, is in the type."""
    if isinstance(dtype, pl.Categorical):
        return True
    if isinstance(dtype, pl.List | pl.Array):
        return holds_categorical(dtype.inner if isinstance(dtype.inner, pl.DataType) else dtype.inner())
    if isinstance(dtype, pl.Struct):
        return any(
            holds_categorical(field.dtype if isinstance(field.dtype, pl.DataType) else field.dtype())
            for field in dtype.fields
        )
    return False
