//! Plan to tasks, worker loop, drivers, job.
//!
//! [`blueprint`] decides the tasks, [`assembly`] makes the instances, a driver steps workers and coordinator:
//! [`threaded`] for real, [`simulated`] from a seed, [`stepped`] for tests that say when.

pub mod assembly;
pub mod blueprint;
pub mod dealer;
pub mod exchange;
pub mod identity;
pub mod job;
pub mod ring;
pub mod sequencer;
pub mod shared;
pub mod simulated;
pub mod source_task;
pub mod stepped;
pub mod threaded;
pub mod worker;
