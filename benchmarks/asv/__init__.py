"""Classes for `asv run`: three kernels and one query from end to end; parameters are named, seeds fixed.

asv imports the files of this folder by themselves, so that they may use nothing beside the installed package.
"""
