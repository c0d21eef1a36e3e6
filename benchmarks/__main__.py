"""`python -m benchmarks [throughput | latency | scaling | kafka | memory] ...`; without a word: throughput.

Each command says what it measures with `--help`. Ratios of one run hold on a machine where figures drift.
"""

from __future__ import annotations

import os
import sys

# Read once, when Polars is imported.
os.environ["POLARS_MAX_THREADS"] = "2"

from benchmarks import files, footprint, kafka, latency, scaling, throughput

COMMANDS = {
    "throughput": throughput.main,
    "files": files.main,
    "latency": latency.main,
    "scaling": scaling.main,
    "kafka": kafka.main,
    "memory": footprint.main,
}


def main() -> int:
    """Runs the command line; gives the exit code."""
    word, *others = sys.argv[1:] or ["throughput"]
    if word in COMMANDS:
        return COMMANDS[word](others)
    return throughput.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
