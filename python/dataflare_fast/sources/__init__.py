"""What a query reads, as descriptions: leaves of a LazyFrame that plain Polars and the planner both know.

One source, one file; `leaf.py` is what they share. Nothing here runs a job.
"""
