"""The page of guarantees is the one that its script writes."""

from __future__ import annotations

import runpy
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "scripts" / "write_delivery_page.py"


def test_page_is_up_to_date() -> None:
    script = runpy.run_path(str(SCRIPT))
    assert script["PAGE"].read_text(encoding="utf-8") == script["page"](), (
        "run scripts/write_delivery_page.py"
    )
