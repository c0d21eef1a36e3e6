"""What users need to test their own queries, sources and sinks. Our own tests use the same.

`check.py`: the law, under seeds. `contract.py`: rules that a source or sink written in Python must keep.
"""

from dataflare_fast.testing.check import check, simulate
from dataflare_fast.testing.contract import check_sink, check_source
from dataflare_fast.testing.random_queries import RandomQuery, check_random_query, random_query

__all__ = [
    "RandomQuery",
    "check",
    "check_random_query",
    "check_sink",
    "check_source",
    "random_query",
    "simulate",
]
