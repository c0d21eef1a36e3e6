"""One query from end to end: a tumbling window over Nexmark's bids into Parquet, with checkpoints."""

from __future__ import annotations

import shutil
import tempfile

import polars as pl

import dataflare_fast as dff

SEED = 7


class HighestBids:
    """The highest bid of each auction in ten seconds, exactly once into Parquet."""

    params = ([1_000_000], [1, 2])
    param_names = ("events", "parallelism")
    unit = "seconds"
    timeout = 300

    def setup(self, events: int, _parallelism: int) -> None:
        """Makes a folder for the output and the state."""
        self.folder = tempfile.mkdtemp(prefix="dataflare-asv-")
        self.bid = dff.nexmark(events=events, seed=SEED, splits=2).bid

    def teardown(self, _events: int, _parallelism: int) -> None:
        """Removes it."""
        shutil.rmtree(self.folder)

    def time_query(self, _events: int, parallelism: int) -> None:
        """From planning to the last commit; each time another job."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            engine = dff.Engine(
                name="highest-bids",
                parallelism=parallelism,
                checkpoint=dff.Checkpoint(f"{folder}/state", interval="200ms"),
            )
            (
                self.bid.stream.with_watermark("ts", delay="2s")
                .group_by_dynamic("ts", every="10s", group_by="auction")
                .agg(pl.col("price").max())
                .sink_parquet(f"{folder}/out/", engine=engine)
            )
