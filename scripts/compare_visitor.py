"""Shows what another Polars version changes in what the visitor reads.

`python scripts/compare_visitor.py` compares the Polars that is installed with the snapshot,
`python scripts/compare_visitor.py 2.2.0` that version, which it installs into a folder of its own.
`--write` makes the snapshot that of the Polars that is installed. Exits with 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main() -> int:
    """Runs the command line; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", nargs="?", help="of Polars; the installed one without")
    parser.add_argument("--write", action="store_true", help="write the snapshot")
    arguments = parser.parse_args()
    if arguments.version is not None:
        return with_version(arguments.version)
    sys.path[:0] = [str(ROOT), str(ROOT / "python")]
    import polars as pl
    from tests.planner.golden.snapshot import GOLDEN, lines

    read = dict(lines())
    if arguments.write:
        texts = [{"polars": pl.__version__}, *({name: text} for name, text in read.items())]
        GOLDEN.write_text(
            "".join(json.dumps(text, ensure_ascii=False) + "\n" for text in texts), encoding="utf-8"
        )
        print(f"{len(read)} lines of Polars {pl.__version__} in {GOLDEN.relative_to(ROOT)}")
        return 0
    header, *golden_lines = map(json.loads, GOLDEN.read_text(encoding="utf-8").splitlines())
    golden = {name: text for line in golden_lines for name, text in line.items()}
    differences = [name for name in golden | read if golden.get(name) != read.get(name)]
    for name in differences:
        print(f"{name}\n  - {golden.get(name)}\n  + {read.get(name)}")
    print(f"Polars {pl.__version__} against {header['polars']}: {len(differences)} of {len(golden)} differ")
    return 1 if differences else 0


def with_version(version: str) -> int:
    """The same in a process that finds another Polars first."""
    with tempfile.TemporaryDirectory(prefix="polars-") as folder:
        install = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--target",
            folder,
            f"polars=={version}",
        ]
        subprocess.run(install, check=True)  # noqa: S603 - the user's own version
        paths = [folder, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        return subprocess.run([sys.executable, __file__], env=environment, check=False).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
