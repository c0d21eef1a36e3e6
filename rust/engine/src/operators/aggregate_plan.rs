//! What the operators of one Aggregate node share: where its columns are, its panes, the rows between its two halves.
//!
//! ```text
//!  rows -> PartialAggregate (worker that read them) -> partial rows, exchanged by key -> FinalAggregate | UpdateAggregate
//! ```
//! Partial rows are the key columns, the pane if there are panes, then the partial columns of each aggregate, named
//! `<user's expression> <part>`. State tables have the same columns. Called by the runtime.

use super::Operator;
use super::final_aggregate::FinalAggregate;
use super::panes::Panes;
use super::partial_aggregate::{PartialAggregate, Updates};
use super::update_aggregate::UpdateAggregate;
use crate::aggregate::accumulator;
use crate::aggregate::words::narrowed;
use crate::error::{EngineError, Result};
use crate::state::groups::{GroupType, Groups};
use crate::state::keys::KeyType;
use crate::types::{arrow_schema, arrow_type};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType as Arrow, Field, Schema as ArrowSchema, SchemaRef};
use dataflare_plan::{
    Aggregate, AggregateFunction, AggregateOptions, DataType, EmitMode, Node, Operator as PlanOperator,
    Schema,
};
use std::sync::Arc;

/// The column of partial rows and state tables that holds the pane.
pub const PANE: &str = "\u{0}pane";
/// Rows of an emitted batch.
const BATCH_ROWS: usize = 65_536;

/// Both halves of one Aggregate node.
#[derive(Clone, Debug)]
pub struct AggregatePlan {
    shape: Arc<Shape>,
    mode: EmitMode,
    every_ns: Option<u64>,
    forwards: bool,
}

impl AggregatePlan {
    /// `node`: the Aggregate node; `input`: the schema of its input; `input_event_time`: its event-time column;
    /// `bounded`: every source below is bounded.
    ///
    /// # Errors
    /// An aggregate or key of a type that has none, an unsupported grid, a node of another kind.
    pub fn new(node: &Node, input: &Schema, input_event_time: Option<&str>, bounded: bool) -> Result<Self> {
        let PlanOperator::Aggregate { keys, aggregates, window, time_key, emit, .. } = &node.operator else {
            return Err(EngineError::internal(
                "an aggregate",
                format!("its node is a {}", node.operator.kind()),
            ));
        };
        let type_of = |name: &str| {
            let field = input.iter().find(|field| field.name == name);
            let field = field.ok_or_else(|| {
                EngineError::internal("the plan", format!("no column '{name}' below an aggregate"))
            })?;
            Ok::<&DataType, EngineError>(&field.dtype)
        };
        let merge_cheaply = aggregates.iter().all(|one| !one.function.keeps_values());
        let (panes, time) = match (window, time_key) {
            (Some(window), _) => (
                Panes::of_window(window, type_of(&window.column)?, merge_cheaply)?,
                Some(window.column.clone()),
            ),
            (None, Some(key)) => (Panes::Values, Some(key.clone())),
            (None, None) => (Panes::Whole, None),
        };
        let ends = time.is_some() && time.as_deref() == input_event_time;
        let mode = if ends || bounded { emit.mode } else { EmitMode::Update };
        let shape = Shape::new(node, keys, aggregates, panes, time, ends, type_of)?;
        let every_ns = emit.every_ns.and_then(|every| u64::try_from(every).ok());
        Ok(Self { shape: Arc::new(shape), mode, every_ns, forwards: ends && node.event_time.is_some() })
    }

    /// What does not change while the operators run.
    pub fn shape(&self) -> Arc<Shape> {
        self.shape.clone()
    }

    /// The half on the worker that read the rows.
    pub fn partial(&self) -> Box<dyn Operator> {
        let updates = match (self.mode, self.every_ns) {
            (EmitMode::Close, _) => Updates::Never,
            (EmitMode::Update, None) => Updates::EachBatch,
            (EmitMode::Update, Some(every_ns)) => Updates::Every(every_ns),
        };
        Box::new(PartialAggregate::new(self.shape.clone(), updates))
    }

    /// The half on the worker that owns the keys; `worker`: which one it is.
    pub fn last(&self, worker: usize) -> Box<dyn Operator> {
        match self.mode {
            EmitMode::Close => Box::new(FinalAggregate::new(self.shape.clone(), self.forwards, worker)),
            EmitMode::Update => {
                Box::new(UpdateAggregate::new(self.shape.clone(), self.forwards, worker, self.every_ns))
            }
        }
    }

    /// The first n columns of partial rows are the keys to exchange by; 0: all rows go to worker 0.
    pub fn keys(&self) -> usize {
        if self.shape.ordered { 0 } else { self.shape.keys.len() }
    }

    /// True if the answer depends on logical order: batches must carry [`crate::event::POSITION`], `order`, and
    /// [`crate::event::TIME`] above a watermark.
    pub fn needs_order(&self) -> bool {
        self.shape.needs_order
    }
}

/// An output column.
#[derive(Clone, Copy, Debug)]
enum Column {
    /// Key column or aggregate, counted over both.
    Group(usize),
    Lower,
    Upper,
    /// The window's label or the time key.
    Time,
}

/// The columns that an aggregate reads.
#[derive(Clone, Debug)]
pub struct InputNames {
    pub column: Option<String>,
    pub other: Option<String>,
    pub filter: Option<String>,
}

impl InputNames {
    pub fn of(one: &Aggregate) -> Self {
        Self { column: one.column.clone(), other: one.other.clone(), filter: one.filter.clone() }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Shape {
    /// What messages call it.
    pub place: String,
    /// Key columns of the input, without the time key.
    pub keys: Vec<String>,
    /// Of each aggregate.
    pub inputs: Vec<InputNames>,
    pub panes: Panes,
    /// The column that decides the pane.
    pub time: Option<String>,
    /// True if `time` is the event time: panes become final.
    pub ends: bool,
    pub groups: GroupType,
    pub needs_order: bool,
    /// Groups leave in order of their first rows. Then the last accumulator holds the place of a group's first row, and
    /// one worker has all groups.
    pub ordered: bool,
    pub partial_schema: SchemaRef,
    columns: Vec<Column>,
    schema: SchemaRef,
}

impl Shape {
    fn new<'a>(
        node: &Node,
        keys: &[String],
        aggregates: &[Aggregate],
        panes: Panes,
        time: Option<String>,
        ends: bool,
        type_of: impl Fn(&str) -> Result<&'a DataType>,
    ) -> Result<Self> {
        let is_time_key = |key: &String| matches!(panes, Panes::Values) && Some(key) == time.as_ref();
        let group_keys: Vec<String> = keys.iter().filter(|key| !is_time_key(key)).cloned().collect();
        let key_types = group_keys.iter().map(|key| Ok(type_of(key)?.clone())).collect::<Result<Vec<_>>>()?;
        let maintain_order = matches!(&node.operator, PlanOperator::Aggregate { maintain_order: true, .. });
        let first_key = group_keys.first().filter(|_| maintain_order).cloned();
        let appearance = first_key.as_ref().map(|key| appearance(key, type_of(key)?)).transpose()?;
        let aggregates: Vec<&Aggregate> = aggregates.iter().chain(&appearance).collect();
        let accumulators = aggregates
            .iter()
            .map(|one| {
                let dtype = |name: &Option<String>| name.as_deref().map(&type_of).transpose();
                accumulator(one, dtype(&one.column)?, dtype(&one.other)?)
            })
            .collect::<Result<Vec<_>>>()?;

        let mut columns = Vec::new();
        let mut group = 0;
        for key in keys {
            columns.push(if is_time_key(key) {
                Column::Time
            } else {
                group += 1;
                Column::Group(group - 1)
            });
        }
        if let PlanOperator::Aggregate { window: Some(window), .. } = &node.operator {
            if window.include_boundaries {
                columns.extend([Column::Lower, Column::Upper]);
            }
            columns.push(Column::Time);
        }
        columns.extend(
            (0..aggregates.len() - appearance.iter().len()).map(|index| Column::Group(group + index)),
        );

        let mut fields: Vec<Field> = group_keys
            .iter()
            .zip(&key_types)
            .map(|(name, dtype)| Field::new(name, arrow_type(dtype), true))
            .collect();
        if panes.is_timed() {
            fields.push(Field::new(PANE, Arrow::Int64, false));
        }
        for (one, accumulator) in aggregates.iter().zip(&accumulators) {
            for (part, dtype) in accumulator.partial_types() {
                let mut name = format!("{} {part}", one.text);
                while fields.iter().any(|field| field.name() == &name) {
                    name.push('\'');
                }
                fields.push(Field::new(name, dtype, true));
            }
        }
        let place = node.name.clone().unwrap_or_else(|| format!("group_by({})", keys.join(", ")));
        Ok(Self {
            place,
            keys: group_keys,
            inputs: aggregates.iter().map(|one| InputNames::of(one)).collect(),
            panes,
            time,
            ends,
            groups: GroupType { keys: KeyType::of(&key_types)?, accumulators },
            needs_order: aggregates.iter().any(|one| one.needs_order()),
            ordered: appearance.is_some(),
            partial_schema: Arc::new(ArrowSchema::new(fields)),
            columns,
            schema: arrow_schema(&node.schema),
        })
    }

    /// All result rows of a window.
    pub fn window_results(&self, window: i64, groups: &Groups) -> Result<RecordBatch> {
        let order = if self.ordered { Some(groups.in_order_of_appearance()?) } else { None };
        self.results(window, groups, order.as_deref())
    }

    /// The result rows of a window, of all groups or those of `chosen`.
    pub fn results(&self, window: i64, groups: &Groups, chosen: Option<&[u32]>) -> Result<RecordBatch> {
        let rows = chosen.map_or(groups.len(), <[u32]>::len);
        let of_groups = groups.result_columns(chosen)?;
        let (lower, upper) = self.panes.grid().map_or((0, 0), |grid| grid.boundaries(window));
        let fields = self.schema.fields().iter();
        let columns = self.columns.iter().zip(fields).map(|(column, field)| match column {
            Column::Group(index) => Ok(of_groups[*index].clone()),
            Column::Lower => narrowed(vec![lower; rows], None, field.data_type()),
            Column::Upper => narrowed(vec![upper; rows], None, field.data_type()),
            Column::Time => narrowed(vec![self.panes.label(window); rows], None, field.data_type()),
        });
        batch(self.schema.clone(), columns.collect::<Result<_>>()?, rows)
    }

    /// The partial rows of a pane.
    pub fn partials(&self, pane: i64, groups: &Groups) -> Result<RecordBatch> {
        let mut columns = groups.partial_columns()?;
        if self.panes.is_timed() {
            columns.insert(self.keys.len(), narrowed(vec![pane; groups.len()], None, &Arrow::Int64)?);
        }
        batch(self.partial_schema.clone(), columns, groups.len())
    }
}

/// The hidden aggregate that knows when a group appeared.
fn appearance(key: &str, dtype: &DataType) -> Result<Aggregate> {
    Ok(Aggregate {
        name: String::new(),
        function: AggregateFunction::First,
        column: Some(key.to_owned()),
        other: None,
        options: AggregateOptions::default(),
        filter: None,
        text: "\u{0}appearance".to_owned(),
        dtype: dtype.clone(),
    })
}

fn batch(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    Ok(RecordBatch::try_new_with_options(
        schema,
        columns,
        &RecordBatchOptions::new().with_row_count(Some(rows)),
    )?)
}

/// Slices of a batch that are small enough to hand on. No copy.
pub fn slices(records: &RecordBatch) -> impl Iterator<Item = RecordBatch> + '_ {
    let rows = records.num_rows();
    (0..rows).step_by(BATCH_ROWS).map(move |start| records.slice(start, BATCH_ROWS.min(rows - start)))
}
