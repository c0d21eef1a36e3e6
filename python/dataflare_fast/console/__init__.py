"""The console: pages that the service serves (`assets/`); plain files, no build step.

Not here: where their numbers come from (`service/api.py`).
"""
