//! What follows from a plan without running it: kinds of frames, exchanges, when state ends.
//!
//! Used by [`crate::explain`] and by the engine, which must agree on it. Not here: text.

use crate::node::{AsofStrategy, EmitMode, FrameKind, NodeId, Operator, Plan};

/// How rows are spread over workers in front of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// They stay where they are.
    None,
    /// By the key group of these columns.
    Keys(Vec<String>),
    /// Each of two inputs by the key group of its columns.
    JoinKeys(Vec<String>, Vec<String>),
    /// The second of two inputs to every worker.
    Broadcast,
    /// All to one worker.
    Single,
}

/// When an operator may forget a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateEnds {
    /// It keeps none.
    Stateless,
    /// When the window is final.
    Window,
    /// When the watermark is beyond the gap behind the session.
    Session,
    /// When the watermark is beyond the time key.
    TimeKey,
    /// When the watermark of the other input is beyond the rows that can still meet.
    OtherWatermark,
    /// When the watermark has passed the row and the period of its windows.
    Period,
    /// A row when the watermark has passed it; of each key what its functions remember, for ever.
    Remembers,
    /// When the input ends.
    Input,
    /// When the other input, which is bounded, has ended.
    Table,
    /// Never: one row a group, for ever.
    Never,
}

impl Plan {
    /// What kind of rows node `id` gives.
    pub fn frame_kind(&self, id: NodeId) -> FrameKind {
        let Some(node) = self.nodes.get(id) else { return FrameKind::Append };
        let below = node.inputs.iter().map(|input| self.frame_kind(*input));
        let below =
            below.fold(FrameKind::Append, |worst, kind| if kind == FrameKind::Append { worst } else { kind });
        match (&node.operator, below) {
            (Operator::Aggregate { emit, .. } | Operator::TopRows { emit, .. }, FrameKind::Append) => {
                match emit.mode {
                    EmitMode::Close => FrameKind::Append,
                    EmitMode::Update => FrameKind::Upsert,
                }
            }
            (Operator::Aggregate { emit, .. }, _) if emit.mode == EmitMode::Update => FrameKind::Retract,
            (Operator::Aggregate { .. } | Operator::Session { .. }, _) => FrameKind::Append,
            _ => below,
        }
    }

    /// What stands in front of node `id`.
    pub fn exchange(&self, id: NodeId) -> Exchange {
        match self.nodes.get(id).map(|node| &node.operator) {
            Some(Operator::Aggregate { keys, maintain_order: false, .. }) if !keys.is_empty() => {
                Exchange::Keys(keys.clone())
            }
            Some(Operator::Session { keys, .. }) if !keys.is_empty() => Exchange::Keys(keys.clone()),
            Some(Operator::Session { .. }) => Exchange::Single,
            Some(Operator::Aggregate { .. } | Operator::Head { .. } | Operator::Sort { .. }) => {
                Exchange::Single
            }
            Some(Operator::TopRows { keys, .. }) if !keys.is_empty() => Exchange::Keys(keys.clone()),
            Some(Operator::TopRows { .. }) => Exchange::Single,
            Some(Operator::Over { keys, .. }) => Exchange::Keys(keys.clone()),
            Some(Operator::Running { keys, .. }) if !keys.is_empty() => Exchange::Keys(keys.clone()),
            Some(Operator::Running { .. }) => Exchange::Single,
            Some(Operator::Join { broadcast: true, .. }) => Exchange::Broadcast,
            Some(Operator::Join { left_on, right_on, .. }) if !left_on.is_empty() => {
                Exchange::JoinKeys(left_on.clone(), right_on.clone())
            }
            Some(Operator::JoinAsof { left_by, right_by, .. }) if !left_by.is_empty() => {
                Exchange::JoinKeys(left_by.clone(), right_by.clone())
            }
            Some(Operator::Join { .. } | Operator::JoinAsof { .. }) => Exchange::Single,
            Some(Operator::Sink { maintain_order: true, .. }) => Exchange::Single,
            _ => Exchange::None,
        }
    }

    /// When node `id` may forget a row.
    pub fn state_ends(&self, id: NodeId) -> StateEnds {
        let Some(node) = self.nodes.get(id) else { return StateEnds::Stateless };
        let timed = node
            .inputs
            .iter()
            .all(|input| self.nodes.get(*input).is_some_and(|one| one.event_time.is_some()));
        match &node.operator {
            Operator::Aggregate { window, time_key, .. } => match (window, time_key) {
                (Some(window), _) if timed && self.reads_event_time(id, &window.column) => StateEnds::Window,
                (_, Some(_)) if timed => StateEnds::TimeKey,
                _ if self.is_bounded(id) => StateEnds::Input,
                _ => StateEnds::Never,
            },
            Operator::JoinAsof { strategy, tolerance, .. } => {
                let waits = *strategy == AsofStrategy::Backward || tolerance.is_some();
                match timed {
                    true if waits => StateEnds::OtherWatermark,
                    _ if self.is_bounded(id) => StateEnds::Input,
                    _ => StateEnds::Never,
                }
            }
            Operator::TopRows { time_key, .. } => match time_key {
                Some(_) if timed => StateEnds::TimeKey,
                _ if self.is_bounded(id) => StateEnds::Input,
                _ => StateEnds::Never,
            },
            Operator::Session { column, .. } => {
                if timed && self.reads_event_time(id, column) {
                    StateEnds::Session
                } else if self.is_bounded(id) {
                    StateEnds::Input
                } else {
                    StateEnds::Never
                }
            }
            Operator::Join { bound, .. } => {
                let is_bounded = |input: &NodeId| self.is_bounded(*input);
                match bound {
                    _ if node.inputs.iter().all(is_bounded) => StateEnds::Input,
                    Some(bound) if bound.lower.is_some() && bound.upper.is_some() => {
                        StateEnds::OtherWatermark
                    }
                    _ if node.inputs.iter().any(is_bounded) => StateEnds::Table,
                    _ => StateEnds::Never,
                }
            }
            Operator::Over { .. } => StateEnds::TimeKey,
            Operator::Running { functions, .. } => {
                match functions.iter().all(|one| one.function.is_by_period()) {
                    _ if !timed => StateEnds::Input,
                    true => StateEnds::Period,
                    false if self.is_bounded(id) => StateEnds::Input,
                    false => StateEnds::Remembers,
                }
            }
            Operator::Sort { by_time: true, .. } if timed => StateEnds::Period,
            Operator::Sort { .. } | Operator::Head { .. } => StateEnds::Input,
            _ => StateEnds::Stateless,
        }
    }

    fn reads_event_time(&self, id: NodeId, column: &str) -> bool {
        let inputs = self.nodes.get(id).map(|node| node.inputs.as_slice()).unwrap_or_default();
        inputs
            .iter()
            .all(|input| self.nodes.get(*input).is_some_and(|one| one.event_time.as_deref() == Some(column)))
    }
}

#[cfg(test)]
mod tests {
    use super::{Exchange, StateEnds};
    use crate::node::{FrameKind, Plan};

    fn grouped(bounded: bool, event_time: &str, rest: &str) -> Plan {
        Plan::from_json(&format!(
            r#"{{"version": 1, "nodes": [
            {{"operator": "source", "connector": "nexmark", "options": {{}}, "bounded": {bounded}, {event_time}
              "schema": [{{"name": "ts", "dtype": "int64"}}, {{"name": "k", "dtype": "int64"}}]}},
            {{"operator": "aggregate", "inputs": [0], "keys": ["k"], "aggregates": [], {rest}
              "schema": [{{"name": "k", "dtype": "int64"}}]}}]}}"#
        ))
        .unwrap()
    }

    #[test]
    fn updates_make_an_upsert_frame() {
        let plan = grouped(false, "", r#""emit": {"mode": "update"},"#);
        assert_eq!(plan.frame_kind(1), FrameKind::Upsert);
        assert_eq!(plan.state_ends(1), StateEnds::Never);
        assert_eq!(plan.exchange(1), Exchange::Keys(vec!["k".to_owned()]));
    }

    #[test]
    fn groups_of_a_bounded_frame_end_with_it() {
        let plan = grouped(true, "", "");
        assert_eq!(plan.frame_kind(1), FrameKind::Append);
        assert_eq!(plan.state_ends(1), StateEnds::Input);
    }

    #[test]
    fn time_key_ends_state() {
        let plan = grouped(false, r#""event_time": "ts","#, r#""time_key": "ts","#);
        assert_eq!(plan.state_ends(1), StateEnds::TimeKey);
    }
}
