"""What users need to test their own queries, sources and sinks. Our own tests use the same.

`contract.py`: rules that a source or sink written in Python must keep.
"""

from dataflare_fast.testing.contract import check_sink, check_source

__all__ = ["check_sink", "check_source"]
