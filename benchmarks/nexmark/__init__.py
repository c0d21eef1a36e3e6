"""Nexmark as Polars and as SQL, with checked answers."""
