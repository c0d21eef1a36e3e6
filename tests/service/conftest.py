"""A real service in a process of its own, with jobs that a test writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .running import Service

Make = Callable[..., Service]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Starts a service on the test's folder; every job is ended with the test."""
    services: list[Service] = []

    def one(jobs: dict[str, Any], **settings: Any) -> Service:
        service = Service(tmp_path, jobs, settings)
        services.append(service)
        service.start()
        return service

    yield one
    for service in services:
        service.end_everything()
