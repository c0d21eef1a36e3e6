//! Plan to tasks, worker loop, drivers, job.

pub mod dealer;
pub mod ring;
pub mod sequencer;
