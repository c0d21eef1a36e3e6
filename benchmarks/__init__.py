"""Speed of the engine against DuckDB and Polars. `python -m benchmarks`; asv's classes are in `asv/`."""
