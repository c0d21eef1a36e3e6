"""The engine in Rust. Private: public names come through `dataflare_fast`."""

__all__ = ["__version__"]

__version__: str
