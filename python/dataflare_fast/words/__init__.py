"""The words of `.stream` that Polars lacks, each a leaf that remembers the frame below it.

Each has a meaning in plain Polars, which is the oracle of the engine. One word, one file; `word.py` is what
they share.
"""
