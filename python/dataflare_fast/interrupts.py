"""Ctrl-C while a job runs: the first one stops in good order and says so, the second one cancels.

Only in the main thread, and only where Python's own handler stands: a program that handles SIGINT itself, or
asyncio, keeps its handler. Called by `job.py`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType

from dataflare_fast.notices import tell

__all__ = ["Interrupts"]


class Interrupts:
    """While entered, counts Ctrl-C instead of raising KeyboardInterrupt wherever the program happens to be.

    Args:
        stop: called for the first one; None: the first one cancels.
        cancel: called for the second one.
    """

    def __init__(self, stop: Callable[[], None] | None, cancel: Callable[[], None]) -> None:
        self._stop = stop
        self._cancel = cancel
        self._installed = False
        self.cancelled = False

    def __enter__(self) -> Interrupts:
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)
            self._installed = True
        return self

    def __exit__(self, *_error: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._installed = False

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        stop, self._stop = self._stop, None  # first: the next Ctrl-C may come inside this function
        if stop is not None:
            tell(
                "stopping: waiting for the last checkpoint; Ctrl-C again cancels (rows since then come again)"
            )
            stop()
            return
        self.cancelled = True
        self._cancel()
