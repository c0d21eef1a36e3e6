"""Topics, messages and a stand-in for the schema registry, independent of our own client."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import polars as pl
import pytest
from confluent_kafka import Consumer, Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic

import dataflare_fast as dff

SERVICES = Path(os.environ.get("DATAFLARE_SERVICES", Path(__file__).parents[3] / "shared" / "services"))


@contextmanager
def started(folder: Path, *, secure: bool) -> Iterator[dict[str, str]]:
    script = SERVICES / "kafka.sh"
    if not script.exists():
        pytest.skip(f"no Kafka: {script} is not there; set DATAFLARE_SERVICES")
    environment = {**os.environ, "KAFKA_SECURE": "1"} if secure else None
    run = subprocess.run(
        [script, "start", folder], text=True, stdout=subprocess.PIPE, check=True, env=environment
    )
    try:
        yield dict(line.split("=", 1) for line in run.stdout.splitlines())
    finally:
        subprocess.run([script, "stop", folder], check=True, stdout=subprocess.DEVNULL)


def new_topic(servers: str, partitions: int = 2, name: str | None = None) -> str:
    name = name or f"bids-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result()
    return name


def add_partitions(servers: str, topic: str, count: int) -> None:
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_partitions([NewPartitions(topic, count)])[topic].result()


def send(
    servers: str,
    topic: str,
    values: Sequence[bytes | str | None],
    *,
    partition: int = 0,
    key: bytes | None = None,
    **more: Any,
) -> None:
    """Writes messages to a partition; `config` is the producer's, the rest is each message's."""
    config = more.pop("config", {})
    producer = Producer({"bootstrap.servers": servers, **config})
    for value in values:
        producer.produce(topic, value, key, partition, **more)
        producer.poll(0)
    assert producer.flush(30) == 0


def receive(servers: str, topic: str, count: int) -> list[Message]:
    consumer = Consumer(
        {"bootstrap.servers": servers, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    messages: list[Message] = []
    while len(messages) < count:
        message = consumer.poll(30)
        assert message is not None, f"{len(messages)} messages, then none for 30 s"
        assert message.error() is None
        messages.append(message)
    consumer.close()
    return messages


class Rows:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.frames: list[pl.DataFrame] = []

    def write(self, rows: pl.DataFrame) -> None:
        self.frames.append(rows)

    def prepare(self, epoch: int) -> None: ...

    def confirm(self, epoch: int, prepared: Any) -> None: ...

    def count(self) -> int:
        return sum(frame.height for frame in self.frames)

    def all(self) -> pl.DataFrame:
        return pl.concat(self.frames)


def wait_until(job: dff.Job, condition: Callable[[], bool]) -> None:
    """Returns when the condition holds; fails when the job has ended or after 30 s."""
    for _ in range(600):
        if condition():
            return
        assert not job.wait("50ms"), "the job has ended"
    raise AssertionError(f"not within 30 s: {job.status()}")


class Registry:
    """Answers like a schema registry, over HTTP, from a table of the test's own.

    It stands in for Confluent's: same paths, same answers, no compatibility rules.
    """

    def __init__(self) -> None:
        self.schemas: dict[int, dict[str, Any]] = {}
        self.subjects: dict[tuple[str, int], int] = {}
        self.asked: list[str] = []
        self.authorizations: list[str | None] = []
        self.required: str | None = None
        self.broken = False
        table = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, answer = table._answer(self.path, self.headers.get("Authorization"))
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def add(
        self,
        schema: str | dict[str, Any],
        kind: str = "AVRO",
        *,
        subject: str | None = None,
        references: Sequence[dict[str, Any]] = (),
    ) -> int:
        """Gives the schema its id."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        found = len(self.schemas) + 1
        self.schemas[found] = {"schema": text, "references": list(references)}
        if kind != "AVRO":
            # The registry leaves the word out for Avro.
            self.schemas[found]["schemaType"] = kind
        if subject is not None:
            self.subjects[(subject, 1)] = found
        return found

    def _answer(self, path: str, authorization: str | None) -> tuple[int, dict[str, Any]]:
        self.asked.append(path)
        self.authorizations.append(authorization)
        if self.broken:
            return 503, {"error_code": 50301, "message": "not now"}
        if self.required is not None and authorization != self.required:
            return 401, {"error_code": 40101, "message": "Unauthorized"}
        match path.strip("/").split("/"):
            case ["schemas", "ids", number] if int(number) in self.schemas:
                return 200, self.schemas[int(number)]
            case ["subjects", subject, "versions", version] if (subject, int(version)) in self.subjects:
                return 200, self.schemas[self.subjects[(subject, int(version))]]
        return 404, {"error_code": 40403, "message": "Schema not found"}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def framed(schema: int, body: bytes) -> bytes:
    """The wire format: a zero byte, the schema's id, the value."""
    return struct.pack(">bI", 0, schema) + body
