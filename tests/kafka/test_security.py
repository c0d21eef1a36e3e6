"""SASL and TLS against a broker that asks for them; secrets stay where they belong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import dataflare_fast as dff
from dataflare_fast.errors import CallError, DataflareError

from .broker import Rows, new_topic, receive, started, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with started(tmp_path_factory.mktemp("secure"), secure=True) as found:
        yield found


def sasl(secure: dict[str, str], mechanism: str, password: str | None = None) -> dict[str, Any]:
    return {
        "bootstrap_servers": secure["KAFKA_SASL_SSL_SERVERS"],
        "config": {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": mechanism,
            "sasl.username": secure["KAFKA_SASL_USER"],
            "sasl.password": password or secure["KAFKA_SASL_PASSWORD"],
            "ssl.ca.location": secure["KAFKA_CA"],
        },
    }


def tls(secure: dict[str, str]) -> dict[str, Any]:
    return {
        "bootstrap_servers": secure["KAFKA_SSL_SERVERS"],
        "config": {
            "security.protocol": "SSL",
            "ssl.ca.location": secure["KAFKA_CA"],
            "ssl.certificate.location": secure["KAFKA_CLIENT_PEM"],
            "ssl.key.location": secure["KAFKA_CLIENT_PEM"],
        },
    }


@pytest.mark.parametrize("way", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "tls"])
def test_rows_go_out_and_come_back_over_a_secured_listener(secure: dict[str, str], way: str) -> None:
    options = tls(secure) if way == "tls" else sasl(secure, way)
    topic = new_topic(secure["KAFKA_BOOTSTRAP_SERVERS"], 1)
    rows = pl.DataFrame({"n": [1, 2, 3]})
    rows.lazy().stream.sink_kafka(topic, **options, engine=dff.Engine())
    frame = dff.scan_kafka(topic, **options, schema={"n": pl.Int64}, end="latest")
    assert frame.collect(engine=dff.Engine()).equals(rows)
    assert len(receive(secure["KAFKA_BOOTSTRAP_SERVERS"], topic, 3)) == 3


def test_wrong_password_is_refused_and_never_shown(secure: dict[str, str]) -> None:
    topic = new_topic(secure["KAFKA_BOOTSTRAP_SERVERS"], 1)
    frame = dff.scan_kafka(
        topic, **sasl(secure, "SCRAM-SHA-256", "not-the-password"), schema={"n": pl.Int64}, end="latest"
    )
    with pytest.raises(CallError, match="credentials that the broker accepts") as refused:
        frame.collect(engine=dff.Engine())
    assert "not-the-password" not in str(refused.value)
    assert "not-the-password" not in dff.explain(frame)


def test_checkpoint_folder_holds_no_password(
    secure: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    password = secure["KAFKA_SASL_PASSWORD"]
    topic = new_topic(secure["KAFKA_BOOTSTRAP_SERVERS"], 1)
    frame = dff.scan_kafka(topic, **sasl(secure, "PLAIN"), schema={"n": pl.Int64})
    engine = dff.Engine(checkpoint=dff.Checkpoint(tmp_path, interval="50ms"))
    job = engine.start(frame.stream.sink_to(Rows(), lazy=True), name="secret")
    wait_until(job, lambda: job.status().checkpoints_committed > 0)
    job.stop()
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if password.encode() in path.read_bytes()]
    shown = capfd.readouterr()
    assert password not in shown.out + shown.err + repr(job) + str(job.status())


def test_broker_that_wants_tls_is_named_when_it_is_spoken_to_without(secure: dict[str, str]) -> None:
    frame = dff.scan_kafka(
        "t",
        bootstrap_servers=secure["KAFKA_SASL_SSL_SERVERS"],
        schema={"n": pl.Int64},
        end="latest",
        outage_limit="2s",
    )
    with pytest.raises(DataflareError, match=r"127\.0\.0\.1"):
        frame.collect(engine=dff.Engine())
