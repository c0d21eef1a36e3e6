"""The engine in Rust. Private: public names come through `dataflare_fast`."""

from collections.abc import Iterator
from typing import Protocol, final, type_check_only

__all__ = [
    "ArrowBatch",
    "Collector",
    "Feed",
    "Harness",
    "Job",
    "__version__",
    "compiled_functions",
    "evaluate",
    "explain",
    "is_compiled",
    "processor_path",
    "read_split",
    "simulate",
    "source_splits",
    "start",
    "verify_object",
]

__version__: str

@type_check_only
class _ArrowStreamExportable(Protocol):
    """Whatever hands out batches by the Arrow C stream interface, such as a `pl.DataFrame`."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

@final
class ArrowBatch:
    """One batch of the engine. `pl.DataFrame(batch)` reads it in place, no copy."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

def processor_path() -> str:
    """Which path of kernels with several this processor takes: `"avx2"` or `"baseline"`."""

def compiled_functions() -> list[str]:
    """Names of the functions that have a kernel for at least some types and options, in Polars' spelling."""

def is_compiled(expr: str, schema: str) -> bool:
    """Says whether kernels alone evaluate an expression; parts marked residual count as evaluated.

    Args:
        expr: an expression of the plan, as JSON.
        schema: the columns that it may read, as the plan's JSON.

    Raises:
        ValueError: no expression, or no schema, of the plan.
    """

def evaluate(exprs: str, schema: str, frame: _ArrowStreamExportable) -> ArrowBatch:
    """Evaluates row-wise expressions as the operators of a job do: kernels without the GIL, Polars with it.

    Args:
        exprs: a JSON array of named expressions of the plan (`{"name": .., "expr": ..}`).
        schema: the columns that they read, as the plan's JSON.
        frame: the rows; read in place.

    Returns:
        One column for each expression, as long as the frame.

    Raises:
        ValueError: no expressions of the plan, or a row that cannot be computed.
    """

def explain(plan: str) -> str:
    """Draws a plan, sinks first.

    Args:
        plan: its JSON form.

    Raises:
        InternalError: it breaks a rule of plans.
    """

def source_splits(connector: str, options: str, schema: str) -> list[str]:
    """Names the splits of a source, in logical order.

    Args:
        connector: the reader's name in the plan.
        options: its options, as the plan's JSON.
        schema: the columns to read, as the plan's JSON.

    Raises:
        CallError: no such reader, or a bad option.
        UnavailableError: the place does not answer.
    """

def read_split(connector: str, options: str, schema: str, split: str) -> Iterator[ArrowBatch]:
    """Reads one split of a bounded source from its beginning.

    Args:
        connector: the reader's name in the plan.
        options: its options, as the plan's JSON.
        schema: the columns to read, as the plan's JSON.
        split: one of `source_splits`.

    Raises:
        CallError: no such reader, or a bad option.
        DataError: a row that cannot be read.
        UnavailableError: the place does not answer.
    """

@final
class Collector:
    """Where a job puts the rows of one `collect`: the `object` of a sink node with connector "collect"."""

    def __new__(cls) -> Collector: ...
    def take(self) -> list[ArrowBatch]:
        """The batches so far; they are given once."""

@final
class Job:
    """A running job. Dropping it cancels the job."""

    @property
    def was_finished(self) -> bool:
        """True: the restored record says that the input had ended; nothing was started."""

    def wait(self, timeout_s: float | None) -> bool:
        """Waits without the GIL. True: the job has ended; raises why it failed."""

    def stop(self, drain: bool) -> None:
        """Asks for the last checkpoint; returns at once."""

    def checkpoint(self) -> None:
        """Asks for a checkpoint; returns at once."""

    def cancel(self) -> None:
        """Ends the job without a checkpoint; returns at once."""

    def status(self) -> str:
        """One look, as JSON."""

    def splits(self) -> str:
        """How far the splits of all sources are, as JSON."""

    def metric_values(self) -> list[tuple[str, ArrowBatch]]:
        """The values of the metrics of users, by name."""

    def metrics(self) -> str:
        """Counters of all operators, as JSON."""

def start(plan_json: str, settings_json: str, objects: list[object]) -> Job:
    """Starts a job in the background; everything that can be refused is refused here."""

def simulate(plan_json: str, settings_json: str, objects: list[object], seed: int) -> list[list[ArrowBatch]]:
    """Runs a bounded job under a seed's schedule; gives the published batches of each sink."""

def verify_object(entry_json: str, bytes: bytes) -> None:
    """Compares an object of a checkpoint with its entry in the record, as a restore does.

    Args:
        entry_json: the entry, with name, size and CRC32C.
        bytes: the object; read in place.

    Raises:
        DataError: they differ; names the object.
    """

@final
class Feed:
    """Rows that a test has pushed and nobody has read yet."""

    def __new__(cls, splits: int) -> Feed: ...
    def push(self, split: int, frame: _ArrowStreamExportable) -> None:
        """Adds a batch; taken over without a copy."""

    def end(self) -> None:
        """No rows follow."""

@final
class Harness:
    """A query that a test drives; sinks are replaced by `take`."""

    def __new__(cls, plan_json: str, on_error: str, workers: int, objects: list[object]) -> Harness: ...
    def advance(self, nanoseconds: int) -> bool:
        """Runs all that can run, so much later. True: the query has ended."""

    def take(self) -> list[ArrowBatch]:
        """What has left since the last call."""
