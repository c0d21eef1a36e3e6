//! The plugin host of the dfb1 ABI.
