"""A real broker for the session, by the scripts that `DATAFLARE_SERVICES` names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .broker import Registry, started


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with started(tmp_path_factory.mktemp("kafka"), secure=False) as found:
        yield found["KAFKA_BOOTSTRAP_SERVERS"]


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as running:
        yield running
