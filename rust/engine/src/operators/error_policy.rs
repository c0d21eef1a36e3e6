//! What happens to a row that cannot be read or computed: `on_error="raise" | "skip" | "dead_letter"`.
//!
//! A dead letter is a batch of the input's columns followed by `_error_operator`, `_error_code`, `_error_message`,
//! `_error_split` and `_error_offset`. Not here: which rows fail (`expr`, sources).
//! Called by the source task, `project`, `filter` and `watermark` (rows too far ahead).

use crate::error::{EngineError, Result, RowError, RowErrors};
use crate::event::{Batch, Order, POSITION};
use crate::source::Rejected;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringViewArray, UInt32Array, new_null_array,
};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, UInt64Type};
use std::sync::Arc;

/// The five columns behind the input's own.
pub const ERROR_COLUMNS: [&str; 5] =
    ["_error_operator", "_error_code", "_error_message", "_error_split", "_error_offset"];

/// The user's choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    #[default]
    Raise,
    Skip,
    DeadLetter,
}

/// Names of splits, for people.
#[derive(Clone)]
pub struct SplitNames(Arc<dyn Fn(Order) -> Option<String> + Send + Sync>);

impl SplitNames {
    /// `name`: gives the name of the split that a batch belongs to, if it has one.
    pub fn new(name: impl Fn(Order) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(name))
    }

    fn of(&self, order: Order) -> String {
        (self.0)(order).unwrap_or_else(|| order.split.to_string())
    }
}

impl std::fmt::Debug for SplitNames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SplitNames")
    }
}

/// The choice at one operator.
#[derive(Clone, Debug)]
pub struct ErrorPolicy {
    on_error: OnError,
    operator: String,
    splits: SplitNames,
}

impl ErrorPolicy {
    /// `operator`: how messages call the place.
    pub fn new(on_error: OnError, operator: impl Into<String>) -> Self {
        Self { on_error, operator: operator.into(), splits: SplitNames::new(|_| None) }
    }

    /// Dead letters call splits by these names; without them, by numbers.
    #[must_use]
    pub fn with_splits(self, splits: SplitNames) -> Self {
        Self { splits, ..self }
    }

    /// The user's choice.
    pub fn on_error(&self) -> OnError {
        self.on_error
    }

    /// Applies it to the row errors of a batch: which rows stay (`None`: all), and the dead letter, if any.
    ///
    /// # Errors
    /// [`EngineError::Data`] for the first failing row when the choice is to raise.
    pub fn apply(&self, input: &Batch, errors: &RowErrors) -> Result<(Option<BooleanArray>, Option<Batch>)> {
        let Some(first) = errors.first() else { return Ok((None, None)) };
        if self.on_error == OnError::Raise {
            let place = format!("{} in {}", first.place, self.operator);
            return Err(EngineError::Data { place, row: first.row as u64, reason: first.message.clone() });
        }
        let mut keep = vec![true; input.rows()];
        for error in errors {
            if let Some(row) = keep.get_mut(error.row) {
                *row = false;
            }
        }
        let keep = BooleanArray::from(keep);
        let letter = match self.on_error {
            OnError::DeadLetter => Some(self.letter(input, errors)?),
            _ => None,
        };
        Ok((Some(keep), letter))
    }

    /// A dead letter for a row that never became columns.
    ///
    /// # Errors
    /// None but bugs.
    pub fn dead_letter_of_source(
        &self,
        rejected: &Rejected,
        order: Order,
        schema: &SchemaRef,
    ) -> Result<Batch> {
        let empty = schema.fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
        let details = [
            &self.operator,
            rejected.code,
            rejected.message.as_str(),
            &self.splits.of(order),
            &rejected.offset,
        ];
        let details = details.map(|text| Arc::new(StringViewArray::from(vec![text])) as ArrayRef);
        assemble(schema.fields().iter().cloned().collect(), empty, details)
    }

    /// One row for each failing input row: its first error counts.
    fn letter(&self, input: &Batch, errors: &RowErrors) -> Result<Batch> {
        let mut firsts: Vec<&RowError> = errors.iter().collect();
        firsts.sort_by_key(|error| error.row); // stable: the first error of a row stays first
        firsts.dedup_by_key(|error| error.row);
        let rows: UInt32Array = firsts.iter().map(|error| u32::try_from(error.row).ok()).collect();
        let taken = take_record_batch(&input.records, &rows)?;
        let position =
            taken.column_by_name(POSITION).map(|column| column.as_primitive::<UInt64Type>().clone());
        let split = input.order.map(|order| self.splits.of(order));
        let offsets: StringViewArray = (0..firsts.len())
            .map(|row| {
                position
                    .as_ref()
                    .filter(|column| row < column.len())
                    .map(|column| column.value(row).to_string())
            })
            .collect();
        let texts = |text: &dyn Fn(&RowError) -> Option<String>| -> ArrayRef {
            Arc::new(firsts.iter().map(|error| text(error)).collect::<StringViewArray>())
        };
        let details = [
            texts(&|_| Some(self.operator.clone())),
            texts(&|error| Some(error.code.to_owned())),
            texts(&|error| Some(format!("{}: {}", error.place, error.message))),
            texts(&|_| split.clone()),
            Arc::new(offsets) as ArrayRef,
        ];
        let (fields, columns) = visible(&taken);
        assemble(fields, columns, details)
    }
}

/// Removes the rows where `keep` is false.
///
/// # Errors
/// None but bugs.
pub fn keep_rows(batch: Batch, keep: &BooleanArray) -> Result<Batch> {
    let records = filter_record_batch(&batch.records, keep)?;
    let changes = match &batch.changes {
        Some(changes) => Some(arrow::compute::filter(changes, keep)?.as_primitive().clone()),
        None => None,
    };
    Ok(Batch { records, order: batch.order, changes })
}

fn visible(records: &RecordBatch) -> (Vec<FieldRef>, Vec<ArrayRef>) {
    let schema = records.schema();
    let shown =
        schema.fields().iter().zip(records.columns()).filter(|(field, _)| !field.name().starts_with('\0'));
    shown.map(|(field, column)| (Arc::clone(field), Arc::clone(column))).unzip()
}

fn assemble(mut fields: Vec<FieldRef>, mut columns: Vec<ArrayRef>, details: [ArrayRef; 5]) -> Result<Batch> {
    fields.extend(ERROR_COLUMNS.map(|name| Arc::new(Field::new(name, DataType::Utf8View, true))));
    columns.extend(details);
    Ok(Batch::new(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?))
}

#[cfg(test)]
mod tests {
    use super::{ErrorPolicy, OnError};
    use crate::error::RowError;
    use crate::event::Batch;
    use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
    use std::sync::Arc;

    fn batch() -> Batch {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        Batch::new(RecordBatch::try_from_iter([("a", column)]).unwrap())
    }

    fn error() -> RowError {
        RowError {
            row: 1,
            code: "cast",
            place: "col(a)".into(),
            message: "expected a number, got 'x'".into(),
        }
    }

    #[test]
    fn raise_names_operator_expression_and_row() {
        let policy = ErrorPolicy::new(OnError::Raise, "select");
        let message = policy.apply(&batch(), &vec![error()]).unwrap_err().to_string();
        assert_eq!(message, "col(a) in select, row 1: expected a number, got 'x'");
    }

    #[test]
    fn dead_letter_keeps_the_input_row_and_says_why() {
        let policy = ErrorPolicy::new(OnError::DeadLetter, "select");
        let (keep, letter) = policy.apply(&batch(), &vec![error()]).unwrap();
        assert_eq!(keep.unwrap().true_count(), 2);
        let letter = letter.unwrap().records;
        assert_eq!(letter.column(0).as_primitive::<arrow::datatypes::Int64Type>().value(0), 2);
        assert_eq!(letter.column_by_name("_error_code").unwrap().as_string_view().value(0), "cast");
    }
}
