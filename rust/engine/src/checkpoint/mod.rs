//! Exactly once: barriers, one log, restore.
//!
//! ```text
//!  trigger -> Dealer::cut (offsets) -> barriers flow, operators freeze -> objects written -> record created -> confirm
//! ```
//! The record is the commit point; everything else is named by attempt and epoch and only counts when a record names it.
//! Source: aligned barriers after Chandy and Lamport (1985), as in Carbone et al., "Lightweight Asynchronous Snapshots".
//!
//! | module | holds |
//! |---|---|
//! | [`store`] | create-only objects in a folder |
//! | [`record`] | the two kinds of record, as JSON |
//! | [`log`] | the log: attempts, fencing, reading back |
//! | [`table_file`] | state tables as Arrow IPC |
//! | [`coordinator`] | one epoch after the other |
//! | [`write_ahead`] | rows of sinks, kept until they are published |
//! | [`confirming`] | what sinks publish after a record, again until it works |

pub mod confirming;
pub mod coordinator;
pub mod log;
pub mod record;
pub mod store;
pub mod table_file;
pub mod write_ahead;
