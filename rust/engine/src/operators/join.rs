//! `join`: rows of two inputs whose keys are equal, each pair once, whichever row comes first.
//!
//! In: append batches of both inputs, on the worker that owns the key (or the right input on every worker). Out: joined
//! rows in no order. A row looks up the rows of the other input that came before it, then waits for those that come
//! after. What an outer or anti join says of a row that meets none leaves when nothing can come that it could meet.
//! Not here: a predicate over both sides, which is a filter above; the bound that follows from it, which the planner finds.
//! Forwards: the event time of the side that keeps it, less what rows of that side may still wait for.
//! State: both inputs' rows until the other's watermark has passed their bound, or it has ended.
//! Cost: one look-up a row and one copy of each joined row; a row is put away once and forgotten with its batch.
//!
//! The symmetric hash join of Wilschut and Apers, "Dataflow query execution in a parallel main-memory environment" (1991).

use super::logical_order::without_hidden;
use super::project::ticks;
use super::{Flow, Input, Operator, Output};
use crate::error::{EngineError, Result};
use crate::event::{Batch, Epoch};
use crate::state::keys::KeyType;
use crate::state::row_store::{Link, NONE, RowStore, chosen};
use crate::state::{Frozen, Scope, StateTable, keys_first};
use crate::time::Timestamp;
use crate::types::{arrow_schema, column_index};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array,
};
use arrow::compute::{concat_batches, filter_record_batch, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use dataflare_plan::{JoinBound, JoinColumn, JoinHow, JoinSide, Node, Operator as Plan};
use std::sync::Arc;

/// Joined rows of one batch.
const PAIRS: usize = 65_536;

/// Hidden state column: the row has met one of the other input.
const MET: &str = "\u{0}met";

/// What every instance of a join shares.
#[derive(Debug)]
pub struct JoinType {
    how: JoinHow,
    nulls_equal: bool,
    is_broadcast: bool,
    bound: Option<JoinBound>,
    time_side: Option<JoinSide>,
    key_type: KeyType,
    sides: [SideType; 2],
    columns: Vec<Source>,
    schema: SchemaRef,
}

#[derive(Debug)]
struct SideType {
    name: &'static str,
    schema: SchemaRef,
    keys: Vec<usize>,
    time: Option<usize>,
}

/// Where an output column comes from: its place in the left input, in the right one, or both.
#[derive(Clone, Copy, Debug)]
enum Source {
    Left(usize),
    Right(usize),
    Both(usize, usize),
}

impl JoinType {
    /// # Errors
    /// A node that is no join, or keys that cannot be compared.
    pub fn new(node: &Node, left: &Node, right: &Node) -> Result<Self> {
        let Plan::Join {
            how,
            left_on,
            right_on,
            nulls_equal,
            columns,
            bound,
            time_side,
            broadcast: is_broadcast,
        } = &node.operator
        else {
            return Err(EngineError::internal("join", format!("a {} node", node.operator.kind())));
        };
        let side = |name, input: &Node, on: &[String]| {
            let schema = arrow_schema(&input.schema);
            let keys = on.iter().map(|key| column_index(&schema, key)).collect::<Result<_>>()?;
            let time = input.event_time.as_ref().map(|time| column_index(&schema, time)).transpose()?;
            Ok::<_, EngineError>(SideType { name, schema, keys, time })
        };
        let sides = [side("left", left, left_on)?, side("right", right, right_on)?];
        let dtypes: Vec<_> = left_on
            .iter()
            .filter_map(|key| left.schema.iter().find(|field| &field.name == key))
            .map(|field| field.dtype.clone())
            .collect();
        let source = |column: &JoinColumn| {
            let (left, right) = (&sides[0].schema, &sides[1].schema);
            Ok::<_, EngineError>(match column {
                JoinColumn::Left(name) => Source::Left(column_index(left, name)?),
                JoinColumn::Right(name) => Source::Right(column_index(right, name)?),
                JoinColumn::Both(one, other) => {
                    Source::Both(column_index(left, one)?, column_index(right, other)?)
                }
            })
        };
        Ok(Self {
            how: *how,
            nulls_equal: *nulls_equal,
            is_broadcast: *is_broadcast,
            bound: *bound,
            time_side: *time_side,
            key_type: KeyType::of(&dtypes)?,
            columns: columns.iter().map(source).collect::<Result<_>>()?,
            sides,
            schema: arrow_schema(&node.schema),
        })
    }

    /// True if rows of a side that meet none are rows of the result.
    fn keeps_lonely(&self, side: usize) -> bool {
        match self.how {
            JoinHow::Inner | JoinHow::Semi => false,
            JoinHow::Left | JoinHow::Anti => side == 0,
            JoinHow::Right => side == 1,
            JoinHow::Full => true,
        }
    }

    /// True if the result has pairs, false if it has rows of the left.
    fn has_pairs(&self) -> bool {
        !matches!(self.how, JoinHow::Semi | JoinHow::Anti)
    }

    /// Rows of a side whose time is below can meet nothing that comes; `other`: the watermark of the other side.
    fn released(&self, side: usize, other: Timestamp) -> Option<i64> {
        let bound = self.bound?;
        self.sides[side].time?;
        if other == Timestamp::MIN {
            return None;
        }
        match side {
            0 => Some(other.0.saturating_sub(bound.upper?)),
            _ => Some(other.0.saturating_add(bound.lower?)),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Join {
    shared: Arc<JoinType>,
    worker: usize,
    sides: [Side; 2],
    probing: Option<Probing>,
    forwarded: Timestamp,
}

#[derive(Debug)]
struct Side {
    store: RowStore,
    watermark: Timestamp,
    has_ended: bool,
}

/// A batch that is looking for the rows it meets.
#[derive(Debug)]
struct Probing {
    side: usize,
    records: RecordBatch,
    /// By row: the newest row of the other input with its key.
    firsts: Vec<Link>,
    row: usize,
    link: Link,
}

impl Join {
    pub fn new(shared: Arc<JoinType>, worker: usize) -> Self {
        let side = |side: usize| {
            // Of the right input of a semi or anti join it only matters that a key is there.
            let is_unique = side == 1 && !shared.has_pairs();
            let keys = shared.sides[side].keys.clone();
            Side {
                store: RowStore::new(shared.key_type.clone(), keys, is_unique),
                watermark: Timestamp::MIN,
                has_ended: false,
            }
        };
        let sides = [side(0), side(1)];
        Self { shared, worker, sides, probing: None, forwarded: Timestamp::MIN }
    }

    /// Takes the rows without a null key, which alone can meet; the others leave at once where they are results.
    fn with_keys(&self, side: usize, records: RecordBatch, out: &mut Output) -> Result<RecordBatch> {
        if self.shared.nulls_equal {
            return Ok(records);
        }
        let keys = self.shared.sides[side].keys.iter().map(|key| records.column(*key).logical_nulls());
        let Some(nulls) = keys
            .flatten()
            .filter(|nulls| nulls.null_count() > 0)
            .reduce(|one, other| arrow::buffer::NullBuffer::union(Some(&one), Some(&other)).unwrap_or(one))
        else {
            return Ok(records);
        };
        let valid = BooleanArray::new(nulls.into_inner(), None);
        if self.shared.keeps_lonely(side) {
            let lonely = filter_record_batch(&records, &arrow::compute::not(&valid)?)?;
            self.push_lonely(side, &lonely, out)?;
        }
        Ok(filter_record_batch(&records, &valid)?)
    }

    /// Emits what the batch meets, a piece at a time; at the end the batch is put away.
    fn probe(&mut self, out: &mut Output) -> Result<Flow> {
        let Some(mut probing) = self.probing.take() else { return Ok(Flow::Ready) };
        let (side, other) = (probing.side, 1 - probing.side);
        let is_semi = self.shared.how == JoinHow::Semi;
        let marks = self.shared.keeps_lonely(other) || (is_semi && side == 1);
        let (mut rows, mut links) = (Vec::new(), Vec::new());
        while let Some(first) = probing.firsts.get(probing.row).copied() {
            if probing.link == NONE {
                probing.link = first;
            }
            let mut link = probing.link;
            while link != NONE && links.len() < PAIRS {
                let had_met = marks && self.sides[other].store.meet(link);
                if self.shared.has_pairs() || (is_semi && side == 1 && !had_met) {
                    rows.push(probing.row as u32);
                    links.push(link);
                }
                link = self.sides[other].store.next(link);
            }
            probing.link = link;
            if link != NONE {
                break;
            }
            probing.row += 1;
        }
        let is_over = probing.row >= probing.firsts.len();
        if !links.is_empty() {
            let pairs = if self.shared.has_pairs() {
                self.pairs(side, &probing.records, &rows, &links)?
            } else {
                self.semi_rows(&links)?
            };
            out.push(Batch::new(pairs));
        }
        if is_over {
            self.put_away(probing, out)?;
            return Ok(Flow::Ready);
        }
        self.probing = Some(probing);
        Ok(Flow::More)
    }

    /// Keeps the rows of a batch for what comes on the other input, as far as that is of use.
    fn put_away(&mut self, probing: Probing, out: &mut Output) -> Result<()> {
        let Probing { side, records, firsts, .. } = probing;
        let other = 1 - side;
        let met: Vec<bool> = firsts.iter().map(|first| *first != NONE).collect();
        if !self.shared.has_pairs() && side == 0 {
            if self.shared.how == JoinHow::Semi {
                let rows = chosen(&records, &numbers(&met, true))?;
                self.push_rows(rows, out)?;
            }
            let rest = chosen(&records, &numbers(&met, false))?;
            let met = vec![false; rest.num_rows()];
            return self.keep(side, rest, met, out);
        }
        if self.sides[other].has_ended {
            if self.shared.keeps_lonely(side) {
                self.push_lonely(side, &chosen(&records, &numbers(&met, false))?, out)?;
            }
            return Ok(());
        }
        self.keep(side, records, met, out)
    }

    fn keep(&mut self, side: usize, records: RecordBatch, met: Vec<bool>, out: &mut Output) -> Result<()> {
        let shared = self.shared.clone();
        let times = times(&records, shared.sides[side].time)?;
        let keys = self.sides[side].store.prepare(&records)?;
        let earliest = times.iter().copied().min();
        self.sides[side].store.insert(records, &keys, met, times)?;
        let released = shared.released(side, self.sides[1 - side].watermark);
        let is_released =
            released.is_some_and(|released| earliest.is_some_and(|earliest| earliest < released));
        if is_released || self.sides[1 - side].has_ended { self.release(side, out) } else { Ok(()) }
    }

    /// Forgets the rows of a side that can meet nothing any more.
    fn release(&mut self, side: usize, out: &mut Output) -> Result<()> {
        let shared = self.shared.clone();
        let other = &self.sides[1 - side];
        let threshold = shared.released(side, other.watermark);
        if !other.has_ended && threshold.is_none() {
            return Ok(());
        }
        let threshold = if other.has_ended { None } else { threshold };
        let lonely = shared.keeps_lonely(side);
        for records in self.sides[side].store.release(threshold, lonely)? {
            self.push_lonely(side, &records, out)?;
        }
        Ok(())
    }

    /// The lower bound of the event times that may still leave.
    fn bound(&self) -> Timestamp {
        let wait = |side: usize, ticks: Option<i64>| match (&self.sides[side], ticks) {
            (Side { has_ended: true, .. }, _) => Timestamp::MAX,
            (Side { watermark: Timestamp::MIN, .. }, _) | (_, None) => Timestamp::MIN,
            (Side { watermark, .. }, Some(ticks)) => Timestamp(watermark.0.saturating_add(ticks)),
        };
        let bound = self.shared.bound.unwrap_or(JoinBound { lower: None, upper: None });
        match self.shared.time_side {
            None => Timestamp::MIN,
            Some(JoinSide::Left) => {
                self.sides[0].watermark.min(wait(1, bound.upper.map(i64::saturating_neg)))
            }
            Some(JoinSide::Right) => self.sides[1].watermark.min(wait(0, bound.lower)),
        }
    }

    fn forward(&mut self, out: &mut Output) {
        let bound = self.bound();
        if bound > self.forwarded {
            self.forwarded = bound;
            out.watermark(bound);
        }
    }

    /// Joined rows: those of `side` by number, those of the other by link.
    fn pairs(&self, side: usize, records: &RecordBatch, rows: &[u32], links: &[Link]) -> Result<RecordBatch> {
        let rows = UInt32Array::from(rows.to_vec());
        let store = &self.sides[1 - side].store;
        let column = |source: &Source| {
            let (at, index) = match *source {
                Source::Left(index) => (0, index),
                Source::Right(index) => (1, index),
                Source::Both(left, right) => (side, if side == 0 { left } else { right }),
            };
            if at == side {
                Ok(take(records.column(index), &rows, None)?)
            } else {
                store.gather(links, index)
            }
        };
        let columns = self.shared.columns.iter().map(column).collect::<Result<Vec<_>>>()?;
        self.records(columns, rows.len())
    }

    /// Rows of the left that have just met their first row of the right.
    fn semi_rows(&self, links: &[Link]) -> Result<RecordBatch> {
        let left = |source: &Source| match *source {
            Source::Left(index) | Source::Both(index, _) => self.sides[0].store.gather(links, index),
            Source::Right(_) => Err(EngineError::internal("join", "a semi join with a column of the right")),
        };
        let columns = self.shared.columns.iter().map(left).collect::<Result<Vec<_>>>()?;
        self.records(columns, links.len())
    }

    /// Rows of the left as they are.
    fn push_rows(&self, rows: RecordBatch, out: &mut Output) -> Result<()> {
        self.push_lonely(0, &rows, out)
    }

    /// Rows of one side without any of the other.
    fn push_lonely(&self, side: usize, rows: &RecordBatch, out: &mut Output) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let column = |(source, field): (&Source, &Arc<Field>)| match (*source, side) {
            (Source::Left(index) | Source::Both(index, _), 0)
            | (Source::Right(index) | Source::Both(_, index), 1) => rows.column(index).clone(),
            _ => new_null_array(field.data_type(), rows.num_rows()),
        };
        let columns = self.shared.columns.iter().zip(self.shared.schema.fields()).map(column).collect();
        out.push(Batch::new(self.records(columns, rows.num_rows())?));
        Ok(())
    }

    fn records(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(self.shared.schema.clone(), columns, &options)?)
    }
}

impl Operator for Join {
    fn on_batch(&mut self, input: Input, batch: Batch, out: &mut Output) -> Result<Flow> {
        let records = self.with_keys(input, without_hidden(&batch.records)?, out)?;
        let other = &mut self.sides[1 - input].store;
        let firsts =
            other.find(&other.prepare_of(&records, &self.shared.sides[input].keys)?, records.num_rows());
        self.probing = Some(Probing { side: input, records, firsts, row: 0, link: NONE });
        self.probe(out)
    }

    fn on_more(&mut self, out: &mut Output) -> Result<Flow> {
        self.probe(out)
    }

    fn on_watermark(
        &mut self,
        input: Input,
        _combined: Timestamp,
        own: Timestamp,
        out: &mut Output,
    ) -> Result<Flow> {
        self.sides[input].watermark = own;
        self.release(1 - input, out)?;
        self.forward(out);
        Ok(Flow::Ready)
    }

    fn on_end(&mut self, input: Input, out: &mut Output) -> Result<Flow> {
        self.sides[input].has_ended = true;
        self.release(1 - input, out)?;
        self.sides[input].store.complete()?;
        self.forward(out);
        Ok(Flow::Ready)
    }

    fn freeze(&mut self, _epoch: Epoch) -> Result<Frozen> {
        let (shared, worker) = (self.shared.clone(), self.worker);
        let rows = [self.sides[0].store.rows(), self.sides[1].store.rows()];
        Ok(Frozen::new(move || {
            let mut tables = Vec::with_capacity(2);
            for (side, rows) in shared.sides.iter().zip(rows) {
                let scope = match side.name {
                    "right" if shared.is_broadcast => Scope::Broadcast,
                    _ if side.keys.is_empty() => Scope::Single,
                    _ => Scope::Keyed,
                };
                // Each worker holds the same table: one writes it.
                let rows = if scope == Scope::Broadcast && worker > 0 { Vec::new() } else { rows };
                tables.push(side.table(scope, &rows)?);
            }
            Ok(tables)
        }))
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        let shared = self.shared.clone();
        for table in tables {
            let number = usize::from(table.name != shared.sides[0].name);
            let side = &shared.sides[number];
            let (records, met) = side.rows(&table)?;
            let times = times(&records, side.time)?;
            let keys = self.sides[number].store.prepare(&records)?;
            self.sides[number].store.insert(records, &keys, met, times)?;
        }
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        self.sides.iter().map(|side| side.store.memory()).sum()
    }
}

impl SideType {
    fn table(&self, scope: Scope, rows: &[(RecordBatch, Vec<bool>)]) -> Result<StateTable> {
        let order = keys_first(self.schema.fields().len(), &self.keys);
        let fields = order.iter().map(|index| Arc::new(self.schema.field(*index).clone()));
        let met = Arc::new(Field::new(MET, DataType::Boolean, false));
        let schema: SchemaRef = Arc::new(Schema::new(fields.chain([met]).collect::<Vec<_>>()));
        let batches = rows.iter().map(|(records, met)| {
            let columns = order.iter().map(|index| records.column(*index).clone());
            let met: ArrayRef = Arc::new(BooleanArray::from(met.clone()));
            Ok(RecordBatch::try_new(schema.clone(), columns.chain([met]).collect())?)
        });
        let batches = batches.collect::<Result<Vec<_>>>()?;
        let rows = concat_batches(&schema, &batches)?;
        Ok(StateTable { name: self.name.to_owned(), scope, keys: self.keys.len(), rows })
    }

    fn rows(&self, table: &StateTable) -> Result<(RecordBatch, Vec<bool>)> {
        let form = || EngineError::internal("join", format!("state table '{}' of another form", table.name));
        let met = table.rows.column_by_name(MET).and_then(|met| met.as_boolean_opt()).ok_or_else(form)?;
        let columns =
            self.schema.fields().iter().map(|field| table.rows.column_by_name(field.name()).cloned());
        let columns = columns.collect::<Option<Vec<_>>>().ok_or_else(form)?;
        let options = RecordBatchOptions::new().with_row_count(Some(table.rows.num_rows()));
        let records = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        Ok((records, met.iter().map(|met| met.unwrap_or(false)).collect()))
    }
}

/// The event times of some rows; empty without.
fn times(records: &RecordBatch, column: Option<usize>) -> Result<Vec<i64>> {
    let Some(column) = column else { return Ok(Vec::new()) };
    Ok(ticks(records.column(column))?.values().to_vec())
}

fn numbers(met: &[bool], wanted: bool) -> Vec<u32> {
    (0u32..).zip(met).filter(|(_, met)| **met == wanted).map(|(row, _)| row).collect()
}

#[cfg(test)]
mod tests {
    use super::{Join, JoinType};
    use crate::testing::{Harness, placed};
    use crate::time::Timestamp;
    use dataflare_plan::Plan;
    use serde_json::json;
    use std::sync::Arc;

    /// Two inputs (k, t) and (k, u); rows meet if 0 <= u - t <= 10, if `is_bounded`.
    fn join(how: &str, is_bounded: bool) -> Harness<Join> {
        let int = |name: &str| json!({"name": name, "dtype": "int64"});
        let input = |time: &str| json!({"operator": "source", "connector": "batches", "options": {}, "bounded": true, "schema": [int("k"), int(time)], "event_time": time});
        let columns = json!([{"left": "k"}, {"left": "t"}, {"right": "u"}]);
        let (columns, schema) = match how {
            "semi" | "anti" => (json!([{"left": "k"}, {"left": "t"}]), json!([int("k"), int("t")])),
            _ => (columns, json!([int("k"), int("t"), int("u")])),
        };
        let bound = if is_bounded { json!({"lower": 0, "upper": 10}) } else { json!(null) };
        let node = json!({"operator": "join", "inputs": [0, 1], "how": how, "left_on": ["k"], "right_on": ["k"], "columns": columns, "bound": bound, "time_side": "left", "schema": schema, "event_time": "t"});
        let plan = json!({"version": dataflare_plan::PLAN_VERSION, "nodes": [input("t"), input("u"), node]});
        let plan = Plan::from_json(&plan.to_string()).unwrap();
        let [left, right, node] = plan.nodes.as_slice() else { panic!("three nodes") };
        let shared = Arc::new(JoinType::new(node, left, right).unwrap());
        Harness::new(Join::new(shared, 0)).with_inputs(2).with_event_time("t")
    }

    fn left(join: &mut Harness<Join>, keys: &[i64], times: &[i64]) {
        join.push_to(0, placed(0, 0, [("k", keys.to_vec()), ("t", times.to_vec())]));
    }

    fn right(join: &mut Harness<Join>, keys: &[i64], times: &[i64]) {
        join.push_to(1, placed(0, 0, [("k", keys.to_vec()), ("u", times.to_vec())]));
    }

    #[test]
    fn pair_leaves_when_its_second_row_comes() {
        let mut join = join("inner", true);
        left(&mut join, &[1, 2], &[5, 6]);
        assert_eq!(join.take("t"), []);
        right(&mut join, &[2, 2, 3], &[7, 8, 9]);
        assert_eq!(join.take("u"), [Some(7), Some(8)]);
        left(&mut join, &[3], &[9]);
        assert_eq!(join.take("u"), [Some(9)]);
    }

    #[test]
    fn forwards_what_may_still_leave() {
        let mut join = join("inner", true);
        join.watermark_of(0, Timestamp(100));
        assert_eq!(join.forwarded(), Timestamp::MIN);
        join.watermark_of(1, Timestamp(50));
        assert_eq!(join.forwarded(), Timestamp(40));
        join.watermark_of(1, Timestamp(200));
        assert_eq!(join.forwarded(), Timestamp(100));
    }

    #[test]
    fn row_without_partner_leaves_when_the_other_watermark_has_passed_its_bound() {
        let mut join = join("left", true);
        left(&mut join, &[1, 2], &[5, 30]);
        join.watermark_of(0, Timestamp(40));
        join.watermark_of(1, Timestamp(15));
        assert_eq!(join.take("t"), []);
        join.watermark_of(1, Timestamp(16));
        assert_eq!(join.take("t"), [Some(5)]);
        join.end();
        assert_eq!(join.take("t"), [Some(30)]);
    }

    #[test]
    fn state_does_not_grow_while_watermarks_go_on() {
        let mut join = join("inner", true);
        let mut sizes = Vec::new();
        for step in 0..400_i64 {
            let times: Vec<i64> = (0..500).map(|row| step * 20 + row % 20).collect();
            let keys: Vec<i64> = (0..500).map(|row| step * 500 + row).collect();
            left(&mut join, &keys, &times);
            right(&mut join, &keys, &times);
            join.watermark_of(0, Timestamp(step * 20));
            join.watermark_of(1, Timestamp(step * 20));
            sizes.push(crate::Operator::state_bytes(&join.operator));
        }
        assert!(sizes[399] < 3 * sizes[30], "{} bytes after 30 steps, {} after 400", sizes[30], sizes[399]);
    }

    #[test]
    fn nothing_waits_for_an_input_that_has_ended() {
        let mut join = join("inner", false);
        right(&mut join, &[1, 2], &[5, 6]);
        join.end_of(1);
        left(&mut join, &[1, 3], &[7, 8]);
        assert_eq!(join.take("u"), [Some(5)]);
        let rows = join.state().iter().map(|table| table.rows.num_rows()).collect::<Vec<_>>();
        assert_eq!(rows, [0, 2]);
        join.watermark_of(0, Timestamp(9));
        assert_eq!(join.forwarded(), Timestamp(9));
    }

    #[test]
    fn semi_and_anti_give_each_left_row_once_or_never() {
        for (how, expected) in [("semi", vec![Some(5), Some(6)]), ("anti", vec![Some(7)])] {
            let mut join = join(how, false);
            right(&mut join, &[1], &[0]);
            left(&mut join, &[1, 2, 3], &[5, 6, 7]);
            right(&mut join, &[2, 2, 1], &[0, 0, 0]);
            join.end();
            assert_eq!(join.take("t"), expected, "{how}");
        }
    }

    #[test]
    fn restored_rows_meet_what_comes_after_and_nothing_twice() {
        let mut before = join("full", false);
        left(&mut before, &[1, 2], &[5, 6]);
        right(&mut before, &[1], &[7]);
        assert_eq!(before.take("u"), [Some(7)]);
        let mut after = join("full", false);
        crate::Operator::restore(&mut after.operator, before.state()).unwrap();
        right(&mut after, &[2], &[8]);
        assert_eq!(after.take("u"), [Some(8)]);
        after.end();
        assert_eq!(after.take("t"), []);
    }
}
