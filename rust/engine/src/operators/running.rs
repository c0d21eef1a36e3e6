//! Running functions of each key: `over(key, order_by=time)`, `rolling`, `cum_sum` of a whole frame; without a function
//! it is `sort(time, ...)`.
//!
//! In: append batches, on the worker that owns the key. Out: the same rows with a column for each function, in logical
//! order; a row leaves when the watermark is above its time, so that every row before it has come. Without event time the
//! input is bounded, and rows leave at its end. Not here: the functions (`crate::running`), the order (`waiting.rs`).
//! Forwards: the watermark as it is: every row below it has left.
//! State: the rows that wait, and what each function remembers of each key.
//! Cost: one sort of what came out of order, one key look-up and one step of each function a row.

use super::logical_order::is_hidden;
use super::sort_keys::SortKeys;
use super::waiting::{Piece, Waiting};
use super::{Flow, Input, Operator, Output};
use crate::error::{EngineError, Result};
use crate::event::{Batch, Epoch};
use crate::running::{Kept, Rows, Running, function};
use crate::state::keys::{KeyType, Keys, PreparedKeys};
use crate::state::{Frozen, Scope, StateTable, keys_first};
use crate::time::Timestamp;
use crate::types::{arrow_schema, column_index};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use dataflare_plan::{DataType, Node, Operator as Plan, RunningFunction};
use std::sync::Arc;

/// The state table of the rows that wait.
const WAITING: &str = "waiting";
/// Fewer rows are not worth a look for forgotten keys.
const LEAST_KEYS: usize = 1_024;

/// What every instance of a running node shares.
#[derive(Debug)]
pub struct RunningType {
    keys: Vec<usize>,
    key_names: Vec<String>,
    key_type: KeyType,
    /// Columns of the input.
    width: usize,
    time: Option<usize>,
    /// What decides between rows of equal time, before their logical order.
    ties: Option<SortKeys>,
    functions: Vec<RunningFunction>,
    /// By function: where its column, filter and fill stand, functions counted behind the input.
    inputs: Vec<[Option<usize>; 3]>,
    /// Input columns, then functions.
    fields: Vec<FieldRef>,
    dtypes: Vec<Option<DataType>>,
    time_type: Option<DataType>,
    forwards: bool,
}

impl RunningType {
    /// # Errors
    /// A node of another kind, or keys that cannot be compared.
    pub fn new(node: &Node, input: &Node) -> Result<Self> {
        let (keys, functions, ties) = match &node.operator {
            Plan::Running { keys, functions, ties } => {
                (keys.as_slice(), functions.as_slice(), ties.as_slice())
            }
            // Rows in order of their time and no function of them.
            Plan::Sort { by, by_time: true, .. } => {
                (&[] as &[String], &[] as &[RunningFunction], by.get(1..).unwrap_or_default())
            }
            other => return Err(EngineError::internal("running", format!("a {} node", other.kind()))),
        };
        let schema = arrow_schema(&node.schema);
        let index = |name: &String| column_index(&schema, name);
        let dtype =
            |name: &String| node.schema.iter().find(|field| &field.name == name).map(|field| &field.dtype);
        let key_types: Vec<DataType> = keys.iter().filter_map(dtype).cloned().collect();
        let inputs = functions.iter().map(|one| {
            let [column, filter, fill] = [&one.column, &one.filter, &one.fill];
            let place = |name: &Option<String>| name.as_ref().map(index).transpose();
            Ok::<_, EngineError>([place(column)?, place(filter)?, place(fill)?])
        });
        Ok(Self {
            keys: keys.iter().map(index).collect::<Result<_>>()?,
            key_names: keys.to_vec(),
            key_type: KeyType::of(&key_types)?,
            width: input.schema.len(),
            time: input.event_time.as_ref().map(index).transpose()?,
            ties: if ties.is_empty() { None } else { Some(SortKeys::new(ties, &input.schema)?) },
            inputs: inputs.collect::<Result<_>>()?,
            dtypes: functions.iter().map(|one| one.column.as_ref().and_then(dtype).cloned()).collect(),
            time_type: input.event_time.as_ref().and_then(dtype).cloned(),
            functions: functions.to_vec(),
            fields: schema.fields().iter().cloned().collect(),
            forwards: node.event_time.is_some(),
        })
    }

    fn scope(&self) -> Scope {
        if self.keys.is_empty() { Scope::Single } else { Scope::Keyed }
    }

    fn functions(&self) -> Result<Vec<Box<dyn Running>>> {
        let all = self.functions.iter().zip(&self.dtypes);
        all.map(|(one, dtype)| function(one, dtype.as_ref(), self.time_type.as_ref())).collect()
    }

    /// The rows that wait as a state table: the keys first.
    fn waiting_table(&self, rows: &[RecordBatch]) -> Result<Option<StateTable>> {
        let Some(first) = rows.first() else { return Ok(None) };
        let records = concat_batches(&first.schema(), rows)?;
        let order = keys_first(records.num_columns(), &self.keys);
        let rows = records.project(&order)?;
        Ok(Some(StateTable { name: WAITING.to_owned(), scope: self.scope(), keys: self.keys.len(), rows }))
    }

    /// Such rows with the columns as the input has them.
    fn waiting_rows(&self, table: &StateTable) -> Result<RecordBatch> {
        let schema = table.rows.schema();
        let input = self.fields.iter().take(self.width).map(|field| column_index(&schema, field.name()));
        let mut order = input.collect::<Result<Vec<_>>>()?;
        order.extend((0..schema.fields().len()).filter(|index| is_hidden(schema.field(*index))));
        Ok(table.rows.project(&order)?)
    }

    /// What one function remembers as a state table.
    fn table(&self, index: usize, keys: &Keys, kept: Kept) -> Result<StateTable> {
        let text = self.functions.get(index).map_or("", |one| one.text.as_str());
        let key_fields = self.keys.iter().zip(&self.key_names).map(|(key, name)| {
            let dtype = self.fields.get(*key).map(|field| field.data_type().clone());
            Field::new(name, dtype.unwrap_or(arrow::datatypes::DataType::Null), true)
        });
        let mut fields: Vec<Field> = key_fields.collect();
        let mut columns: Vec<ArrayRef> = keys.columns(Some(&kept.slots))?;
        for (part, column) in kept.columns {
            fields.push(Field::new(format!("{part} of {text}"), column.data_type().clone(), true));
            columns.push(column);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(kept.slots.len()));
        let rows = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?;
        Ok(StateTable { name: format!("function {index}"), scope: self.scope(), keys: self.keys.len(), rows })
    }
}

/// See the module.
#[derive(Debug)]
pub struct RunningOperator {
    shared: Arc<RunningType>,
    waiting: Waiting,
    keys: Keys,
    functions: Vec<Box<dyn Running>>,
    /// All functions forget keys that fell silent.
    forgets: bool,
    slots: Vec<u32>,
    /// Rows since the last look for forgotten keys.
    rows: usize,
    schema: Option<(SchemaRef, SchemaRef)>,
    watermark: Timestamp,
}

impl RunningOperator {
    /// # Errors
    /// A function that its column's type does not have.
    pub fn new(shared: Arc<RunningType>) -> Result<Self> {
        Ok(Self {
            waiting: Waiting::new(shared.time).with_ties(shared.ties.clone()),
            keys: Keys::new(&shared.key_type),
            functions: shared.functions()?,
            forgets: !shared.functions.is_empty()
                && shared.functions.iter().all(|one| one.function.is_by_period()),
            slots: Vec::new(),
            rows: 0,
            schema: None,
            watermark: Timestamp::MIN,
            shared,
        })
    }

    /// Emits one piece of the released rows; after the last one the watermark.
    fn emit(&mut self, out: &mut Output) -> Result<Flow> {
        if let Some(piece) = self.waiting.next_piece()? {
            out.push(Batch::new(self.evaluate(piece)?));
            return Ok(Flow::More);
        }
        self.forget()?;
        if self.shared.forwards || self.watermark == Timestamp::MAX {
            out.watermark(self.watermark);
        }
        Ok(Flow::Ready)
    }

    fn find_slots(&mut self, keys: &PreparedKeys, rows: usize) {
        match keys {
            PreparedKeys::None => {
                self.slots.clear();
                self.slots.resize(rows, 0);
            }
            keys => self.keys.slots(keys, 0..rows, &mut self.slots),
        }
    }

    fn evaluate(&mut self, piece: Piece) -> Result<RecordBatch> {
        let shared = self.shared.clone();
        let Piece { records, times } = piece;
        self.rows += records.num_rows();
        let keys: Vec<ArrayRef> = shared.keys.iter().map(|key| records.column(*key).clone()).collect();
        self.find_slots(&shared.key_type.prepare(&keys)?, records.num_rows());
        let mut columns: Vec<ArrayRef> = records.columns().iter().take(shared.width).cloned().collect();
        for (function, [column, filter, fill]) in self.functions.iter_mut().zip(&shared.inputs) {
            let place = |index: &Option<usize>| index.and_then(|index| columns.get(index));
            let rows = Rows {
                slots: &self.slots,
                keys: self.keys.count(),
                times: &times,
                column: place(column),
                filter: place(filter),
                fill: place(fill),
            };
            let answers = function.evaluate(&rows)?;
            columns.push(answers);
        }
        columns.extend(records.columns().iter().skip(shared.width).cloned());
        let schema = self.output_schema(&records.schema());
        let options = RecordBatchOptions::new().with_row_count(Some(records.num_rows()));
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }

    /// The columns of the node, then the hidden ones of the input.
    fn output_schema(&mut self, input: &SchemaRef) -> SchemaRef {
        if let Some((known, output)) = &self.schema
            && Arc::ptr_eq(known, input)
        {
            return output.clone();
        }
        let hidden = input.fields().iter().skip(self.shared.width).cloned();
        let output: SchemaRef =
            Arc::new(Schema::new(self.shared.fields.iter().cloned().chain(hidden).collect::<Vec<_>>()));
        self.schema = Some((input.clone(), output.clone()));
        output
    }

    /// Makes the tables anew without the keys that fell silent, when those are most of them.
    fn forget(&mut self) -> Result<()> {
        let watermark = self.watermark.0;
        // Half: where each row has a new key, the keys grow as fast as the rows.
        let is_due = self.rows >= (self.keys.count() / 2).max(LEAST_KEYS);
        if !self.forgets || !is_due || self.watermark == Timestamp::MAX {
            return Ok(());
        }
        self.rows = 0;
        let is_kept = |slot: &u32| !self.functions.iter().all(|one| one.is_forgotten(*slot, watermark));
        let kept: Vec<u32> = (0..self.keys.count() as u32).filter(is_kept).collect();
        if kept.len() * 2 > self.keys.count() {
            return Ok(());
        }
        let columns = self.keys.columns(Some(&kept))?;
        self.keys = Keys::new(&self.shared.key_type);
        let prepared = self.shared.key_type.prepare(&columns)?;
        self.find_slots(&prepared, kept.len());
        self.functions.iter_mut().for_each(|function| function.renumber(&kept));
        Ok(())
    }

    fn restore_function(&mut self, table: &StateTable) -> Result<()> {
        let shared = self.shared.clone();
        let index = table.name.strip_prefix("function ").and_then(|index| index.parse::<usize>().ok());
        let text = index.and_then(|index| shared.functions.get(index)).map(|one| format!(" of {}", one.text));
        let schema = table.rows.schema();
        let fits = |text: &String| {
            schema.fields().iter().skip(table.keys).all(|field| field.name().ends_with(text.as_str()))
        };
        let (Some(index), true) = (index, text.is_some_and(|text| fits(&text))) else {
            let expected: Vec<&str> = shared.functions.iter().map(|one| one.text.as_str()).collect();
            let found: Vec<&str> =
                schema.fields().iter().skip(table.keys).map(|field| field.name().as_str()).collect();
            return Err(EngineError::call(
                "the checkpoint",
                format!("state of {}", expected.join(", ")),
                format!(
                    "{} in {}; start without state (restore=\"ignore-state\"), or with the old expressions",
                    found.join(", "),
                    table.name
                ),
            ));
        };
        let columns = table.rows.columns();
        let (keys, state) = columns.split_at(table.keys.min(columns.len()));
        self.find_slots(&shared.key_type.prepare(keys)?, table.rows.num_rows());
        match self.functions.get_mut(index) {
            Some(function) => function.restore(&self.slots, state),
            None => Ok(()),
        }
    }
}

impl Operator for RunningOperator {
    fn on_batch(&mut self, _input: Input, batch: Batch, _out: &mut Output) -> Result<Flow> {
        self.waiting.add(batch)?;
        Ok(Flow::Ready)
    }

    fn on_watermark(
        &mut self,
        _input: Input,
        combined: Timestamp,
        _own: Timestamp,
        out: &mut Output,
    ) -> Result<Flow> {
        if self.shared.time.is_none() && combined != Timestamp::MAX {
            return Ok(Flow::Ready);
        }
        self.watermark = combined;
        self.waiting.release(combined)?;
        self.emit(out)
    }

    fn on_more(&mut self, out: &mut Output) -> Result<Flow> {
        self.emit(out)
    }

    fn freeze(&mut self, _epoch: Epoch) -> Result<Frozen> {
        let (shared, keys, rows) = (self.shared.clone(), self.keys.clone(), self.waiting.rows());
        let functions: Vec<_> = self.functions.iter().map(|function| function.boxed()).collect();
        Ok(Frozen::new(move || {
            let mut tables = Vec::with_capacity(functions.len() + 1);
            tables.extend(shared.waiting_table(&rows)?);
            for (index, function) in functions.iter().enumerate() {
                tables.push(shared.table(index, &keys, function.kept()?)?);
            }
            Ok(tables)
        }))
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        for table in tables {
            if table.name == WAITING {
                let rows = self.shared.waiting_rows(&table)?;
                self.waiting.add_placed(rows)?;
            } else {
                self.restore_function(&table)?;
            }
        }
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        let functions: usize = self.functions.iter().map(|function| function.bytes()).sum();
        self.waiting.bytes() + self.keys.memory() + functions
    }
}

#[cfg(test)]
mod tests {
    use super::{RunningOperator, RunningType};
    use crate::event::{Batch, POSITION, TIME};
    use crate::operators::Operator;
    use crate::testing::{Harness, batch, cut};
    use crate::time::Timestamp;
    use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
    use arrow::datatypes::Int64Type;
    use dataflare_plan::Plan;
    use serde_json::{Value, json};
    use std::sync::Arc;

    /// `x` = `function` of `v` by `k`, over (k, t, v) with `t` as event time.
    fn running(function: &Value) -> Harness<RunningOperator> {
        let int = |name: &str| json!({"name": name, "dtype": "int64"});
        let columns = json!([int("k"), int("t"), int("v")]);
        let source = json!({"operator": "source", "connector": "batches", "options": {}, "bounded": true, "schema": columns, "event_time": "t"});
        let one =
            json!({"name": "x", "function": function, "column": "v", "text": "x of v", "dtype": "int64"});
        let node = json!({"operator": "running", "inputs": [0], "keys": ["k"], "functions": [one], "schema": [int("k"), int("t"), int("v"), int("x")], "event_time": "t"});
        let plan = json!({"version": dataflare_plan::PLAN_VERSION, "nodes": [source, node]});
        let plan = Plan::from_json(&plan.to_string()).unwrap();
        let [source, node] = plan.nodes.as_slice() else { panic!("two nodes") };
        let shared = Arc::new(RunningType::new(node, source).unwrap());
        Harness::new(RunningOperator::new(shared).unwrap()).with_event_time("t")
    }

    /// Rows (k, t, v) of split 0, as a watermark operator hands them on.
    fn rows(first: u64, rows: &[(i64, i64, i64)]) -> Batch {
        let column =
            |of: fn(&(i64, i64, i64)) -> i64| rows.iter().map(|row| Some(of(row))).collect::<Vec<_>>();
        let times = column(|row| row.1);
        let plain = batch([
            ("k", column(|row| row.0)),
            ("t", times.clone()),
            ("v", column(|row| row.2)),
            (TIME, times),
        ]);
        let positions: ArrayRef = Arc::new((first..).take(rows.len()).map(Some).collect::<UInt64Array>());
        let schema = plain.records.schema();
        let names = schema.fields().iter().map(|field| field.name().as_str()).chain([POSITION]);
        let columns = plain.records.columns().iter().cloned().chain([positions]);
        plain.clone().with_records(RecordBatch::try_from_iter(names.zip(columns)).unwrap())
    }

    fn answers(operator: &mut Harness<RunningOperator>) -> Vec<(i64, Option<i64>)> {
        let of = |records: &RecordBatch, name: &str| {
            records.column_by_name(name).unwrap().as_primitive::<Int64Type>().iter().collect::<Vec<_>>()
        };
        let batches = operator.take_from(0);
        let rows =
            batches.iter().flat_map(|batch| of(&batch.records, "t").into_iter().zip(of(&batch.records, "x")));
        rows.map(|(time, answer)| (time.unwrap(), answer)).collect()
    }

    #[test]
    fn row_leaves_when_the_watermark_is_above_it() {
        let mut shift = running(&json!({"kind": "shift", "rows": 1}));
        shift.push(rows(0, &[(1, 5, 50), (1, 3, 30), (2, 4, 40)]));
        shift.watermark(5);
        assert_eq!(answers(&mut shift), [(3, None), (4, None)]);
        assert_eq!(shift.forwarded(), Timestamp(5));
        shift.push(rows(3, &[(1, 5, 51)]));
        shift.end();
        assert_eq!(answers(&mut shift), [(5, Some(30)), (5, Some(50))]);
    }

    #[test]
    fn any_cut_gives_the_same_answers() {
        let all: Vec<(i64, i64, i64)> = (0..200).map(|row| (row % 3, (row * 37) % 50, row)).collect();
        let mut whole = running(&json!({"kind": "cum_sum"}));
        whole.push(rows(0, &all));
        whole.end();
        let expected = answers(&mut whole);
        for seed in 0..20 {
            let mut pieces = running(&json!({"kind": "cum_sum"}));
            for piece in cut(&rows(0, &all), 0, seed) {
                pieces.push(piece);
            }
            pieces.end();
            assert_eq!(answers(&mut pieces), expected, "seed {seed}");
        }
    }

    #[test]
    fn state_goes_on_in_another_instance() {
        let mut first = running(&json!({"kind": "cum_sum"}));
        first.push(rows(0, &[(1, 1, 10), (2, 2, 20), (1, 8, 30)]));
        first.watermark(5);
        assert_eq!(answers(&mut first), [(1, Some(10)), (2, Some(20))]);
        let mut second = running(&json!({"kind": "cum_sum"}));
        second.operator.restore(first.state()).unwrap();
        second.push(rows(3, &[(2, 9, 40)]));
        second.end();
        assert_eq!(answers(&mut second), [(8, Some(40)), (9, Some(60))]);
    }

    #[test]
    fn state_of_another_function_is_refused_with_both_names() {
        let mut first = running(&json!({"kind": "cum_sum"}));
        first.push(rows(0, &[(1, 1, 10)]));
        first.watermark(5);
        let mut state = first.state();
        let table = state.remove(0);
        let columns = ["k", "sum of another"].into_iter().zip(table.rows.columns().iter().cloned());
        let renamed = RecordBatch::try_from_iter(columns).unwrap();
        let mut second = running(&json!({"kind": "cum_sum"}));
        let error =
            second.operator.restore(vec![crate::state::StateTable { rows: renamed, ..table }]).unwrap_err();
        assert!(error.to_string().contains("state of x of v, got sum of another"), "{error}");
    }

    #[test]
    fn keys_that_fell_silent_are_forgotten_by_windows_of_time() {
        let frame = json!({"time": {"period": {"nanoseconds": 10, "index": true}, "closed": "right"}});
        let mut rolling =
            running(&json!({"kind": "rolling", "fold": "sum", "frame": frame, "min_samples": 0}));
        let mut sizes = Vec::new();
        for step in 0..200_i64 {
            let some: Vec<(i64, i64, i64)> = (0..200).map(|row| (step * 200 + row, step, 1)).collect();
            rolling.push(rows(step as u64 * 200, &some));
            rolling.watermark(step);
            sizes.push(rolling.operator.state_bytes());
        }
        assert!(sizes[199] < 3 * sizes[30], "{} bytes after 30 steps, {} after 200", sizes[30], sizes[199]);
        assert!(rolling.operator.keys.count() < 8_000);
    }
}
