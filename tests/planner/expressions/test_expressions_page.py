"""`docs/expressions.md` says what the table says."""

from __future__ import annotations

import runpy
from pathlib import Path

from dataflare_fast.planner.classes import CLASSES, CONDITIONS

_SCRIPT = Path(__file__).parents[3] / "scripts" / "write_expressions_page.py"


def test_page_is_what_the_script_writes() -> None:
    script = runpy.run_path(str(_SCRIPT))
    assert script["PAGE"].read_text(encoding="utf-8") == script["page"](), f"run python {_SCRIPT}"


def test_conditions_stand_on_functions_of_the_table() -> None:
    assert CONDITIONS.keys() - CLASSES.keys() == {"lit", "rolling_*"}
