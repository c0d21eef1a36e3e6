"""The example that needs a broker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from .broker import new_topic, receive, send

ROOT = Path(__file__).parents[2]


def test_example_counts_bids_into_another_topic(servers: str) -> None:
    bids, hot = new_topic(servers, 2), new_topic(servers, 1)
    send(servers, bids, [f'{{"auction": 1, "price": {n}, "ts": "2024-01-01T00:00:0{n}"}}' for n in range(5)])
    environment = {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": servers, "BIDS": bids, "HOT": hot, "BOUNDED": "1"}
    command = [sys.executable, "-m", "dataflare_fast.cli", "run", "examples/kafka_windows.py:sink"]
    subprocess.run(command, check=True, cwd=ROOT, env=environment, timeout=60)
    (message,) = receive(servers, hot, 1)
    assert json.loads(message.value() or b"") == {
        "auction": 1,
        "ts": "2024-01-01T00:00:00",
        "bids": 4,
        "price": 4,
    }
