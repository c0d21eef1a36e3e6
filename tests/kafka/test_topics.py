"""Which topics and partitions are read, from where: patterns, moments, offsets, ones that appear."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

import dataflare_fast as dff
from dataflare_fast.errors import CallError

from .broker import Rows, add_partitions, new_topic, send, wait_until

NUMBERS = {"n": pl.Int64}


def numbers(rows: range) -> list[str]:
    return [f'{{"n": {number}}}' for number in rows]


def scan(servers: str, topic: str | None = None, **more: Any) -> pl.LazyFrame:
    return dff.scan_kafka(topic, bootstrap_servers=servers, schema=NUMBERS, **more)


def found(frame: pl.LazyFrame) -> list[int]:
    return sorted(frame.collect(engine=dff.Engine())["n"].to_list())


def test_pattern_reads_the_topics_whose_whole_name_matches(servers: str) -> None:
    prefix = f"p{uuid.uuid4().hex[:8]}"
    for number, suffix in enumerate(["-a", "-b", "-b-more"]):
        send(servers, new_topic(servers, 1, prefix + suffix), numbers(range(number, number + 1)))
    assert found(scan(servers, pattern=f"{prefix}-[ab]", end="latest")) == [0, 1]
    assert found(scan(servers, pattern=f"{prefix}-.*", end="latest")) == [0, 1, 2]
    with pytest.raises(CallError, match="none matches"):
        found(scan(servers, pattern=f"{prefix}-nothing", end="latest"))
    with pytest.raises(CallError, match="regular expression"):
        found(scan(servers, pattern="(", end="latest"))


def test_topics_and_partitions_that_appear_are_read_while_the_job_runs(servers: str) -> None:
    prefix, rows = f"grow{uuid.uuid4().hex[:8]}", Rows()
    sink = scan(servers, pattern=f"{prefix}-.*").stream.sink_to(rows, lazy=True)
    with dff.Engine().start(sink) as job:
        wait_until(job, lambda: any("no topic" in wait for wait in job.status().waits))
        topic = new_topic(servers, 1, f"{prefix}-a")
        send(servers, topic, numbers(range(3)))
        wait_until(job, lambda: rows.count() == 3)
        add_partitions(servers, topic, 2)
        send(servers, topic, numbers(range(3, 6)), partition=1)
        wait_until(job, lambda: rows.count() == 6)
    assert sorted(rows.all()["n"].to_list()) == list(range(6))


def test_job_starts_at_offsets_or_at_a_moment(servers: str) -> None:
    topic = new_topic(servers, 2)
    start = datetime(2024, 1, 1)
    for number in range(10):
        moment = int((start + timedelta(minutes=number)).replace(tzinfo=UTC).timestamp() * 1000)
        send(servers, topic, numbers(range(number, number + 1)), partition=number % 2, timestamp=moment)
    assert found(scan(servers, topic, start={0: 3, 1: 5}, end="latest")) == [6, 8]
    assert found(scan(servers, topic, start={topic: {0: 4}}, end="latest")) == [1, 3, 5, 7, 8, 9]
    assert found(scan(servers, topic, start=start + timedelta(minutes=6), end="latest")) == [6, 7, 8, 9]
    assert found(scan(servers, topic, start=start + timedelta(hours=1), end="latest")) == []
    span = scan(servers, topic, start=start + timedelta(minutes=2), end=start + timedelta(minutes=5))
    assert found(span) == [2, 3, 4]
    assert found(scan(servers, topic, end={0: 1, 1: 2})) == [0, 1, 3]
    with pytest.raises(CallError, match="an offset from 0 to 5, got 6"):
        found(scan(servers, topic, start={0: 6}, end="latest"))
    with pytest.raises(CallError, match="a partition of the topics"):
        found(scan(servers, topic, start={2: 0}, end="latest"))


def times(rows: list[int]) -> list[str]:
    return [f'{{"n": {row}}}' for row in rows]


def job_with_late_rows(servers: str, topic: str, folder: Path) -> tuple[dff.Job, Rows, Rows]:
    on_time, late = Rows(), Rows()
    frame = scan(servers, topic).stream.with_watermark("n", delay="10i")
    sinks = [frame.stream.sink_to(on_time, lazy=True), frame.stream.late().stream.sink_to(late, lazy=True)]
    engine = dff.Engine(checkpoint=dff.Checkpoint(folder, interval="50ms"))
    return engine.start(*sinks, name="late"), on_time, late


def test_partition_that_appears_starts_at_the_promise(servers: str, tmp_path: Path) -> None:
    topic = new_topic(servers, 1)
    send(servers, topic, times([1000]))
    job, on_time, late = job_with_late_rows(servers, topic, tmp_path)
    wait_until(job, lambda: on_time.count() == 1)
    add_partitions(servers, topic, 2)
    send(servers, topic, times([989, 990, 980]), partition=1)
    wait_until(job, lambda: on_time.count() + late.count() == 4)
    job.stop()
    assert sorted(on_time.all()["n"].to_list()) == [990, 1000]
    assert sorted(late.all()["n"].to_list()) == [980, 989]
    # While it was down: the restored promise counts in the same way.
    add_partitions(servers, topic, 3)
    send(servers, topic, times([5, 2000]), partition=2)
    job, on_time, late = job_with_late_rows(servers, topic, tmp_path)
    wait_until(job, lambda: on_time.count() + late.count() == 2)
    job.stop()
    assert (on_time.all()["n"].to_list(), late.all()["n"].to_list()) == ([2000], [5])


def test_partition_made_while_the_job_was_down_is_read_from_its_first_message(
    servers: str, tmp_path: Path
) -> None:
    topic = new_topic(servers, 1)
    send(servers, topic, numbers(range(3)))
    engine = dff.Engine(checkpoint=dff.Checkpoint(tmp_path, interval="50ms"))
    rows = Rows()
    job = engine.start(scan(servers, topic, start="latest").stream.sink_to(rows, lazy=True), name="down")
    wait_until(job, lambda: job.status().checkpoints_committed > 0)
    send(servers, topic, numbers(range(3, 5)))
    wait_until(job, lambda: rows.count() == 2)
    job.stop()
    add_partitions(servers, topic, 2)
    send(servers, topic, numbers(range(10, 13)), partition=1)
    rows = Rows()
    job = engine.start(scan(servers, topic, start="latest").stream.sink_to(rows, lazy=True), name="down")
    wait_until(job, lambda: rows.count() == 3)
    job.stop()
    assert sorted(rows.all()["n"].to_list()) == [10, 11, 12]


def test_offsets_of_checkpoints_are_shown_under_a_consumer_group(servers: str, tmp_path: Path) -> None:
    topic, group = new_topic(servers, 2), f"shown-{uuid.uuid4().hex[:8]}"
    send(servers, topic, numbers(range(7)))
    rows = Rows()
    engine = dff.Engine(checkpoint=dff.Checkpoint(tmp_path, interval="50ms"))
    job = engine.start(scan(servers, topic, group=group).stream.sink_to(rows, lazy=True), name="shown")
    consumer = Consumer({"bootstrap.servers": servers, "group.id": group})

    def shown() -> int:
        try:
            return int(consumer.committed([TopicPartition(topic, 0)], timeout=10)[0].offset)
        except KafkaException:  # the broker has not chosen the group's coordinator yet
            return -1

    wait_until(job, lambda: shown() == 7)
    assert not job.status().waits
    job.stop()
    consumer.close()


def test_lag_of_each_partition_is_a_metric(servers: str) -> None:
    topic, rows = new_topic(servers, 2), Rows()
    send(servers, topic, numbers(range(5)))
    with dff.Engine().start(scan(servers, topic).stream.sink_to(rows, lazy=True)) as job:
        wait_until(job, lambda: rows.count() == 5)
        wait_until(job, lambda: job.splits().filter(pl.col("lag") == 0).height == 1)
        splits = job.splits()
        assert splits["split"].to_list() == [f"{topic}-0", f"{topic}-1"]
        assert splits["offset"].to_list() == ['{"next":5}', None]


def test_messages_of_aborted_transactions_are_read_only_on_demand(servers: str) -> None:
    topic = new_topic(servers, 1)
    producer = Producer({"bootstrap.servers": servers, "transactional.id": topic})
    producer.init_transactions(30)
    for number, keep in [(1, True), (2, False), (3, True)]:
        producer.begin_transaction()
        producer.produce(topic, f'{{"n": {number}}}')
        assert producer.flush(30) == 0
        if keep:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)
    assert found(scan(servers, topic, end="latest")) == [1, 3]
    assert found(scan(servers, topic, end="latest", isolation="read_uncommitted")) == [1, 2, 3]
