"""The public names, written out: a change here is a change for users."""

from __future__ import annotations

import dataflare_fast as dff


def test_public_names_are_these() -> None:
    assert dff.__all__ == [
        "Checkpoint",
        "CheckpointContents",
        "Engine",
        "Job",
        "JobStatus",
        "Nexmark",
        "ReadableSource",
        "WritableSink",
        "__version__",
        "errors",
        "explain",
        "follow",
        "from_batches",
        "monitoring",
        "nexmark",
        "read_checkpoint",
        "scan_avro",
        "scan_csv",
        "scan_ipc",
        "scan_kafka",
        "scan_ndjson",
        "scan_parquet",
        "scan_source",
        "sql",
        "testing",
        "udf",
    ]
    assert all(hasattr(dff, name) for name in dff.__all__)
