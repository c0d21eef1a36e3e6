"""`python -m dataflare_fast.cli` is `dataflare`."""

from dataflare_fast.cli import main

main()
