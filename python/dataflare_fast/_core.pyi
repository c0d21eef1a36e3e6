"""The engine in Rust. Private: public names come through `dataflare_fast`."""

from typing import Protocol, final, type_check_only

__all__ = ["ArrowBatch", "__version__", "compiled_functions", "evaluate", "is_compiled"]

__version__: str

@type_check_only
class _ArrowStreamExportable(Protocol):
    """Whatever hands out batches by the Arrow C stream interface, such as a `pl.DataFrame`."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

@final
class ArrowBatch:
    """One batch of the engine. `pl.DataFrame(batch)` reads it in place, no copy."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

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
