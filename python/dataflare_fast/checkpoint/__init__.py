"""Checkpoints as users meet them: where and when (`settings.py`), which jobs (`folder.py`), what is inside
(`contents.py`).

Not here: writing them (`rust/engine/src/checkpoint`). Everything reads plain JSON and Arrow files.
"""
