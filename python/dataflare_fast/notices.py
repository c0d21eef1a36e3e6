"""What the engine tells a person while it runs, one line each on standard error.

Not here: errors (raised), logs and metrics.
"""

from __future__ import annotations

import sys

__all__ = ["tell"]


def tell(text: str) -> None:
    """Writes one line for the person at the terminal."""
    print(f"dataflare: {text}", file=sys.stderr, flush=True)
