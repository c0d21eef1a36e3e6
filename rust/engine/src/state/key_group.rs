//! Key groups: a fixed hash of the key columns, the same in every process and release.
