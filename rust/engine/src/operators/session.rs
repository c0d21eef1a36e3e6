//! `group_by_session`: rows of a key that lie no further apart than a gap make a group.
//!
//! ```text
//!  rows -> PartialSession (worker that read them) -> partial rows, exchanged by key -> FinalSession
//! ```
//! In: append batches. Out: one row a session, once the watermark is more than the gap beyond its last row; of everything
//! at the end. Not here: how sessions grow and merge (`session_state.rs`).
//! Forwards: min(W, start of the oldest open session), the time of results being `window_start`; nothing if event time
//! ends here. State: open sessions, in the final half only; the partial half gives away what it has made of each batch, as
//! a session of this worker alone says nothing before the others' rows are known.
//! Cost: one table look-up a row, and one a partial row; O(log sessions) where a row opens or joins sessions.

use super::aggregate_plan::slices;
use super::session_state::{SessionShape, SessionState};
use super::{Flow, Input, Operator, Output};
use crate::error::Result;
use crate::event::{Batch, Epoch};
use crate::state::{Frozen, StateTable};
use crate::time::Timestamp;
use std::sync::Arc;

/// The half on the worker that read the rows.
#[derive(Debug)]
pub struct PartialSession {
    shape: Arc<SessionShape>,
}

impl PartialSession {
    pub fn new(shape: Arc<SessionShape>) -> Self {
        Self { shape }
    }
}

impl Operator for PartialSession {
    fn on_batch(&mut self, _input: Input, batch: Batch, out: &mut Output) -> Result<Flow> {
        let mut sessions = SessionState::new(self.shape.clone());
        sessions.update(&batch)?;
        slices(&sessions.partial_rows()?).for_each(|rows| out.push(Batch::new(rows)));
        Ok(Flow::Ready)
    }
}

/// The half on the worker that owns the keys.
#[derive(Debug)]
pub struct FinalSession {
    shape: Arc<SessionShape>,
    /// Shared with a checkpoint that still reads it.
    state: Arc<SessionState>,
    forwards: bool,
}

impl FinalSession {
    /// `forwards`: event time goes on above, as the start of sessions.
    pub fn new(shape: Arc<SessionShape>, forwards: bool) -> Self {
        Self { state: Arc::new(SessionState::new(shape.clone())), shape, forwards }
    }

    fn close(&mut self, watermark: Timestamp, out: &mut Output) -> Result<()> {
        if let Some(rows) = Arc::make_mut(&mut self.state).close(watermark)? {
            slices(&rows).for_each(|rows| out.push(Batch::new(rows)));
        }
        Ok(())
    }
}

impl Operator for FinalSession {
    fn on_batch(&mut self, _input: Input, batch: Batch, _out: &mut Output) -> Result<Flow> {
        Arc::make_mut(&mut self.state).merge(&batch.records)?;
        Ok(Flow::Ready)
    }

    fn on_watermark(
        &mut self,
        _input: Input,
        combined: Timestamp,
        _own: Timestamp,
        out: &mut Output,
    ) -> Result<Flow> {
        if !self.shape.ends || combined == Timestamp::MIN {
            return Ok(Flow::Ready);
        }
        self.close(combined, out)?;
        if self.forwards {
            let start = self.state.earliest_start().map_or(Timestamp::MAX, Timestamp);
            out.watermark(combined.min(start));
        }
        Ok(Flow::Ready)
    }

    fn on_end(&mut self, _input: Input, out: &mut Output) -> Result<Flow> {
        self.close(Timestamp::MAX, out)?;
        Ok(Flow::Ready)
    }

    fn freeze(&mut self, _epoch: Epoch) -> Result<Frozen> {
        let state = self.state.clone();
        Ok(Frozen::new(move || Ok(vec![state.table("sessions")?])))
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        let state = Arc::make_mut(&mut self.state);
        tables.iter().try_for_each(|table| state.merge(&table.rows))
    }

    fn state_bytes(&self) -> usize {
        self.state.memory()
    }
}

#[cfg(test)]
mod tests {
    use super::{FinalSession, PartialSession};
    use crate::operators::Operator;
    use crate::operators::session_state::SessionShape;
    use crate::testing::{Harness, cut, field, placed};
    use dataflare_plan::{Aggregate, AggregateFunction, DataType, Node, Operator as PlanOperator};
    use std::sync::Arc;

    fn shape() -> Arc<SessionShape> {
        let aggregate = |name: &str, function, dtype| Aggregate {
            name: name.to_owned(),
            function,
            column: Some("v".to_owned()),
            other: None,
            options: dataflare_plan::AggregateOptions::default(),
            filter: None,
            text: name.to_owned(),
            dtype,
        };
        let node = Node {
            inputs: vec![0],
            operator: PlanOperator::Session {
                keys: vec!["k".to_owned()],
                column: "t".to_owned(),
                gap: 10,
                aggregates: vec![
                    aggregate("sum", AggregateFunction::Sum, DataType::Int64),
                    aggregate("distinct", AggregateFunction::NUnique, DataType::UInt32),
                ],
            },
            schema: vec![
                field("k", DataType::Int64),
                field("window_start", DataType::Int64),
                field("window_end", DataType::Int64),
                field("sum", DataType::Int64),
                field("distinct", DataType::UInt32),
            ],
            event_time: Some("window_start".to_owned()),
            event_time_ends: None,
            name: None,
        };
        let input = ["k", "t", "v"].map(|name| field(name, DataType::Int64)).to_vec();
        Arc::new(SessionShape::new(&node, &input, Some("t")).unwrap())
    }

    fn rows(keys: Vec<i64>, times: Vec<i64>, values: Vec<i64>) -> crate::event::Batch {
        placed(0, 0, [("k", keys), ("t", times), ("v", values)])
    }

    /// The sessions of `batches`, each through its own partial half: (key, start, end, sum), sorted.
    fn sessions(
        last: &mut Harness<FinalSession>,
        batches: Vec<crate::event::Batch>,
    ) -> Vec<[Option<i64>; 4]> {
        let mut partial = Harness::new(PartialSession::new(shape()));
        batches.into_iter().for_each(|batch| partial.push(batch));
        partial.take_from(0).into_iter().for_each(|batch| last.push(batch));
        taken(last)
    }

    fn taken(last: &mut Harness<FinalSession>) -> Vec<[Option<i64>; 4]> {
        let batches = last.take_from(0);
        let mut found = Vec::new();
        for batch in batches {
            let column = |name: &str| {
                let mut one =
                    Harness::new(crate::operators::union::Union::new(vec![0], batch.records.schema()));
                one.push(batch.clone());
                one.take(name)
            };
            let columns = ["k", "window_start", "window_end", "sum"].map(column);
            found.extend((0..batch.rows()).map(|row| [0, 1, 2, 3].map(|index| columns[index][row])));
        }
        found.sort_unstable();
        found
    }

    fn operator() -> Harness<FinalSession> {
        Harness::new(FinalSession::new(shape(), true)).with_event_time("window_start")
    }

    #[test]
    fn session_leaves_when_the_watermark_is_beyond_its_gap() {
        let mut last = operator();
        let found = sessions(&mut last, vec![rows(vec![1, 1, 2, 1], vec![0, 8, 5, 30], vec![1, 2, 4, 8])]);
        assert!(found.is_empty());
        last.watermark(18);
        assert_eq!(taken(&mut last), [[2, 5, 15, 4].map(Some)]);
        assert!(last.forwarded().0 <= 0);
        last.watermark(19);
        assert_eq!(taken(&mut last), [[1, 0, 18, 3].map(Some)]);
        assert_eq!(last.forwarded().0, 19);
        last.end();
        assert_eq!(taken(&mut last), [[1, 30, 40, 8].map(Some)]);
    }

    #[test]
    fn any_cut_and_a_restore_give_the_same_sessions() {
        let times: Vec<i64> = (0..120).map(|row| (row * 53) % 400).collect();
        let keys: Vec<i64> = (0..120).map(|row| row % 4).collect();
        let whole = rows(keys, times.clone(), times);
        let mut once = operator();
        sessions(&mut once, vec![whole.clone()]);
        once.end();
        let expected = taken(&mut once);
        for seed in 0..30 {
            let mut pieces = cut(&whole, 0, seed);
            let rest = pieces.split_off(pieces.len() / 2);
            let mut first = operator();
            sessions(&mut first, pieces);
            let mut second = operator();
            second.operator.restore(first.state()).unwrap();
            sessions(&mut second, rest);
            second.end();
            assert_eq!(taken(&mut second), expected, "seed {seed}");
        }
    }
}
