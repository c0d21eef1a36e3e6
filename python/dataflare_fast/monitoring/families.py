"""The names of our metrics: one table that the exporter, the dashboard, the rules and the documentation
share.

Names end in base units. Labels are names that the query's author chose and names of splits, never a key, a
user or a text of an error. Not here: values (`snapshot.py`), the exposition (`collector.py`).
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

__all__ = ["FAMILIES", "OPERATOR", "PIPELINE", "PREFIX", "SPLIT", "Family"]

PREFIX: Final = "dataflare_"

PIPELINE: Final = ("pipeline",)
OPERATOR: Final = ("pipeline", "operator", "kind", "task")
SPLIT: Final = ("pipeline", "source", "split")


class Family(NamedTuple):
    """One metric.

    Args:
        kind: of Prometheus.
        labels: in the order of the values.
        text: what it says.
    """

    kind: Literal["counter", "gauge", "info", "stateset"]
    labels: tuple[str, ...]
    text: str


FAMILIES: Final[dict[str, Family]] = {
    "records_in_total": Family("counter", OPERATOR, "Rows that the operator took."),
    "records_out_total": Family("counter", OPERATOR, "Rows that left the operator."),
    "bytes_in_total": Family("counter", OPERATOR, "Bytes that a source was given."),
    "busy_seconds_total": Family("counter", OPERATOR, "Time at work, all workers."),
    "workers": Family("gauge", OPERATOR, "Instances of the operator."),
    "watermark_seconds": Family("gauge", OPERATOR, "No later row is older than this Unix time."),
    "event_time_lag_seconds": Family("gauge", OPERATOR, "The wall clock less the watermark."),
    "late_records_total": Family("counter", OPERATOR, "Rows behind the watermark."),
    "dead_letter_records_total": Family("counter", OPERATOR, "Rows that could not be computed."),
    "state_size_bytes": Family("gauge", OPERATOR, "Memory of keyed state, all workers."),
    "source_pending_records": Family("gauge", SPLIT, "Rows known to wait at the source."),
    "source_lag_records": Family("gauge", SPLIT, "Distance to the end of the split, in the source's count."),
    "pipeline_state": Family("stateset", ("pipeline", "state"), "What the pipeline does now."),
    "uptime_seconds": Family("gauge", PIPELINE, "Since this start."),
    "restarts_total": Family("counter", PIPELINE, "Starts after the first one."),
    "checkpoints_total": Family("counter", ("pipeline", "status"), "Committed and abandoned checkpoints."),
    "checkpoint_epoch": Family("gauge", PIPELINE, "Number of the newest committed checkpoint."),
    "checkpoint_duration_seconds": Family("gauge", PIPELINE, "Of the newest committed checkpoint."),
    "checkpoint_size_bytes": Family("gauge", PIPELINE, "Of the newest committed checkpoint."),
    "checkpoint_last_success_timestamp_seconds": Family(
        "gauge", PIPELINE, "Unix time of the newest commit of this start."
    ),
    "process_cpu_seconds_total": Family("counter", PIPELINE, "CPU time of the pipeline's process."),
    "process_resident_memory_bytes": Family("gauge", PIPELINE, "Memory of the pipeline's process."),
    "metric_label_sets": Family(
        "gauge", ("pipeline", "metric"), "Label sets of a `.stream.metric`; beyond 1000 it is left out here."
    ),
    "build_info": Family("info", (), "Versions of this package, of Polars and of Python."),
}
"""By name without the prefix `dataflare_`."""
