"""A stream engine for Polars: describe a query as a `pl.LazyFrame`, run it for ever with `Engine`.

Public names come through this module only. Not here: behaviour.
"""

try:
    from dataflare_fast import _native  # noqa: F401
    from dataflare_fast._core import __version__
except ImportError as error:
    raise ImportError(
        f"dataflare_fast: expected the compiled modules _core and _native beside {__file__}, got: {error}. "
        "Build both with `pip install .` (or `pip install -e .`); `maturin build` and `maturin develop` "
        "called directly leave _native out."
    ) from error

from dataflare_fast import (
    errors,
    frame,  # noqa: F401 - registers the namespace `.stream`
    monitoring,
    testing,
    udf,
)
from dataflare_fast.checkpoint.contents import CheckpointContents, read_checkpoint
from dataflare_fast.checkpoint.settings import Checkpoint
from dataflare_fast.engine import Engine
from dataflare_fast.job import Job, JobStatus
from dataflare_fast.planner.explain import explain
from dataflare_fast.progress import follow
from dataflare_fast.sources.batches import from_batches
from dataflare_fast.sources.kafka import scan_kafka
from dataflare_fast.sources.nexmark import Nexmark, nexmark
from dataflare_fast.sources.python import ReadableSource, scan_source
from dataflare_fast.sources.scans import scan_avro, scan_csv, scan_ipc, scan_ndjson, scan_parquet
from dataflare_fast.sql import sql
from dataflare_fast.words.sink import WritableSink

__all__ = [
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
