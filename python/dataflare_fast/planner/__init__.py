"""From a Polars LazyFrame to the plan that the Rust engine runs.

`visitor/` reads Polars' optimised plan into plain values (the only code that sees Polars' private classes),
`nodes.py` turns those into our operators, `expressions.py` into our expressions, `schema.py` writes types.
`plan.py` is the door. Runs nothing.
"""
