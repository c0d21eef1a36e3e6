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

__all__ = ["__version__"]
