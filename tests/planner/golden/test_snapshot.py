"""The visitor reads of this Polars version what the snapshot says."""

from __future__ import annotations

import json

import polars as pl
from tests.planner.golden.snapshot import GOLDEN, lines

_HOW = "see python scripts/compare_visitor.py, and --write where the change is meant"


def test_visitor_reads_what_the_snapshot_holds() -> None:
    header, *golden = GOLDEN.read_text(encoding="utf-8").splitlines()
    assert json.loads(header) == {"polars": pl.__version__}, _HOW
    read = [json.dumps({name: text}, ensure_ascii=False) for name, text in lines()]
    assert [line for line in read if line not in golden] == [], _HOW
    assert len(read) == len(golden), _HOW
