//! Grid arithmetic of windows: which windows hold a time, where they begin and end, when they are final.
//!
//! Not here: what is computed in a window (`aggregate/`), where partial results wait (`operators/`).

mod calendar;
pub mod grid;
mod length;
mod rules;
pub mod span;
mod zone;

pub use grid::{FixedGrid, Grid};
