"""Card payments: each counted once although messages repeat, in one currency; the largest of each merchant.

`dataflare run examples/payments.py:revenue` prints the minutes as they close. The payments are made here, so
that the example needs no file: `payments` stands for a topic, `rates` for a table.
"""

from datetime import datetime, timedelta
from random import Random

import polars as pl

import dataflare_fast as dff

START = datetime(2026, 3, 2, 9)


def made(number: int, seed: int) -> pl.DataFrame:
    """Payments of one partition; about one in ten is sent twice."""
    draw = Random(seed)  # noqa: S311 - play money
    rows = []
    for payment in range(number):
        at = START + timedelta(seconds=2 * payment + draw.choice([0, 0, 0, 7]))
        row = (
            f"{seed}-{payment}",
            at,
            draw.choice(["books", "shoes", "tea"]),
            draw.choice(["EUR", "USD", "CHF", "XXX"]),
            draw.randint(1, 50_000),
        )
        rows += [row] * draw.choice([1] * 9 + [2])
    schema = {
        "id": pl.String,
        "at": pl.Datetime("us"),
        "merchant": pl.String,
        "currency": pl.String,
        "cents": pl.Int64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


rates = pl.LazyFrame({"currency": ["EUR", "USD", "CHF"], "per_euro": [1.0, 1.25, 0.5]})
payments = dff.from_batches(made(400, 1), made(400, 2)).stream.with_watermark("at", delay="30s")
once = payments.unique(["id", "at"])
unknown = once.join(rates, on="currency", how="anti")
in_euro = once.join(rates, on="currency").with_columns(euro=pl.col("cents") / pl.col("per_euro") / 100)
revenue = (
    in_euro.sort("at")
    .group_by_dynamic("at", every="1m", group_by="merchant")
    .agg(pl.len().alias("payments"), pl.col("euro").sum().round(2))
)
largest = payments.with_columns(hour=pl.col("at").dt.truncate("1h")).filter(
    pl.col("cents").rank("ordinal", descending=True).over("hour", "merchant") <= 3
)
