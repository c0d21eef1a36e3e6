"""Metrics of jobs for Prometheus: `serve_metrics` in a program of one's own; the service has them at
`/metrics`.

Reads what the engine counts anyway, when somebody asks. Not here: counting (`rust/engine`), alerts. Importing
this package imports nothing but Python's own modules.
"""

from dataflare_fast.monitoring.assets import asset
from dataflare_fast.monitoring.server import MetricsServer, serve_metrics

__all__ = ["MetricsServer", "asset", "serve_metrics"]
