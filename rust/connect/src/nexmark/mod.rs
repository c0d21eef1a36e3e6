//! `nexmark`: the three tables of the Nexmark benchmark as a source that makes its rows itself.
//!
//! Events are numbered; of every 50 the first is a person, the next 3 are auctions, the other 46 bids. Each value is a
//! pure function of (seed, event number, column), so every cut, split, projection and restart gives the same rows.
//! Groups of 50 events are dealt to the splits in turn. Distributions follow NEXMark (Tucker, Tufte, Papadimos, Maier)
//! as Apache Beam implements it. Not here: the queries; the Python leaf.
//!
//! | file | holds |
//! |---|---|
//! | `rows.rs` | which events are rows of a split, and what all rows of a group share |
//! | `random.rs`, `text.rs` | numbers and strings of an event |
//! | `person.rs`, `auction.rs`, `bid.rs` | one table, one file |
//! | `reader.rs` | a split as the engine reads it, paced by `rate` |

mod auction;
mod bid;
mod person;
mod random;
mod reader;
mod rows;
mod text;

use self::reader::Reader;
use self::rows::{Layout, Rows};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use dataflare_engine::source::{Offset, Source, Split, SplitReader, Waker};
use dataflare_engine::time::{Clock, SystemClock};
use dataflare_engine::types::arrow_schema;
use dataflare_engine::{EngineError, Result};
use dataflare_plan::{DataType, Field, TimeUnit};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// Makes one column of some rows.
type Column = Box<dyn Fn(&Rows) -> Result<ArrayRef> + Send + Sync>;

/// The three kinds of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    Person,
    Auction,
    Bid,
}

/// What the source is asked for. JSON; `null` and a missing key mean the default.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    #[serde(rename = "kind")]
    table: Table,
    /// How many events there are, of all three kinds; `null`: no end.
    #[serde(default)]
    events: Option<u64>,
    /// Events a second, of all kinds and splits; `null`: as fast as they are taken.
    #[serde(default)]
    rate: Option<f64>,
    #[serde(default)]
    seed: u64,
    #[serde(default = "two")]
    splits: u64,
    /// Event time from one event to the next.
    #[serde(default = "hundred_microseconds")]
    step_ns: u64,
    #[serde(default = "batch_rows")]
    batch_rows: u64,
}

fn two() -> u64 {
    2
}

fn hundred_microseconds() -> u64 {
    100_000
}

/// Columns of 128 KiB: a core makes twice as many rows as with 512 KiB, which the allocator returns to the system.
fn batch_rows() -> u64 {
    16_384
}

impl Options {
    fn read(options: &Value) -> Result<Self> {
        let read: Self = serde_json::from_value(options.clone()).map_err(|error| {
            EngineError::call(
                "nexmark",
                "options kind, events, rate, seed, splits, step_ns, batch_rows",
                error.to_string(),
            )
        })?;
        let refuse =
            |what: &str, found: &dyn ToString| Err(EngineError::call("nexmark", what, found.to_string()));
        match &read {
            Self { splits: 0, .. } => refuse("splits of at least 1", &0),
            Self { batch_rows: 0, .. } => refuse("batch_rows of at least 1", &0),
            Self { rate: Some(rate), .. } if !(rate.is_finite() && *rate > 0.0) => {
                refuse("a rate above 0 events a second, or none", rate)
            }
            _ => Ok(read),
        }
    }
}

/// Column names and types of a table, in order.
pub fn schema(table: Table) -> Vec<Field> {
    let time = DataType::Datetime { unit: TimeUnit::Microseconds, zone: None };
    let (names, integers): (&[&str], &[&str]) = match table {
        Table::Person => (person::COLUMNS, &["id"]),
        Table::Auction => (auction::COLUMNS, &["id", "initial_bid", "reserve", "seller", "category"]),
        Table::Bid => (bid::COLUMNS, &["auction", "bidder", "price"]),
    };
    let dtype = |name: &str| match name {
        "ts" | "expires" => time.clone(),
        name if integers.contains(&name) => DataType::Int64,
        _ => DataType::String,
    };
    names.iter().map(|name| Field { name: (*name).to_string(), dtype: dtype(name) }).collect()
}

/// Turns row numbers of a split into columns. Shared by all workers.
struct Generator {
    schema: SchemaRef,
    columns: Vec<Column>,
    step_ns: u64,
}

impl Generator {
    fn new(options: &Options, fields: &[Field]) -> Result<Self> {
        let known = schema(options.table);
        let columns = fields.iter().map(|field| {
            if !known.contains(field) {
                let names: Vec<String> =
                    known.iter().map(|field| format!("{} {}", field.name, field.dtype)).collect();
                return Err(EngineError::call(
                    format!("nexmark {:?}", options.table).to_lowercase(),
                    format!("columns of {}", names.join(", ")),
                    format!("{} {}", field.name, field.dtype),
                ));
            }
            Ok(match options.table {
                Table::Person => person::column(&field.name, options.seed),
                Table::Auction => auction::column(&field.name, options.seed),
                Table::Bid => bid::column(&field.name, options.seed),
            })
        });
        let columns = columns.collect::<Result<_>>()?;
        Ok(Self { schema: arrow_schema(fields), columns, step_ns: options.step_ns })
    }

    /// `count` rows of a split from row `first` on.
    fn rows(&self, layout: Layout, first: u64, count: usize) -> Result<RecordBatch> {
        let rows = Rows { layout, first, count, step_ns: self.step_ns };
        let columns = self.columns.iter().map(|column| column(&rows)).collect::<Result<Vec<_>>>()?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(count));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

/// The rows of a table outside of a job: of one split, or of all splits one after the other (their logical order).
///
/// # Errors
/// Bad options, a column that the table lacks, a table without end.
pub fn generate(
    options: &Value,
    fields: &[Field],
    split: Option<u64>,
) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
    let options = Options::read(options)?;
    let generator = Generator::new(&options, fields)?;
    let Some(events) = options.events else {
        return Err(EngineError::call(
            "nexmark",
            "a number of events: a table without end does not fit",
            "events=None",
        ));
    };
    if split.is_some_and(|split| split >= options.splits) {
        let found = split.unwrap_or_default().to_string();
        return Err(EngineError::call("nexmark", format!("a split below {}", options.splits), found));
    }
    let splits = split.map_or(0..options.splits, |split| split..split.saturating_add(1));
    let ranges = splits.flat_map(move |split| {
        let layout = Layout::new(options.table, split, options.splits);
        let (all, step) = (layout.rows_before(events), options.batch_rows);
        (0..all.div_ceil(step)).map(move |index| (layout, index * step, step.min(all - index * step)))
    });
    Ok(ranges.map(move |(layout, first, count)| {
        generator.rows(layout, first, usize::try_from(count).unwrap_or(usize::MAX))
    }))
}

/// A Nexmark table as a source.
pub struct Nexmark {
    options: Options,
    generator: Arc<Generator>,
    clock: Arc<dyn Clock>,
}

impl Nexmark {
    /// The source that `options` describe, with `fields` of its columns.
    ///
    /// # Errors
    /// Bad options, a column that the table lacks.
    pub fn new(options: &Value, fields: &[Field]) -> Result<Self> {
        Self::with_clock(options, fields, Arc::new(SystemClock::default()))
    }

    /// The same, paced by another clock than the machine's.
    ///
    /// # Errors
    /// As `new`.
    pub fn with_clock(options: &Value, fields: &[Field], clock: Arc<dyn Clock>) -> Result<Self> {
        let options = Options::read(options)?;
        let generator = Arc::new(Generator::new(&options, fields)?);
        Ok(Self { options, generator, clock })
    }
}

impl std::fmt::Debug for Nexmark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Nexmark({:?})", self.options)
    }
}

impl Source for Nexmark {
    fn splits(&self) -> Result<Vec<Split>> {
        Ok((0..self.options.splits).map(|index| Split { name: index.to_string() }).collect())
    }

    /// The offset is the number of the next event.
    fn open(&self, split: &Split, offset: Option<&Offset>, waker: Waker) -> Result<Box<dyn SplitReader>> {
        let index =
            split.name.parse::<u64>().ok().filter(|index| *index < self.options.splits).ok_or_else(|| {
                EngineError::call(
                    "nexmark",
                    format!("a split below {}", self.options.splits),
                    split.name.clone(),
                )
            })?;
        let event = match offset {
            None => 0,
            Some(offset) => offset.as_u64().ok_or_else(|| {
                EngineError::call("nexmark", "an event number as offset", offset.to_string())
            })?,
        };
        let layout = Layout::new(self.options.table, index, self.options.splits);
        Reader::open(
            &self.options,
            layout,
            event,
            Arc::clone(&self.generator),
            Arc::clone(&self.clock),
            waker,
        )
    }
}

#[cfg(test)]
mod tests;
