"""The engine in Rust. Private: public names come through `dataflare_fast`."""

__all__ = ["__version__", "compiled_functions", "is_compiled"]

__version__: str

def compiled_functions() -> list[str]:
    """Names of the functions that have a kernel for at least some types and options, in Polars' spelling."""

def is_compiled(expr: str, schema: str) -> bool:
    """Says whether the engine's kernels alone evaluate an expression; parts marked residual count as evaluated.

    Args:
        expr: an expression of the plan, as JSON.
        schema: the columns that it may read, as the plan's JSON.

    Raises:
        ValueError: no expression, or no schema, of the plan.
    """
