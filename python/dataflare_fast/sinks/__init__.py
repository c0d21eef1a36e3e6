"""Sinks to servers, each exactly once with a checkpoint: one file each, an extra of the package each.

Each is a `WritableSink`: `prepare` makes the rows of an epoch durable in the server under a token of their
own, where no reader looks; `confirm` shows them and forgets the token in one step. A token is never used
twice, so a second `confirm`, a process that wakes up late, or another checkpoint folder change nothing. The
words of `.stream` are in `words/servers.py`. Not here: Kafka and files (Rust).
"""
