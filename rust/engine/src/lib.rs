//! How a plan runs: incremental operators over Arrow batches, keyed state, exactly-once checkpoints.
//!
//! Knows Arrow, not Python, not Kafka, not files: sources and sinks come in through the traits [`source::Source`] and
//! [`sink::Sink`], Polars' own expressions through [`expr::Residual`].
//!
//! ```text
//!  plan --runtime::graph--> tasks: chains cut at exchanges, one instance of every operator per worker
//!  source --split batches--> [watermark > filter > project > partial aggregate]     one chain, one worker
//!                                 |  partition by key group (1024)
//!                                 v  bounded ring per (worker, worker, edge)
//!                            [final aggregate > project] --> sink
//!  control rides with the data: Watermark(t) | Barrier(epoch) | End
//! ```
//!
//! Read on in this order: [`event`], [`operators`], `operators/filter.rs`, `runtime/worker.rs`.
//!
//! | module | holds |
//! |---|---|
//! | [`bounds`] | smallest and largest of a column |
//! | [`error`] | the six kinds of error, and errors of single rows |
//! | [`types`] | plan types onto Arrow types |
//! | [`time`] | event time and the clock |
//! | [`event`] | what moves between operators |
//! | [`source`], [`sink`] | the way in and the way out |
//! | [`expr`] | expressions onto Arrow kernels, one file a family |
//! | [`window`] | grid arithmetic |
//! | [`aggregate`] | one aggregate, one file |
//! | [`running`] | functions of earlier rows, one family a file |
//! | [`state`] | keyed tables, key groups, snapshots |
//! | [`operators`] | one operator, one file |
//! | [`checkpoint`] | barriers, the log, the store |
//! | [`runtime`] | plan to tasks, worker loop, drivers, job |

pub mod aggregate;
pub mod bounds;
pub mod checkpoint;
pub mod error;
pub mod event;
pub mod expr;
pub mod operators;
pub mod running;
pub mod runtime;
pub mod sink;
pub mod source;
pub mod state;
#[cfg(test)]
mod testing;
pub mod time;
pub mod types;
pub mod window;

pub use error::{EngineError, Result};
pub use event::{Batch, Epoch, Event, Order};
pub use operators::{Flow, Input, Operator, Output};
pub use time::{Clock, Instant, Timestamp};
