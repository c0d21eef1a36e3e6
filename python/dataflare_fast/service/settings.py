"""What an operator may write into the configuration: values, checked; no behaviour.

DataFlare's names for the settings of a stream stay as they were; `docs/service.md` says what each does here.
Not here: where the values come from (`reading_settings.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from dataflare_fast.config import parse_bytes, parse_duration_ns, parse_job_name
from dataflare_fast.errors import CallError
from dataflare_fast.monitoring.server import is_loopback

__all__ = ["Duration", "JobSettings", "RestartSettings", "ServiceSettings", "StreamSettings", "seconds"]


def _duration(text: str) -> str:
    parse_duration_ns(text, "duration", least_ns=1)
    return text


def _size(text: str) -> str:
    parse_bytes(text, "size", least=1)
    return text


def _loopback(address: str) -> str:
    if not is_loopback(address):
        raise CallError(
            f"expected an address of the loopback interface, got {address!r}: there is no authentication; "
            "reach the service through a tunnel (ssh -L) or a proxy that asks who comes"
        )
    return address


Duration = Annotated[str, AfterValidator(_duration), Field(examples=["30s", "1h30m"])]
Size = Annotated[str, AfterValidator(_size), Field(examples=["64MiB"])]


def seconds(duration: str) -> float:
    """The length of a duration such as `"30s"`."""
    return parse_duration_ns(duration, "duration") / 1e9


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StreamSettings(_Settings):
    """How jobs run, unless their own settings say otherwise."""

    batch_size: int = Field(default=65_536, ge=1, le=2**31 - 1, description="Most rows of a batch.")
    processing_timeout: Duration | None = Field(
        default=None,
        description="A job with rows that wait and none that moves for so long is started again.",
    )
    backpressure_threshold: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Share of its time at work from which a step is named as what holds the others up.",
    )
    checkpoint_interval: Duration = Field(default="10s", description="From one checkpoint to the next.")
    checkpoints_kept: int = Field(default=3, ge=1, description="How many checkpoints stay.")
    parallelism: int | None = Field(
        default=None, ge=1, le=1024, description="Worker threads; none: one for each core."
    )
    memory_limit: Size | None = Field(
        default=None, description="Bytes of state; a job that needs more fails."
    )
    on_error: Literal["raise", "skip", "dead_letter"] = Field(
        default="raise", description="What happens to a row that cannot be computed."
    )


class RestartSettings(_Settings):
    """What happens when a job fails."""

    limit: int = Field(
        default=10, ge=0, description="Most starts again within `window`; then the job stays down."
    )
    window: Duration = Field(default="10m", description="Failures longer ago are forgotten.")
    first_delay: Duration = Field(
        default="1s", description="Before the first start again; doubles each time."
    )
    longest_delay: Duration = Field(default="1m", description="The most that it doubles to.")


class JobSettings(_Settings):
    """One job. What is left out is taken from `streams` and `restart`."""

    target: str = Field(description="FILE.py:NAME: lazy sinks; relative to the configuration's folder.")
    start: bool = Field(default=True, description="It starts with the service.")
    environment: dict[str, SecretStr] = Field(default_factory=dict, description="Variables; never shown.")
    restart: RestartSettings | None = None
    batch_size: int | None = Field(default=None, ge=1, le=2**31 - 1)
    processing_timeout: Duration | None = None
    backpressure_threshold: float | None = Field(default=None, gt=0, le=1)
    checkpoint_interval: Duration | None = None
    checkpoints_kept: int | None = Field(default=None, ge=1)
    parallelism: int | None = Field(default=None, ge=1, le=1024)
    memory_limit: Size | None = None
    on_error: Literal["raise", "skip", "dead_letter"] | None = None

    def stream(self, defaults: StreamSettings) -> StreamSettings:
        """Its own settings over the defaults."""
        own: dict[str, Any] = {
            name: value for name in StreamSettings.model_fields if (value := getattr(self, name)) is not None
        }
        return defaults.model_copy(update=own)


def _job_names(jobs: dict[str, JobSettings]) -> dict[str, JobSettings]:
    for name in jobs:
        parse_job_name(name)
    return jobs


class ServiceSettings(_Settings):
    """All of it."""

    address: Annotated[str, AfterValidator(_loopback)] = Field(
        default="127.0.0.1", description="Loopback only."
    )
    port: int = Field(default=8642, ge=0, le=65_535, description="0: a free one, which is printed.")
    folder: Path = Field(
        default=Path("dataflare-service"), description="State of jobs, their logs, what to go on with."
    )
    max_concurrent_streams: int = Field(
        default=16, ge=1, description="Jobs that run at once; others wait their turn."
    )
    log_limit: Size = Field(
        default="16MiB", description="A longer log of a job is begun anew; one old one stays."
    )
    jobs_folder: Path | None = Field(
        default=None, description="Each FILE.py in it that has the name `job` is a job named FILE."
    )
    streams: StreamSettings = StreamSettings()
    restart: RestartSettings = RestartSettings()
    jobs: Annotated[dict[str, JobSettings], AfterValidator(_job_names)] = Field(default_factory=dict)
