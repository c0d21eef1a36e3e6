"""The only code that touches Polars' private classes: it copies the optimised plan into plain frozen values.

`plan.py` walks the nodes, `expressions.py` the expressions inside them. Decides nothing; refuses only a
Polars version that it does not know.
"""
