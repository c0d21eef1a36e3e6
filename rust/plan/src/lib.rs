//! What to run: a [`Plan`] is a graph of operators as plain values. It runs nothing.
//!
//! The Python planner writes it as JSON from Polars' optimised plan, checkpoints keep it, `explain` draws it and the
//! engine turns it into tasks. Depends on nothing of ours; knows neither Arrow nor Python.
//!
//! | module | holds |
//! |---|---|
//! | [`schema`] | data types and fields |
//! | [`expression`] | expressions, aggregates |
//! | [`duration`] | calendar durations as Polars writes them |
//! | [`running`] | functions of earlier rows |
//! | [`node`] | operators and the graph |
//! | [`kinds`] | what follows from a plan: kinds of frames, exchanges, when state ends |
//! | [`validate`] | the rules a plan must keep before anything runs |
//! | [`mod@explain`] | the text that users read |

pub mod duration;
pub mod explain;
pub mod expression;
pub mod kinds;
pub mod node;
pub mod running;
pub mod schema;
pub mod validate;

pub use duration::Duration;
pub use explain::explain;
pub use expression::{Aggregate, AggregateFunction, AggregateOptions, BinaryOperator, Expr, NamedExpr};
pub use kinds::{Exchange, StateEnds};
pub use node::{
    AsofStrategy, Closed, Emit, EmitMode, FrameKind, JoinBound, JoinColumn, JoinHow, JoinSide, Label, Node,
    NodeId, Operator, Plan, SortKey, StartBy, Window,
};
pub use running::{Fold, Interpolation, RollingFrame, Running, RunningFunction};
pub use schema::{DataType, Field, Schema, TimeUnit};
pub use validate::PlanError;

/// The version of the JSON form. A plan of another version is refused, never guessed at.
pub const PLAN_VERSION: u32 = 1;
