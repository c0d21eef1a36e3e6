"""Uses of functions that the engine computes with its own kernels, by Polars' name; `#` tells uses apart.

They run over `FRAME` and over random rows (`test_kernels.py`), so none of them fails on any row. Over columns
of `test_random_expressions.py`: i, j (Int64), k (Int32), u (UInt8), f (Float64), g (Float32), b, c (Boolean),
s, p (String), t (Datetime us), d (Date), z (Datetime ms in a zone), v (Duration), w (Time), m, n (Decimal).
"""

from __future__ import annotations

import datetime as dt

import polars as pl

from dataflare_fast.planner.classes import names_of

__all__ = ["FRAME_KERNELS", "KERNELS"]

col = pl.col
i, j, k, u, f, g, s, p, t, d, z, v, w = (col(name) for name in "ijkufgsptdzvw")

_REAL_FUNCTIONS = names_of(
    "exp log1p sqrt cbrt sin cos tan cot arcsin arccos arctan sinh cosh tanh degrees radians log log10"
)
_DATE_PARTS = names_of("year month day quarter week iso_year ordinal_day weekday date")
_TIME_PARTS = names_of("hour minute second millisecond microsecond nanosecond")
_TOTALS = names_of("days hours minutes seconds milliseconds microseconds nanoseconds")

_SEARCHES = {
    "str.len_bytes": s.str.len_bytes(),
    "str.len_chars": s.str.len_chars(),
    "str.contains": s.str.contains("[aß]"),
    "str.contains#literal": s.str.contains("a", literal=True),
    "str.starts_with": s.str.starts_with("a"),
    "str.ends_with": s.str.ends_with("a"),
    "str.count_matches#byte": s.str.count_matches("a", literal=True),
    "str.count_matches#text": s.str.count_matches("aa"),
    "str.count_matches#wide": s.str.count_matches("ß", literal=True),
    "str.count_matches#nothing": s.str.count_matches("", literal=True),
    "str.count_matches": s.str.count_matches("[aß]+"),
    "str.find": s.str.find("[ß日]"),
    "str.find#byte": s.str.find("a", literal=True),
    "str.find#text": s.str.find("a.", literal=True),
    "str.find#nothing": s.str.find(""),
    "str.contains_any": s.str.contains_any(["aa", "ß"]),
    "str.contains_any#case": s.str.contains_any(["A", "İ"], ascii_case_insensitive=True),
    "str.extract": s.str.extract("(a)(ß)?", 2),
    "str.extract#whole": s.str.extract("a+", 0),
    "str.extract#choice": s.str.extract("(^|a)x([^ ]*)", 2),
    "str.extract_all": s.str.extract_all("[aß]"),
    "str.extract_all#long": (s + s + s + s).str.extract_all("a.+"),
}

_PARTS = {
    "str.head": s.str.head(2),
    "str.head#negative": s.str.head(-1),
    "str.tail": s.str.tail(2),
    "str.tail#negative": s.str.tail(-1),
    "str.tail#nothing": s.str.tail(0),
    "str.slice": s.str.slice(1, 2),
    "str.strip_chars": s.str.strip_chars(),
    "str.strip_chars_start": s.str.strip_chars_start("a "),
    "str.strip_chars_end": s.str.strip_chars_end("a "),
    "str.strip_prefix": s.str.strip_prefix("a"),
    "str.strip_suffix": s.str.strip_suffix("a"),
    "str.split": s.str.split("a"),
    "str.split#text": (s + s).str.split("aa"),
    "str.split#inclusive": s.str.split("a", inclusive=True),
    "str.split#regex": s.str.split("[aß ]", literal=False),
    "list.get#split": s.str.split("a").list.get(1, null_on_oob=True),
    "list.get#split_from_end": s.str.split("a").list.get(-2, null_on_oob=True),
    "list.get#split_long": (s + s + s + s).str.split("ß").list.get(1, null_on_oob=True),
    "list.get#split_inclusive": s.str.split("a", inclusive=True).list.get(0, null_on_oob=True),
    "str.split_exact": s.str.split_exact("a", 1),
    "str.split_exact#inclusive": s.str.split_exact("a", 1, inclusive=True),
    "str.splitn": (s + s + s).str.splitn("a", 2),
    "str.splitn#one": s.str.splitn("a", 1),
}

_NEW_TEXTS = {
    "str.to_lowercase": s.str.to_lowercase(),
    "str.to_uppercase": s.str.to_uppercase(),
    "str.replace": s.str.replace("a|ß", "<$0>"),
    "str.replace#first_two": s.str.replace("a", "$0", literal=True, n=2),
    "str.replace#none": s.str.replace("a", "b", literal=True, n=0),
    "str.replace_all": s.str.replace_all("a|ß", "-"),
    "str.replace_all#nothing": s.str.replace_all("", "-"),
    "str.replace_all#literal": s.str.replace_all("aa", "$a", literal=True),
    "str.replace_many": s.str.replace_many({"a": "1", "aa": "2", "ß": ""}),
    "str.replace_many#leftmost": s.str.replace_many(
        ["aa", "a"], ["long text of its own", "-"], leftmost=True
    ),
    "str.replace_many#one": s.str.replace_many(["A", " "], ["_"], ascii_case_insensitive=True),
    "str.pad_start": s.str.pad_start(5, "é"),
    "str.pad_end": s.str.pad_end(5),
    "str.zfill": s.str.zfill(4),
    "str.zfill#numbers": j.cast(pl.String).str.zfill(6),
    "concat_str": pl.concat_str(s, j, p, separator="-"),
    "concat_str#ignore_nulls": pl.concat_str(
        s, pl.lit(None, dtype=pl.String), p, separator="-", ignore_nulls=True
    ),
    "format": pl.format("{}: {{{}}} ß", s, p),
    "str.to_integer": s.str.to_integer(strict=False),
    "str.to_integer#numbers": k.cast(pl.String).str.to_integer(dtype=pl.Int16, strict=False),
    "str.to_integer#base": s.str.to_integer(base=16, dtype=pl.UInt8, strict=False),
}

_near = t.dt.truncate("1us").clip(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1))
"""Times that still have a place after a step."""

_NUMBERS = (
    {
        "abs": i.abs(),
        "abs#float": f.abs(),
        "neg": -i,
        "bitwise_count_ones": i.bitwise_count_ones(),
        "bitwise_count_zeros": k.bitwise_count_zeros(),
        "bitwise_leading_ones": i.bitwise_leading_ones(),
        "bitwise_leading_zeros": u.bitwise_leading_zeros(),
        "bitwise_trailing_ones": k.bitwise_trailing_ones(),
        "bitwise_trailing_zeros": i.bitwise_trailing_zeros(),
        "reinterpret": i.reinterpret(signed=False),
        "to_physical": t.to_physical(),
        "to_physical#date": d.to_physical(),
        "to_physical#number": i.to_physical(),
        "floor": f.floor(),
        "ceil": g.ceil(),
        "round": f.round(1),
        "round#float32": g.round(2),
        "round#whole": f.round(),
        "round#away": f.round(1, mode="half_away_from_zero"),
        "round#integer": i.round(1),
        "truncate": f.truncate(1),
        "sign": f.sign(),
        "sign#integer": i.sign(),
        "sign#unsigned": u.sign(),
        "clip": f.clip(-1, 2.5),
        "clip#integer": i.clip(-3, 3),
        "clip#lower": g.clip(lower_bound=0.0),
        "clip#upper": k.clip(upper_bound=5),
        "clip#columns": i.clip(j, 7),
        "clip#null": f.clip(pl.lit(None, dtype=pl.Float64), 1.0),
        "clip#nan": f.clip(float("nan"), 1.0),
        "clip#crossed": i.clip(2, 1),
        "clip#duration": v.clip(dt.timedelta(hours=-1), dt.timedelta(hours=1)),
    }
    | {
        f"{name}#{column}": getattr(col(column), name)()
        for name in sorted(_REAL_FUNCTIONS)
        for column in "fgku"
    }
    | {
        "log#base": f.log(2),
        "log#base_float32": g.log(3.0),
        "pow": i**3,
        "pow#unsigned": u**2,
        "pow#none": k**0,
        "pow#square": f**2,
        "pow#itself": f**1,
        "pow#cube": f**3,
        "pow#sixth": g**6,
        "pow#twelfth": f**12,
        "pow#third": f ** (1 / 3),
        "pow#back": f**-2,
        "pow#root": f**0.5,
        "pow#inverse": g**-1.5,
        "pow#float_of_integer": k**0.5,
        "pow#columns": f ** col("g").cast(pl.Float64),
        "pow#of_constant": 2.0**f,
        "arctan2": pl.arctan2(f, col("g").cast(pl.Float64)),
        "sum_horizontal": pl.sum_horizontal(i, j, k),
        "sum_horizontal#nulls": pl.sum_horizontal(i, j, ignore_nulls=False),
        "sum_horizontal#float": pl.sum_horizontal(f, col("g").cast(pl.Float64)),
        "sum_horizontal#float_nulls": pl.sum_horizontal(f, f, ignore_nulls=False),
        "sum_horizontal#boolean": pl.sum_horizontal("b", "c"),
        "mean_horizontal": pl.mean_horizontal(f, f + 1.5),
        "mean_horizontal#nulls": pl.mean_horizontal(f, f + 1.5, ignore_nulls=False),
        "min_horizontal": pl.min_horizontal(i, j),
        "min_horizontal#float": pl.min_horizontal(f, g),
        "max_horizontal#float": pl.max_horizontal(f, g, j),
        "max_horizontal#times": pl.max_horizontal(t, t + dt.timedelta(hours=1)),
        "is_between": i.is_between(j, 5, closed="left"),
        "is_in": i.is_in([1, 7, None]),
        "is_null": i.is_null(),
        "is_not_null": f.is_not_null(),
        "is_nan": f.is_nan(),
        "is_not_nan": f.is_not_nan(),
        "is_finite": f.is_finite(),
        "is_infinite": g.is_infinite(),
        "fill_null": i.fill_null(j),
        "coalesce": pl.coalesce(i, j, 0),
        "not_": ~col("b"),
    }
)

_TIMES = (
    {
        f"dt.{name}#{column}": getattr(col(column).dt, name)()
        for name in sorted(_DATE_PARTS)
        for column in "td"
    }
    | {f"dt.{name}": getattr(t.dt, name)() for name in sorted(_TIME_PARTS)}
    | {f"dt.total_{name}": getattr(v.dt, f"total_{name}")() for name in sorted(_TOTALS)}
    | {
        "dt.timestamp": t.dt.timestamp("ms"),
        "dt.truncate": t.dt.truncate("15m"),
        "dt.truncate#week": d.dt.truncate("1w"),
        "dt.truncate#month": t.dt.truncate("1mo"),
        "dt.truncate#quarter": d.dt.truncate("1q"),
        "dt.truncate#years": t.dt.truncate("7y"),
        "dt.round": _near.dt.round("15m"),
        "dt.round#odd": _near.dt.round("7s"),
        "dt.round#date": _near.dt.date().dt.round("3d"),
        "dt.round#week": _near.dt.round("1w"),
        "dt.offset_by": _near.dt.offset_by("1mo"),
        "dt.offset_by#back": _near.dt.offset_by("-1y2d3h"),
        "dt.offset_by#date": _near.dt.date().dt.offset_by("1q1w"),
        "dt.offset_by#hours": _near.dt.offset_by("36h"),
        "dt.month_start": t.dt.month_start(),
        "dt.month_start#date": d.dt.month_start(),
        "dt.month_end": t.dt.month_end(),
        "dt.month_end#date": d.dt.month_end(),
        "dt.days_in_month": d.dt.days_in_month(),
        "dt.is_leap_year": t.dt.is_leap_year(),
        "dt.century": t.dt.century(),
        "dt.millennium": d.dt.millennium(),
        "dt.time": t.dt.time(),
        "dt.time#zone": z.dt.time(),
        "dt.time#time": w.dt.time(),
        "dt.hour#time": w.dt.hour(),
        "dt.microsecond#time": w.dt.microsecond(),
        "dt.year#zone": z.dt.year(),
        "dt.week#zone": z.dt.week(),
        "dt.date#zone": z.dt.date(),
        "dt.hour#zone": z.dt.hour(),
        "dt.minute#zone": z.dt.convert_time_zone("America/St_Johns").dt.minute(),
        "dt.hour#asia": z.dt.convert_time_zone("Asia/Kathmandu").dt.hour(),
        "dt.cast_time_unit": t.dt.cast_time_unit("ms"),
        "dt.cast_time_unit#duration": v.dt.cast_time_unit("ms"),
        "dt.convert_time_zone": z.dt.convert_time_zone("America/St_Johns"),
        "dt.convert_time_zone#naive": t.dt.convert_time_zone("UTC"),
        "dt.replace_time_zone": z.dt.replace_time_zone(None),
        "dt.replace_time_zone#utc": t.dt.replace_time_zone("UTC"),
        "dt.combine": d.dt.combine(w),
        "dt.combine#time": t.dt.combine(w, "ms"),
        "dt.to_string": t.dt.to_string("%Y-%m-%d %H:%M:%S"),
        "dt.to_string#fraction": t.dt.to_string("%H%.f %3f %j %a"),
        "dt.to_string#iso": t.dt.to_string("iso"),
        "dt.to_string#date": d.dt.to_string("%d/%m/%y %b"),
        "dt.to_string#time": w.dt.to_string("%H:%M"),
        "dt.to_string#zone": z.dt.to_string("%Y%m%d%H"),
        "dt.total_days#fraction": v.dt.total_days(fractional=True),
        "dt.total_hours#fraction": v.dt.total_hours(fractional=True),
        "dt.total_seconds#fraction": v.dt.total_seconds(fractional=True),
        "dt.total_nanoseconds#fraction": v.dt.total_nanoseconds(fractional=True),
    }
)

_MAPPINGS = {
    "fill_null#zero": f.fill_null(strategy="zero"),
    "fill_null#one": k.fill_null(strategy="one"),
    "replace": j.replace({1: 7, None: 0}),
    "replace#float": f.replace({float("nan"): 1.0, 0.0: 9.0}),
    "replace#text": s.replace(["a", "", "aaa"], ["A", None, "a text of some length"]),
    "replace#one": s.replace(["a", "aaa"], "A"),
    "replace_strict": j.replace_strict({1: "one", 0: None}, default="a text of some length"),
    "replace_strict#null": s.replace_strict({"a": 1.5, "aaa": 2.5}, default=None),
    "replace_strict#column": k.cast(pl.Int64).replace_strict([1, 2], [10, 20], default=i),
    "replace_strict#date": d.dt.weekday().replace_strict({1: True, 2: False}, default=None),
}

_NESTED = {
    "struct": pl.struct(i, f.alias("x"), q=s),
    "struct.field": pl.struct(i, x=f).struct.field("x"),
    "struct.rename_fields": pl.struct(i, j).struct.rename_fields(["x", "y"]),
    "name.prefix_fields": pl.struct(i, j).name.prefix_fields("x_"),
    "name.suffix_fields": pl.struct(i, j).name.suffix_fields("_x"),
    "concat_list": pl.concat_list(i, j),
    "list.len": s.str.split("a").list.len(),
    "list.get#column": pl.concat_list(i, j).list.get(u, null_on_oob=True),
    "list.get#text": (s + s).str.extract_all("[aß]").list.get(-1, null_on_oob=True),
    "list.contains": pl.concat_list(i, j).list.contains(1),
    "list.contains#float": pl.concat_list(f, f).list.contains(float("nan")),
    "list.contains#text": s.str.split("a").list.contains(""),
    "list.sum": pl.concat_list(i, j).list.sum(),
    "list.min": pl.concat_list(i, j).list.min(),
    "list.max": pl.concat_list(t, t).list.max(),
    "list.join": s.str.split("a").list.join("--"),
    "list.join#nulls": pl.concat_list(s, p).list.join("-", ignore_nulls=False),
    "list.slice": s.str.split("a").list.slice(1, 2),
    "list.slice#head": s.str.split("a").list.head(1),
    "list.slice#tail": pl.concat_list(i, j).list.tail(1),
    "list.get#first": pl.concat_list(i, j).list.first(),
}

KERNELS: dict[str, pl.Expr] = {
    **_NUMBERS,
    **_TIMES,
    **_SEARCHES,
    **_PARTS,
    **_NEW_TEXTS,
    **_MAPPINGS,
    **_NESTED,
}
"""Expressions of one column each, over random rows."""

_day, _time = col("day_text"), col("time_text")

FRAME_KERNELS: dict[str, pl.Expr] = {
    "str.strptime": _time.str.to_datetime("%Y-%m-%d %H:%M:%S"),
    "str.strptime#milliseconds": _time.str.to_datetime("%F %T", time_unit="ms"),
    "str.strptime#date": _day.str.to_date("%Y-%m-%d"),
    "str.strptime#midnight": _day.str.to_datetime("%Y-%m-%d"),
    "str.strptime#not_strict": s.str.to_date("%Y-%m-%d", strict=False),
    "str.json_path_match": col("json").str.json_path_match("$.b"),
    "str.json_path_match#whole": col("json").str.json_path_match("$"),
    "str.json_path_match#number": col("json").str.json_path_match("$['a']"),
    "list.len": col("l").list.len(),
    "list.len#nested": col("ls").list.len(),
    "list.get": col("l").list.get(col("n"), null_on_oob=True),
    "list.get#last": col("ls").list.last(),
    "list.contains": col("l").list.contains(1),
    "list.contains#nulls": col("l").list.contains(1, nulls_equal=False),
    "list.contains#float": col("lf").list.contains(0.0),
    "list.contains#text": col("ls").list.contains("a"),
    "list.sum": col("l").list.sum(),
    "list.min": col("l").list.min(),
    "list.max": col("l").list.max(),
    "list.join": col("ls").list.join("-"),
    "list.join#nulls": col("ls").list.join("-", ignore_nulls=False),
    "list.slice": col("l").list.slice(1, 2),
    "list.slice#from_end": col("ls").list.slice(-1),
    "arr.get": col("a").arr.get(0),
    "arr.get#column": col("a").arr.get(col("n"), null_on_oob=True),
    "struct.field": col("st").struct.field("y"),
    "struct.rename_fields": col("st").struct.rename_fields(["p", "q"]),
    "is_null": col("st").is_null(),
}
"""Expressions of one column each, over `FRAME`, whose lists and texts are none of random rows."""
