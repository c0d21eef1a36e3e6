"""Snapshots as metrics of Prometheus: OpenMetrics and text, without `_created`.

A collector of prometheus-client that reads when it is scraped and keeps nothing. Not here: who takes
snapshots, the HTTP server. The only module that imports prometheus-client when it is imported itself.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import polars as pl
from prometheus_client import CollectorRegistry, exposition
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    StateSetMetricFamily,
)
from prometheus_client.registry import Collector

from dataflare_fast import _core
from dataflare_fast.monitoring.families import FAMILIES, PREFIX
from dataflare_fast.monitoring.snapshot import Snapshot, UserMetric

__all__ = ["SnapshotCollector", "exposed", "registry_of"]

_STATES = ("running", "finished", "stopped", "cancelled", "failed")
_Samples = dict[str, list[tuple[list[str], float]]]


class SnapshotCollector(Collector):
    """Turns snapshots into metrics.

    Args:
        snapshots: gives the newest ones; called at each scrape.
    """

    def __init__(self, snapshots: Callable[[], Iterable[Snapshot]]) -> None:
        self._snapshots = snapshots

    def collect(self) -> Iterator[Metric]:
        """All families, each once, with the samples of all pipelines."""
        snapshots = list(self._snapshots())
        samples: _Samples = {name: [] for name in FAMILIES}
        for snapshot in snapshots:
            _pipeline(snapshot, samples)
            for task in snapshot.tasks:
                _task(snapshot.pipeline, task, samples)
            for split in snapshot.splits:
                _split(snapshot.pipeline, split, samples)
        yield from (_family(name, samples[name]) for name in FAMILIES if samples[name])
        states = StateSetMetricFamily(
            f"{PREFIX}pipeline_state", FAMILIES["pipeline_state"].text, labels=["pipeline"]
        )
        for snapshot in snapshots:
            state = snapshot.status["state"]
            states.add_metric([snapshot.pipeline], {one: one == state for one in _STATES})
        yield states
        versions = {
            "version": _core.__version__,
            "polars": pl.__version__,
            "python": platform.python_version(),
        }
        yield InfoMetricFamily(f"{PREFIX}build", FAMILIES["build_info"].text, value=versions)
        yield from _user_families(snapshots)


def registry_of(snapshots: Callable[[], Iterable[Snapshot]]) -> CollectorRegistry:
    """A registry that knows these snapshots and nothing else."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(snapshots))
    return registry


def exposed(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """The text of a scrape and its content type, as the `Accept` header asks for."""
    encoder, content_type = exposition.choose_encoder(accept)
    return encoder(registry), content_type


def _pipeline(snapshot: Snapshot, samples: _Samples) -> None:
    status, pipeline = snapshot.status, snapshot.pipeline
    own = [pipeline]
    samples["uptime_seconds"].append((own, status["uptime"]))
    samples["restarts_total"].append((own, max(0, status["attempt"] - 1)))
    for ending in ("committed", "abandoned"):
        samples["checkpoints_total"].append(([pipeline, ending], status[f"checkpoints_{ending}"]))
    if status["checkpoint_age"] is not None:
        samples["checkpoint_epoch"].append((own, status["checkpoint_epoch"]))
        samples["checkpoint_duration_seconds"].append((own, status["checkpoint_duration"]))
        samples["checkpoint_size_bytes"].append((own, status["checkpoint_bytes"]))
        success_s = snapshot.at_s - status["checkpoint_age"]
        samples["checkpoint_last_success_timestamp_seconds"].append((own, success_s))
    samples["process_cpu_seconds_total"].append((own, snapshot.cpu_s))
    samples["process_resident_memory_bytes"].append((own, snapshot.resident_bytes))
    for metric in snapshot.metrics:
        samples["metric_label_sets"].append(([pipeline, metric.name], metric.label_sets))


def _task(pipeline: str, task: dict[str, Any], samples: _Samples) -> None:
    labels = [pipeline, task["operator"], task["kind"], str(task["task"])]
    values: dict[str, float | None] = {
        "records_in_total": task["rows_in"],
        "records_out_total": task["rows_out"],
        "bytes_in_total": task["bytes_in"] if task["kind"] == "source" else None,
        "busy_seconds_total": task["busy_ns"] / 1e9,
        "workers": task["workers"],
        "watermark_seconds": task["watermark_s"],
        "event_time_lag_seconds": task["event_time_lag_s"],
        "late_records_total": task["rows_late"] if task["kind"] == "watermark" else None,
        "dead_letter_records_total": task["rows_aside"] - task["rows_late"],
        "state_size_bytes": task["state_bytes"],
    }
    for name, value in values.items():
        if value is not None:
            samples[name].append((labels, value))


def _split(pipeline: str, split: dict[str, Any], samples: _Samples) -> None:
    labels = [pipeline, split["source"], split["split"]]
    if split["pending_rows"] is not None:
        samples["source_pending_records"].append((labels, split["pending_rows"]))
    if split["lag"] is not None:
        samples["source_lag_records"].append((labels, split["lag"]))


def _family(name: str, samples: list[tuple[list[str], float]]) -> Metric:
    found = FAMILIES[name]
    kind = CounterMetricFamily if found.kind == "counter" else GaugeMetricFamily
    family = kind(PREFIX + name, found.text, labels=list(found.labels))
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def _user_families(snapshots: list[Snapshot]) -> Iterator[Metric]:
    """One family for each name; its labels may differ from pipeline to pipeline."""
    families: dict[tuple[str, str], Metric] = {}
    kinds: dict[str, str] = {}
    for snapshot in snapshots:
        for metric in snapshot.metrics:
            # One name has one kind on a page: the first pipeline's.
            if kinds.setdefault(metric.name, metric.kind) == metric.kind:
                family = families.setdefault((metric.name, metric.kind), _empty(metric))
                _add(family, snapshot.pipeline, metric)
    yield from families.values()


def _empty(metric: UserMetric) -> Metric:
    text = f"{metric.kind.capitalize()} of a query, by .stream.metric."
    match metric.kind:
        case "counter":
            return CounterMetricFamily(metric.name, text)
        case "histogram":
            return HistogramMetricFamily(metric.name, text)
        case _:
            return GaugeMetricFamily(metric.name, text)


def _add(family: Metric, pipeline: str, metric: UserMetric) -> None:
    width = len(metric.by)
    if metric.kind != "histogram":
        for row in metric.rows:
            labels = {"pipeline": pipeline, **dict(zip(metric.by, row[:width], strict=True))}
            family.add_sample(metric.name, labels, float(row[width]))
        return
    for row in metric.rows:
        labels = {"pipeline": pipeline, **dict(zip(metric.by, row[:width], strict=True))}
        bound, count, total = row[width:]
        le = "+Inf" if bound == "inf" else str(float(bound))
        family.add_sample(f"{metric.name}_bucket", {**labels, "le": le}, float(count))
        if bound == "inf":
            family.add_sample(f"{metric.name}_count", labels, float(count))
            family.add_sample(f"{metric.name}_sum", labels, float(total))
