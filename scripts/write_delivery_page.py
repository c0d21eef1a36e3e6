"""Writes `docs/delivery.md`: what each pair of a source and a sink promises, from the promises of each.

python scripts/write_delivery_page.py
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "delivery.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where rows come from.

    Args:
        name: how users call it.
        replayable: it can be read again from an offset.
        ordered: where its rows have an order.
    """

    name: str
    replayable: bool
    ordered: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sink:
    """Where rows go.

    Args:
        name: how users call it.
        exactly_once: with a checkpoint and a source that is replayable.
        how: what makes it so.
        replaces: it takes changing frames, with `key=`.
    """

    name: str
    exactly_once: bool
    how: str
    replaces: bool = False


SOURCES = (
    Source(
        name="files: `scan_parquet`, `scan_ipc`, `scan_csv`, `scan_ndjson`, `scan_avro`",
        replayable=True,
        ordered="in path order",
    ),
    Source(name="followed folders (`follow=True`)", replayable=True, ordered="in the order of reading"),
    Source(name="`scan_kafka`", replayable=True, ordered="in a partition"),
    Source(name="`nexmark`, `from_batches`, frames in memory", replayable=True, ordered="in a split"),
    Source(name="`scan_source`", replayable=True, ordered="in a split; `dff.testing.check_source` checks it"),
    Source(
        name="`scan_kafka(arrival=)`",
        replayable=False,
        ordered="in a partition; that column has other times after a restart",
    ),
)
SINKS = (
    Sink(
        name="files: `sink_parquet`, `sink_ipc`, `sink_csv`, `sink_ndjson`, `sink_avro`",
        exactly_once=True,
        how="hidden segments; a file is published whole behind the checkpoint that holds its rows",
    ),
    Sink(
        name="`sink_kafka`",
        exactly_once=True,
        how="a transaction an epoch and a write-ahead object ([kafka.md](kafka.md))",
        replaces=True,
    ),
    Sink(
        name='`sink_kafka(delivery="at_least_once")`',
        exactly_once=False,
        how="an idempotent producer",
        replaces=True,
    ),
    Sink(
        name="`sink_postgres`",
        exactly_once=True,
        how="rows wait in `<table>__staging`; one transaction moves those of an epoch and marks its token",
        replaces=True,
    ),
    Sink(
        name="`sink_redis`",
        exactly_once=True,
        how="entries wait in a list; one script of the server appends them and marks the token",
    ),
    Sink(
        name="`sink_to`",
        exactly_once=True,
        how="if its `confirm` is idempotent; `dff.testing.check_sink` checks it",
    ),
    Sink(name="`sink_batches`, `sink_console`", exactly_once=False, how="what was seen cannot be taken back"),
)


def promise(source: Source, sink: Sink) -> str:
    """What a job with a checkpoint promises of this pair."""
    if not sink.exactly_once:
        return "at least once"
    return "exactly once" if source.replayable else "each row once, another value of it after a restart"


def page() -> str:
    """The text of the page."""
    lines = [
        "# Delivery",
        "",
        "Written by `scripts/write_delivery_page.py`. All promises are those of an engine with a checkpoint;",
        "without one a job that dies begins anew, and only a job that ends has written each row once.",
        "",
        "| source | replayable | ordered |",
        "|---|---|---|",
        *(f"| {one.name} | {'yes' if one.replayable else 'not wholly'} | {one.ordered} |" for one in SOURCES),
        "",
        "| sink | guarantee | changing frames | how |",
        "|---|---|---|---|",
        *(
            f"| {one.name} | {'exactly once' if one.exactly_once else 'at least once'} | "
            f"{'by `key=`' if one.replaces else 'no'} | {one.how} |"
            for one in SINKS
        ),
        "",
        "| source \\ sink | " + " | ".join(one.name for one in SINKS) + " |",
        "|---|" + "---|" * len(SINKS),
        *(
            f"| {source.name} | " + " | ".join(promise(source, sink) for sink in SINKS) + " |"
            for source in SOURCES
        ),
        "",
        "Servers beyond Kafka need an extra: `pip install 'dataflare-fast[postgres]'`, `[redis]`. Users and",
        "passwords in a URL appear in no message and no file of the checkpoint.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
