"""The command `dataflare`: demo, run, explain, checkpoint, doctor; serve and what asks a service.

Exit codes: 0 all is well; 1 the job failed, or what was checked is not right; 2 a wrong call. Not here:
behaviour, which the package has.
"""

from __future__ import annotations

import sys

import typer

from dataflare_fast.cli import checkpoint, demo, doctor, run, service
from dataflare_fast.errors import CallError, DataflareError

__all__ = ["main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Your Polars query, running for ever.",
)
app.command("demo")(demo.demo)
app.command("run")(run.run)
app.command("explain")(run.explain)
app.add_typer(checkpoint.app, name="checkpoint")
app.command("doctor")(doctor.doctor)
service.register(app)


def main() -> None:
    """The entry point of the console script."""
    try:
        app()
    except CallError as error:
        print(f"dataflare: {error}", file=sys.stderr)
        sys.exit(2)
    except DataflareError as error:
        print(f"dataflare: {error}", file=sys.stderr)
        sys.exit(1)
