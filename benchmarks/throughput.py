"""`python -m benchmarks throughput [q1 w1 ...]`: streaming mode against the best of three batch engines.

Answers are checked first. Then every contender runs in turn, several rounds; ratios of one table hold on a
machine where single figures drift. The engine gets the rows replayed with shifted event time as one stream;
the batch engines answer one replay after the other, which keeps their tables small and is in their favour.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from statistics import median

import polars as pl
from polars.testing import assert_frame_equal

import dataflare_fast as dff
from benchmarks.anchors import THREADS, Anchor, anchors
from benchmarks.memory import watched
from benchmarks.queries import QUERIES, Query
from benchmarks.stream import BATCH_ROWS, CHECKPOINT_INTERVAL, bids, replayed, run_engine, splits

__all__ = ["main"]

SLOWEST_SECONDS = 3.0
LEAST_CHECKPOINTS = 5
# The engine's own run must be long enough for that many checkpoints.
OURS_SECONDS = 2.0
FEW_REPLAYS = 8
OURS = "dataflare_fast"


def main(words: Sequence[str]) -> int:
    """Runs the command line; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks throughput", description=__doc__)
    parser.add_argument("queries", nargs="*", default=list(QUERIES), help=f"of {', '.join(QUERIES)}")
    parser.add_argument("--events", type=int, default=4_348_000, help="of one replay, all three kinds")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args(words)
    unknown = [name for name in arguments.queries if name not in QUERIES]
    if unknown:
        parser.error(f"expected queries of {', '.join(QUERIES)}, got {', '.join(unknown)}")
    bid = bids(arguments.events)
    print(
        f"{bid.height:,} bids a replay in memory, batches of {BATCH_ROWS:,}, two splits, {THREADS} threads, "
        f"a checkpoint every {CHECKPOINT_INTERVAL}; M rows/s, median (best) of {arguments.rounds}",
    )
    failures = [
        reason for name in arguments.queries for reason in measure(name, QUERIES[name], bid, arguments.rounds)
    ]
    for reason in failures:
        print(f"error: {reason}", file=sys.stderr)
    return 1 if failures else 0


def measure(name: str, query: Query, bid: pl.DataFrame, rounds: int) -> list[str]:
    """Prints the lines of one query; gives what was wrong with the measurement."""
    check(query, bid[: 8 * BATCH_ROWS])
    others = anchors(bid)
    empty = dff.from_batches(bid.clear(), bid.clear())
    start = median(run_engine(query, empty).seconds for _ in range(3))
    replays = replays_needed(query, bid, others, start)
    left, right = splits(bid, replays, shift=query.has_windows)
    source = dff.from_batches(left, right)
    seconds: dict[str, list[float]] = {contender: [] for contender in (OURS, *others)}
    peaks = dict.fromkeys(seconds, 0.0)
    checkpoints = []
    for _ in range(rounds):
        with watched() as peak:
            run = run_engine(query, source)
        seconds[OURS].append(run.seconds)
        checkpoints.append(run.checkpoints)
        peaks[OURS] = max(peaks[OURS], peak.mib)
        for contender, anchor in others.items():
            with watched() as peak:
                seconds[contender].append(timed(anchor, query, replays))
            peaks[contender] = max(peaks[contender], peak.mib)
    rows = replays * bid.height
    rates = {contender: rows / median(times) / 1e6 for contender, times in seconds.items()}
    best = max(rates[contender] for contender in others)
    print(f"\n{name}  {query.title}: {rows / 1e6:.0f} M rows, {replays} replays")
    for contender, rate in rates.items():
        fastest = rows / min(seconds[contender]) / 1e6
        print(f"  {contender:<18}{rate:9.1f} ({fastest:.1f})   +{peaks[contender]:,.0f} MiB")
    verdict = "met" if rates[OURS] >= query.bar * best else "MISSED"
    print(
        f"  ratio to the best {rates[OURS] / best:.2f} (bar {query.bar}: {verdict}), "
        f"{min(checkpoints)} to {max(checkpoints)} checkpoints committed, "
        f"a job without rows {start * 1e3:.0f} ms",
        flush=True,
    )
    if min(checkpoints) < LEAST_CHECKPOINTS:
        return [f"{name}: expected at least {LEAST_CHECKPOINTS} checkpoints in a run, got {min(checkpoints)}"]
    return []


def check(query: Query, bid: pl.DataFrame) -> None:
    """Every contender's answer over two replays, against Polars' own answer to the engine's query."""
    rows = pl.concat([replayed(bid, 0), replayed(bid, 1)], rechunk=True)
    wanted = query.ours(rows.lazy()).collect(engine="in-memory")
    columns = wanted.columns
    answers = {contender: anchor(query) for contender, anchor in anchors(rows).items()}
    ours = run_engine(query, dff.from_batches(*splits(bid, 2, shift=True)), keep=True).result
    answers[OURS] = wanted.clear() if ours is None else ours
    for answer in answers.values():
        assert_frame_equal(answer.select(columns).sort(columns), wanted.sort(columns), rel_tol=1e-12)


def replays_needed(query: Query, bid: pl.DataFrame, others: dict[str, Anchor], start: float) -> int:
    """So many that the slowest contender is busy long enough, and the engine for its checkpoints."""
    warm = max(min(timed(anchor, query, 1) for _ in range(3)) for anchor in others.values())
    few = dff.from_batches(*splits(bid, FEW_REPLAYS, shift=query.has_windows))
    whole = min(run_engine(query, few).seconds for _ in range(2))
    # A job of this length may be mostly start, which says little about a long one.
    ours = max(whole - start, whole / 8) / FEW_REPLAYS
    return max(FEW_REPLAYS, math.ceil(max(SLOWEST_SECONDS / max(warm, ours), OURS_SECONDS / ours)))


def timed(anchor: Anchor, query: Query, replays: int) -> float:
    """Seconds for all replays. The result of one is dropped before the next."""
    started = time.perf_counter()
    for _ in range(replays):
        anchor(query)
    return time.perf_counter() - started
