"""What users need to test their own queries, sources and sinks. Our own tests use the same.

`check.py`: the law, under seeds. `harness.py`: a query step by step. `contract.py`: rules for sources and
sinks of users. `random_queries.py`: whole queries from seeds, of the words in `query_tables.py`.
"""

from dataflare_fast.testing.check import Attempt, check, simulate
from dataflare_fast.testing.contract import check_sink, check_source
from dataflare_fast.testing.harness import Harness, harness, pushed
from dataflare_fast.testing.random_queries import RandomQuery, check_random_query, random_query

__all__ = [
    "Attempt",
    "Harness",
    "RandomQuery",
    "check",
    "check_random_query",
    "check_sink",
    "check_source",
    "harness",
    "pushed",
    "random_query",
    "simulate",
]
