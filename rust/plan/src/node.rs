//! Operators and the graph that they form.
//!
//! Nodes stand in topological order: the inputs of node *i* have smaller ids. Sinks are nodes without readers.

use crate::duration::Duration;
use crate::expression::{Aggregate, Expr, NamedExpr};
use crate::running::RunningFunction;
use crate::schema::Schema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Index of a node in [`Plan::nodes`].
pub type NodeId = usize;

/// A whole job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`crate::PLAN_VERSION`] of the writer.
    pub version: u32,
    pub nodes: Vec<Node>,
}

/// One operator with what the planner knows of its output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    #[serde(default)]
    pub inputs: Vec<NodeId>,
    #[serde(flatten)]
    pub operator: Operator,
    /// The output columns as Polars types them; the engine checks its own arrays against it.
    pub schema: Schema,
    /// The output column that is the event time; `None` where event time has ended or never began.
    #[serde(default)]
    pub event_time: Option<String>,
    /// Why event time ended here, in words for `explain`.
    #[serde(default)]
    pub event_time_ends: Option<String>,
    /// The user's `.stream.name(...)`, or the planner's name of a stateful operator or sink.
    #[serde(default)]
    pub name: Option<String>,
}

/// What a node does. JSON: `{"operator": "filter", "predicate": …}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "operator", rename_all = "snake_case")]
pub enum Operator {
    /// Rows from outside, in the columns of the node's schema (a source reads only these; `first..` of its own order).
    ///
    /// | `connector` | `options` |
    /// |---|---|
    /// | `batches` | `object`: index of the Python object whose `splits` are lists of frames |
    /// | `python` | `object`: index of the user's source |
    /// | `parquet`, `ndjson`, `csv`, `ipc` | `paths`; `row_index` null or `{name, offset}`; `path_column` null or a name; `polars`: null (arrow-rs reads it), or the JSON of Polars' own reader options, and Polars decodes it |
    /// | the same, followed | `path` (a folder or pattern), `follow: true`, `poll_ms` |
    /// | `kafka` | `topics` or `pattern`, `bootstrap_servers`, `value` and `key` (`json`, `raw`, `avro`, `protobuf`), `registry` (`url`, `user`, `password`, `token`, `ca_file`), `tombstones` (`error`, `null`, `drop`), `start` and `end` (`earliest`, `latest`, `{timestamp_ms}`, `{offsets: {topic: {partition: offset}}}`; `end` null: endless), `isolation`, `group`, `config` (librdkafka's), `columns` (of `key`, `topic`, `partition`, `offset`, `timestamp`, `headers`, `arrival`: the name of the column that takes it), `outage_limit_ms` |
    /// | `nexmark` | `kind` (`person`, `auction`, `bid`), `events` (null: endless), `rate` (events a second, null: as fast as it goes), `seed`, `splits` |
    Source {
        connector: String,
        options: Value,
        /// False: it never ends by itself.
        bounded: bool,
        /// True if it can be read again from an offset.
        #[serde(default = "yes")]
        replayable: bool,
    },
    /// Drops late rows and starts event time. `delay` and `ahead` are in physical units of the column (semantics, 3).
    Watermark {
        column: String,
        delay: i64,
        #[serde(default)]
        idle_ns: Option<i64>,
        #[serde(default)]
        ahead: Option<i64>,
    },
    /// The rows that the watermark node below dropped.
    Late,
    /// The rows that `on_error="dead_letter"` removed below.
    Errors,
    /// Keeps the rows where `predicate` is true.
    Filter { predicate: Expr },
    /// Replaces the columns: `select`, `with_columns`, `rename`, `drop` all become this.
    Project { exprs: Vec<NamedExpr> },
    /// All rows of all inputs (`concat` vertical; columns have the same names and types).
    Union,
    /// The first rows of each split in split order, or the earliest above a watermark.
    Head { offset: u64, rows: u64 },
    /// A final sort of a bounded frame.
    Sort {
        by: Vec<SortKey>,
        /// The first key is the event time, ascending: a row leaves when the watermark is above its time.
        #[serde(default)]
        by_time: bool,
        /// (offset, rows) of a slice right above.
        #[serde(default)]
        slice: Option<(u64, u64)>,
    },
    /// `group_by`, `group_by_dynamic` and aggregating `select`s.
    Aggregate {
        /// Group columns of the input; the window's columns are not among them.
        keys: Vec<String>,
        aggregates: Vec<Aggregate>,
        #[serde(default)]
        window: Option<Window>,
        /// The key that is the event time (a monotone function of it): a group is final when the watermark is above it.
        #[serde(default)]
        time_key: Option<String>,
        #[serde(default)]
        emit: Emit,
        /// `maintain_order=True`: groups in order of first appearance.
        #[serde(default)]
        maintain_order: bool,
    },
    /// The best rows of each group: `unique`, `group_by(...).head(n)`, `rank(...).over(key) <= n`, SQL's `row_number`.
    TopRows {
        /// Group columns; none: one group.
        keys: Vec<String>,
        /// What makes a row better: these columns, then logical order.
        by: Vec<SortKey>,
        /// How many rows of a group leave.
        rows: u64,
        /// The last in logical order are the best.
        #[serde(default)]
        last: bool,
        /// Groups with more than `rows` rows leave nothing (`keep="none"`).
        #[serde(default)]
        alone: bool,
        /// The column that takes a row's number in its group, from 1.
        #[serde(default)]
        rank: Option<String>,
        /// The key that is the event time: a group is final when the watermark is above it.
        #[serde(default)]
        time_key: Option<String>,
        #[serde(default)]
        emit: Emit,
    },
    /// `group_by_session`: rows of a key whose times lie no more than `gap` ticks apart. Output columns: keys,
    /// `window_start`, `window_end` (last time + gap), aggregates.
    Session { keys: Vec<String>, column: String, gap: i64, aggregates: Vec<Aggregate> },
    /// `join`, but for `join_asof`: rows of two inputs whose keys are equal. A fused predicate is a filter above.
    Join {
        how: JoinHow,
        /// Key columns of the two inputs, of the same types; none: every row meets every row.
        left_on: Vec<String>,
        right_on: Vec<String>,
        /// A null key meets a null key.
        #[serde(default)]
        nulls_equal: bool,
        /// What each output column is.
        columns: Vec<JoinColumn>,
        /// How far apart in event time two rows can be that meet.
        #[serde(default)]
        bound: Option<JoinBound>,
        /// The side whose event time is that of the output.
        #[serde(default)]
        time_side: Option<JoinSide>,
        /// The right input is a table that every worker holds: rows of the left stay where they are.
        #[serde(default)]
        broadcast: bool,
    },
    /// `join_asof`: each left row with the right row that is nearest in time, per key.
    JoinAsof {
        /// Time columns of the same type.
        left_on: String,
        right_on: String,
        left_by: Vec<String>,
        right_by: Vec<String>,
        strategy: AsofStrategy,
        /// How far apart they may be, in ticks.
        #[serde(default)]
        tolerance: Option<i64>,
        /// Rows of equal times may meet.
        exact: bool,
        columns: Vec<JoinColumn>,
    },
    /// Functions of a row and the earlier ones of its key (`over(key, order_by=time)`, `rolling`). The output is the
    /// input's columns, then one for each function; a row leaves when the watermark is above its time.
    Running {
        keys: Vec<String>,
        functions: Vec<RunningFunction>,
        /// What comes after the event time in `order_by`, before the logical order.
        #[serde(default)]
        ties: Vec<SortKey>,
    },
    /// Aggregates of all rows of a key beside each of its rows; one key is the event time. Columns as for `running`.
    Over { keys: Vec<String>, aggregates: Vec<Aggregate> },
    /// One row for each item of the lists of `columns`, which are exploded side by side.
    Explode {
        columns: Vec<String>,
        /// An empty list gives a row with null.
        empty_as_null: bool,
        /// A null gives a row with null.
        keep_nulls: bool,
    },
    /// A function of Python over the rows of a batch. `function` indexes the job's Python objects.
    MapFrame { function: usize, text: String },
    /// The rows as they are; an aggregate of those of each value of `by` is kept for who looks at the job.
    Metric { metric: String, by: Vec<String>, aggregate: Aggregate },
    /// A user's native function, called per Arrow batch without the GIL. `function` indexes the job's Python objects.
    Native { function: usize, text: String },
    /// Rows to outside.
    ///
    /// | `connector` | `options` |
    /// |---|---|
    /// | `collect` | none |
    /// | `batches` | `object`: index of the Python function; `chunk_rows` null or a number |
    /// | `python` | `object`: index of the user's sink |
    /// | `parquet`, `ndjson`, `csv`, `ipc` | `path`; `layout`: `file`, `folder` (of parts) or `hive`; `keys` (hive); `mkdir`; `format`: Polars' own writer options |
    /// | `kafka` | `topic`, `bootstrap_servers`, `key` (null or columns), `value` (`json`), `config` |
    /// | `console` | `rows`: at most so many of a batch |
    Sink {
        connector: String,
        options: Value,
        /// Rows must arrive in logical order (`collect` and single files with `maintain_order=True`).
        #[serde(default)]
        maintain_order: bool,
    },
}

fn yes() -> bool {
    true
}

/// One key of a sort.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SortKey {
    pub column: String,
    #[serde(default)]
    pub descending: bool,
    #[serde(default)]
    pub nulls_last: bool,
}

/// When results of a stateful operator leave (semantics, section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emit {
    #[serde(default)]
    pub mode: EmitMode,
    /// With `update`: at most this often.
    #[serde(default)]
    pub every_ns: Option<i64>,
}

/// `close`: once, final. `update`: the new row of each changed key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmitMode {
    #[default]
    Close,
    Update,
}

/// What kind of rows a frame has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameKind {
    Append,
    Upsert,
    Retract,
}

/// Which ends of a window belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closed {
    Left,
    Right,
    Both,
    None,
}

/// Which end names the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    Left,
    Right,
}

/// Where the grid starts. Weekdays: Monday = 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartBy {
    Window,
    Weekday(u8),
}

/// `group_by_dynamic` as it was written. Output columns: keys, `_lower_boundary` and `_upper_boundary` (if
/// `include_boundaries`), the label under the name of `column`, aggregates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    pub column: String,
    pub every: Duration,
    pub period: Duration,
    pub offset: Duration,
    pub closed: Closed,
    pub label: Label,
    #[serde(default)]
    pub include_boundaries: bool,
    pub start_by: StartBy,
}

/// Which rows a join gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinHow {
    Inner,
    Left,
    Right,
    Full,
    /// Rows of the left that meet one of the right, once.
    Semi,
    /// Rows of the left that meet none.
    Anti,
}

impl JoinHow {
    /// As users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inner => "inner",
            Self::Left => "left",
            Self::Right => "right",
            Self::Full => "full",
            Self::Semi => "semi",
            Self::Anti => "anti",
        }
    }
}

/// Which right row a left row of `join_asof` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AsofStrategy {
    Backward,
    Forward,
    Nearest,
}

/// One input of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinSide {
    Left,
    Right,
}

/// An output column of a join: that of one input, or (`both`) the left one where there is a left row, else the right one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinColumn {
    Left(String),
    Right(String),
    Both(String, String),
}

/// Rows meet only if `lower <= right time - left time <= upper`, in ticks; a missing end is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinBound {
    #[serde(default)]
    pub lower: Option<i64>,
    #[serde(default)]
    pub upper: Option<i64>,
}

impl Operator {
    /// One word, as the JSON tag.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Source { .. } => "source",
            Self::Watermark { .. } => "watermark",
            Self::Late => "late",
            Self::Errors => "errors",
            Self::Filter { .. } => "filter",
            Self::Project { .. } => "project",
            Self::Union => "union",
            Self::Head { .. } => "head",
            Self::Sort { .. } => "sort",
            Self::Aggregate { .. } => "aggregate",
            Self::TopRows { .. } => "top_rows",
            Self::Session { .. } => "session",
            Self::Join { .. } => "join",
            Self::JoinAsof { .. } => "join_asof",
            Self::Running { .. } => "running",
            Self::Over { .. } => "over",
            Self::Explode { .. } => "explode",
            Self::MapFrame { .. } => "map_frame",
            Self::Metric { .. } => "metric",
            Self::Native { .. } => "native",
            Self::Sink { .. } => "sink",
        }
    }

    /// True if it keeps state in checkpoints, or commits outside: such nodes have an identity.
    pub fn is_stateful(&self) -> bool {
        matches!(
            self,
            Self::Aggregate { .. }
                | Self::Session { .. }
                | Self::Head { .. }
                | Self::Sort { .. }
                | Self::TopRows { .. }
                | Self::Join { .. }
                | Self::JoinAsof { .. }
                | Self::Running { .. }
                | Self::Over { .. }
                | Self::Sink { .. }
        )
    }
}
