"""Arguments of `Engine` and `Checkpoint`: every bad value is a `CallError` that names it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import dataflare_fast as dff
from dataflare_fast.config import parse_bytes
from dataflare_fast.errors import CallError


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("name", ""),
        ("name", "a/b"),
        ("name", "../up"),
        ("name", 7),
        ("parallelism", 0),
        ("parallelism", True),
        ("parallelism", 1.5),
        ("batch_rows", 0),
        ("latency", "5 ms"),
        ("latency", 5),
        ("latency", "1mo"),
        ("latency", timedelta(seconds=-1)),
        ("checkpoint", 3),
        ("checkpoint", ""),
        ("memory_limit", "2 gigs"),
        ("memory_limit", 0),
        ("memory_limit", True),
        ("on_error", "ignore"),
    ],
)
def test_bad_engine_setting_is_named(setting: str, value: Any) -> None:
    with pytest.raises(CallError, match=setting):
        dff.Engine(**{setting: value})


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("interval", "0s"),
        ("interval", 10),
        ("min_pause", "-1s"),
        ("timeout", "0s"),
        ("keep", 0),
        ("restore", "newest"),
        ("restore", 0),
        ("restore", True),
    ],
)
def test_bad_checkpoint_setting_is_named(setting: str, value: Any) -> None:
    with pytest.raises(CallError, match=setting):
        dff.Checkpoint("state/", **{setting: value})


def test_object_store_is_refused_for_now() -> None:
    with pytest.raises(CallError, match="local folder"):
        dff.Checkpoint("s3://bucket/state")


def test_arguments_are_keyword_only() -> None:
    with pytest.raises(TypeError):
        dff.Engine("hot")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        dff.Checkpoint("state/", "1s")  # type: ignore[call-arg]


def test_engine_and_checkpoint_do_not_change() -> None:
    with pytest.raises(AttributeError, match="parallelism"):
        dff.Engine().parallelism = 3
    with pytest.raises(AttributeError):
        dff.Checkpoint("state/").keep = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "size"), [("64KiB", 65_536), ("2GB", 2 * 10**9), ("1.5 MiB", 1_572_864), (7, 7)]
)
def test_size_is_read(text: str | int, size: int) -> None:
    assert parse_bytes(text, "memory_limit", least=1) == size
