//! The text of `dff.explain`: one line a node, sinks first, inputs indented below.
//!
//! Says what a user must know before a job runs for ever: where rows are exchanged between workers, what kind of frame
//! each operator gives, when its state ends, where event time ends, which expressions Polars evaluates, and what each
//! sink promises. Not here: how any of it follows from the plan ([`crate::kinds`]).

use crate::duration::Duration;
use crate::expression::{Aggregate, Expr, NamedExpr};
use crate::kinds::{Exchange, StateEnds};
use crate::node::{AsofStrategy, Closed, EmitMode, FrameKind, Node, NodeId, Operator, Plan, SortKey, Window};
use crate::schema::DataType;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// How the planner's own column names begin.
const GENERATED: char = '\u{1}';

/// Draws the plan as a tree. A node that several others read is drawn once.
pub fn explain(plan: &Plan) -> String {
    let mut drawing = Drawing { plan, text: String::new(), drawn: BTreeSet::new() };
    for root in (0..plan.nodes.len()).filter(|id| plan.readers(*id).next().is_none()) {
        drawing.node(root, 0);
    }
    drawing.text
}

struct Drawing<'a> {
    plan: &'a Plan,
    text: String,
    drawn: BTreeSet<NodeId>,
}

impl Drawing<'_> {
    fn line(&mut self, depth: usize, line: &str) {
        // Writing into a String cannot fail.
        let _ = writeln!(self.text, "{:indent$}{line}", "", indent = depth * 2);
    }

    fn node(&mut self, id: NodeId, depth: usize) {
        let Some(node) = self.plan.nodes.get(id) else { return };
        if !self.drawn.insert(id) {
            self.line(depth, &format!("#{id} {} (see above)", node.operator.kind()));
            return;
        }
        let name = node.name.as_ref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
        self.line(depth, &format!("#{id} {}{name}{}", node.operator.kind(), details(node)));
        for note in self.notes(id) {
            self.line(depth + 2, &format!("- {note}"));
        }
        match self.plan.exchange(id) {
            Exchange::None => {}
            Exchange::Keys(keys) => self.line(depth + 1, &format!("~ exchange by {}", keys.join(", "))),
            Exchange::JoinKeys(left, right) => {
                self.line(depth + 1, &format!("~ exchange by {} and {}", keys(&left), keys(&right)));
            }
            Exchange::Broadcast => {
                self.line(depth + 1, "~ exchange: the right input to every worker, the left stays");
            }
            Exchange::Single => self.line(depth + 1, "~ exchange: all rows to one worker"),
        }
        for input in &node.inputs {
            self.node(*input, depth + 1);
        }
    }

    /// What follows for the user.
    fn notes(&self, id: NodeId) -> Vec<String> {
        let mut notes = Vec::new();
        let Some(node) = self.plan.nodes.get(id) else { return notes };
        match &node.operator {
            Operator::Sink { connector, options, .. } => {
                notes.push(format!("takes {}; {}", self.kind_below(id), promise(connector, options)));
            }
            Operator::Aggregate { aggregates, emit, .. } => {
                notes.push(emission(emit.mode, emit.every_ns, self.plan.frame_kind(id)));
                notes.push(state(self.plan.state_ends(id)).to_owned());
                let keeping: Vec<&str> = aggregates
                    .iter()
                    .filter(|one| one.function.keeps_values())
                    .map(|one| one.text.as_str())
                    .collect();
                if !keeping.is_empty() {
                    notes.push(format!("keeps the values of each group for {}", keeping.join(", ")));
                }
                if self.plan.state_ends(id) == StateEnds::Never {
                    notes.extend(aggregates.iter().filter_map(small_counter));
                }
            }
            Operator::TopRows { emit, .. } => {
                notes.push(emission(emit.mode, emit.every_ns, self.plan.frame_kind(id)));
                notes.push(state(self.plan.state_ends(id)).to_owned());
            }
            Operator::JoinAsof { .. } => notes.push(state(self.plan.state_ends(id)).to_owned()),
            Operator::Session { .. } => {
                notes.push(emission(EmitMode::Close, None, self.plan.frame_kind(id)));
                notes.push(state(self.plan.state_ends(id)).to_owned());
            }
            Operator::Join { .. } => notes.push(match self.plan.state_ends(id) {
                StateEnds::Never => "state never ends: all rows of both inputs, for ever".to_owned(),
                ends => state(ends).to_owned(),
            }),
            Operator::Running { .. } | Operator::Over { .. } => {
                notes.push(state(self.plan.state_ends(id)).to_owned())
            }
            Operator::Sort { by_time: true, .. } => {
                notes.push("state: rows until the watermark has passed them".to_owned())
            }
            Operator::Sort { .. } => notes.push("state: all rows until the input ends".to_owned()),
            Operator::Source { bounded, options, .. } => {
                if !bounded {
                    notes.push("endless".to_owned());
                }
                if let Some(column) = options.pointer("/columns/arrival").and_then(Value::as_str) {
                    notes.push(format!(
                        "not repeatable: {column} is the time of arrival, another one after a restart"
                    ));
                }
            }
            _ => {}
        }
        if let Some(reason) = &node.event_time_ends {
            notes.push(format!("event time ends here: {reason}"));
        }
        notes
    }

    fn kind_below(&self, id: NodeId) -> &'static str {
        match self.plan.frame_kind(id) {
            FrameKind::Append => "final rows (append)",
            FrameKind::Upsert => "rows that replace earlier ones by key (upsert)",
            FrameKind::Retract => "changes (retract)",
        }
    }
}

fn details(node: &Node) -> String {
    match &node.operator {
        Operator::Source { connector, options, .. } => format!(" {connector}{}", place(options)),
        Operator::Watermark { column, delay, .. } => {
            format!(" on {column}, delay {}", physical(node, column, *delay))
        }
        Operator::Session { keys, column, gap, aggregates } => {
            let by = if keys.is_empty() { String::new() } else { format!(" by {}", keys.join(", ")) };
            let gap = physical(node, "window_start", *gap);
            format!("{by} over sessions of {column}, gap {gap}: {}", list(aggregates.iter().map(aggregate)))
        }
        Operator::Filter { predicate } => format!(" {}", marked(predicate)),
        Operator::Project { exprs } => format!(" {}", list(exprs.iter().map(named))),
        Operator::Head { offset: 0, rows } => format!(" {rows}"),
        Operator::Head { offset, rows } => format!(" {rows} after {offset}"),
        Operator::Sort { by, slice, .. } => {
            let slice =
                slice.map(|(offset, rows)| format!(", {rows} rows after {offset}")).unwrap_or_default();
            format!(" by {}{slice}", list(by.iter().map(sort_key)))
        }
        Operator::Aggregate { keys, aggregates, window, time_key, .. } => {
            let keys = if keys.is_empty() { String::new() } else { format!(" by {}", keys.join(", ")) };
            let time = time_key.as_ref().map(|key| format!(" (time key {key})")).unwrap_or_default();
            let window = window.as_ref().map(window_text).unwrap_or_default();
            format!("{keys}{time}{window}: {}", list(aggregates.iter().map(aggregate)))
        }
        Operator::TopRows { keys: group, by, rows, last, alone, .. } => {
            let group = if group.is_empty() { String::new() } else { format!(" of each {}", keys(group)) };
            let by = match by.is_empty() {
                true => String::new(),
                false => format!(" by {}", list(by.iter().map(sort_key))),
            };
            let which = match (alone, last) {
                (true, _) => "those alone",
                (false, true) => "the last",
                (false, false) => "the first",
            };
            format!(" {which} {rows}{group}{by}")
        }
        Operator::Join { how, left_on, right_on, bound, .. } => {
            let on = left_on.iter().zip(right_on).map(|(left, right)| match left == right {
                true => column_text(left),
                false => format!("{} = {}", column_text(left), column_text(right)),
            });
            let on = if left_on.is_empty() { String::new() } else { format!(" on {}", list(on)) };
            let bound = if bound.is_some() { ", bounded in event time" } else { "" };
            format!(" {}{on}{bound}", how.name())
        }
        Operator::JoinAsof { left_on, right_on, left_by, strategy, .. } => {
            let by = if left_by.is_empty() { String::new() } else { format!(" by {}", keys(left_by)) };
            let strategy = match strategy {
                AsofStrategy::Backward => "the last at or before",
                AsofStrategy::Forward => "the first at or after",
                AsofStrategy::Nearest => "the nearest to",
            };
            format!(" {strategy} {left_on} in {right_on}{by}")
        }
        Operator::Over { keys: by, aggregates } => {
            format!(" {}: {}", keys(by), list(aggregates.iter().map(|one| one.text.clone())))
        }
        Operator::Running { keys, functions, ties } => {
            let part = |word: &str, columns: Vec<String>| match columns.as_slice() {
                [] => String::new(),
                _ => format!(" {word} {}", list(columns.into_iter())),
            };
            let by = part("by", keys.iter().map(|key| column_text(key)).collect());
            let ties = part("ties by", ties.iter().map(|tie| column_text(&tie.column)).collect());
            format!("{by}{ties}: {}", list(functions.iter().map(|one| one.text.clone())))
        }
        Operator::Explode { columns, .. } => format!(" {}", keys(columns)),
        Operator::MapFrame { text, .. } => format!(" {text} [python]"),
        Operator::Metric { metric, by, aggregate } => {
            let by = if by.is_empty() { String::new() } else { format!(" by {}", keys(by)) };
            format!(" '{metric}': {}{by}", aggregate.text)
        }
        Operator::Native { text, .. } => format!(" {text}"),
        Operator::Sink { connector, options, .. } => format!(" {connector}{}", place(options)),
        Operator::Late | Operator::Errors | Operator::Union => String::new(),
    }
}

/// A length in units of a time column, as users write it.
fn physical(node: &Node, column: &str, units: i64) -> Duration {
    const DAY_NS: i64 = 86_400_000_000_000;
    let dtype = node.schema.iter().find(|field| field.name == column).map(|field| &field.dtype);
    let (unit_ns, index) = match dtype {
        Some(DataType::Datetime { unit, .. }) => (unit.nanoseconds(), false),
        Some(DataType::Date) => (DAY_NS, false),
        _ => (1, true),
    };
    Duration { nanoseconds: units.saturating_mul(unit_ns), index, ..Duration::default() }
}

/// Where a connector reads or writes, if its options say so.
fn place(options: &Value) -> String {
    let text =
        ["path", "topic", "pattern", "kind"].iter().find_map(|key| options.get(key).and_then(Value::as_str));
    let many = ["topics", "paths"].iter().find_map(|key| options.get(key).and_then(Value::as_array));
    match (text, many) {
        (Some(text), _) => format!(" {text}"),
        (None, Some(many)) => {
            let first = many.first().and_then(Value::as_str).unwrap_or_default();
            let rest = many.len().saturating_sub(1);
            if rest == 0 { format!(" {first}") } else { format!(" {first} and {rest} more") }
        }
        (None, None) => String::new(),
    }
}

fn named(one: &NamedExpr) -> String {
    match &one.expr {
        Expr::Column { name } if *name == one.name => name.clone(),
        expr => format!("{} = {}", one.name.replace(GENERATED, "~"), marked(expr)),
    }
}

/// Polars evaluates it, batch by batch: it has no kernel of ours.
fn marked(expr: &Expr) -> String {
    let mark = if expr.is_residual() { " [polars]" } else { "" };
    format!("{expr}{mark}").replace(GENERATED, "~")
}

fn aggregate(one: &Aggregate) -> String {
    if one.name == one.text {
        one.text.clone()
    } else {
        format!("{} = {}", one.name.replace(GENERATED, "~"), one.text)
    }
}

/// A column, also one of the planner's own.
fn column_text(name: &str) -> String {
    name.replace(GENERATED, "~")
}

fn keys(names: &[String]) -> String {
    list(names.iter().map(|name| column_text(name)))
}

fn sort_key(key: &SortKey) -> String {
    format!("{}{}", key.column.replace(GENERATED, "~"), if key.descending { " descending" } else { "" })
}

fn window_text(window: &Window) -> String {
    let period = if window.period == window.every { String::new() } else { format!(" of {}", window.period) };
    let offset = if window.offset.is_zero() { String::new() } else { format!(", offset {}", window.offset) };
    let closed = match window.closed {
        Closed::Left => "",
        Closed::Right => ", closed right",
        Closed::Both => ", closed both",
        Closed::None => ", closed none",
    };
    format!(" over windows{period} every {} of {}{offset}{closed}", window.every, window.column)
}

fn emission(mode: EmitMode, every_ns: Option<i64>, kind: FrameKind) -> String {
    let kind = match kind {
        FrameKind::Append => "append",
        FrameKind::Upsert => "upsert",
        FrameKind::Retract => "retract",
    };
    match (mode, every_ns) {
        (EmitMode::Close, _) => format!("{kind}: each result once, when it is final"),
        (EmitMode::Update, None) => format!("{kind}: the new row of each changed key"),
        (EmitMode::Update, Some(every)) => {
            format!("{kind}: the new row of each changed key, at most every {} ms", every / 1_000_000)
        }
    }
}

fn state(ends: StateEnds) -> &'static str {
    match ends {
        StateEnds::Stateless => "state: none",
        StateEnds::Window => "state of a window ends when the watermark has passed it",
        StateEnds::Session => "state of a session ends when the watermark is more than the gap behind it",
        StateEnds::TimeKey => "state of a group ends when the watermark has passed its time key",
        StateEnds::OtherWatermark => {
            "state of a row ends when the other input's watermark has passed its bound"
        }
        StateEnds::Period => {
            "state: rows until the watermark has passed them and the period of their windows"
        }
        StateEnds::Remembers => {
            "state: rows until the watermark has passed them; what the functions remember of each key, for ever"
        }
        StateEnds::Input => "state ends when the input ends",
        StateEnds::Table => {
            "state: the bounded input as a table; rows of the other wait until it has been read"
        }
        StateEnds::Never => "state never ends: one row a group, for ever",
    }
}

fn small_counter(one: &Aggregate) -> Option<String> {
    let is_small = one.dtype == DataType::UInt32 && matches!(one.function.name(), "len" | "count");
    is_small.then(|| format!("{} counts to 4 294 967 295, then fails: write .cast(pl.Int64)", one.text))
}

/// What a sink promises about each row.
fn promise(connector: &str, options: &Value) -> &'static str {
    let layout = options.get("layout").and_then(Value::as_str);
    match (connector, layout) {
        ("kafka", _) => match options.get("delivery").and_then(Value::as_str) {
            Some("at_least_once") => "at least once: after a crash the last messages may stand there twice",
            Some(_) => "exactly once: in transactions, which readers see after each checkpoint",
            None => {
                "exactly once with a checkpoint: in transactions, which readers see after each; at least once without"
            }
        },
        ("batches", _) => "at least once with a checkpoint",
        ("console", _) => "at least once",
        ("collect", _) => "given back when the job ends, without a checkpoint",
        ("result", _) => "where they go is not said yet",
        ("python", _) if options.get("place").is_some() => {
            "exactly once with a checkpoint: rows become visible in one step behind it"
        }
        ("python", _) => "exactly once if its confirm may be called twice",
        (_, Some("file")) => "exactly once: published when the input has ended",
        _ => "exactly once",
    }
}

fn list(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::explain;
    use crate::node::Plan;

    #[test]
    fn windowed_query_reads_from_the_sink_down() {
        let plan = Plan::from_json(include_str!("../tests/hot_auctions.json")).unwrap();
        assert_eq!(explain(&plan), include_str!("../tests/hot_auctions.txt"));
    }

    #[test]
    fn what_never_ends_and_what_polars_evaluates_is_marked() {
        let plan = Plan::from_json(include_str!("../tests/endless_counts.json")).unwrap();
        assert_eq!(explain(&plan), include_str!("../tests/endless_counts.txt"));
    }
}
