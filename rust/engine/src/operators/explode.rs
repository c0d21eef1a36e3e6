//! `explode`: one row for each item of the lists or arrays of a row; several columns are exploded side by side.
//!
//! In: append batches. Out: one batch for each, the rows of an input row in the order of its items. Hidden columns are
//! repeated, but for the position, to which the place among the items is appended, so that order does not depend on cuts.
//! Not here: which columns may be exploded, which the planner knows.
//! Forwards: the watermark as it is. State: none.
//! Cost: one pass over the offsets, one copy of every column.

use super::{Flow, Input, Operator, Output};
use crate::error::{EngineError, Result};
use crate::event::{Batch, POSITION};
use crate::types::column_index;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array, UInt64Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use std::sync::Arc;

/// Bits of a position that hold the place of an item in its row.
const ITEM_BITS: u32 = 20;

/// See the module.
#[derive(Debug)]
pub struct Explode {
    columns: Vec<String>,
    /// A row with an empty list, or a null, gives a row with null; else none.
    empty_as_null: bool,
    keep_nulls: bool,
    output: SchemaRef,
}

impl Explode {
    /// `output`: the columns of the node.
    pub fn new(columns: Vec<String>, empty_as_null: bool, keep_nulls: bool, output: SchemaRef) -> Self {
        Self { columns, empty_as_null, keep_nulls, output }
    }

    fn lists(&self, records: &RecordBatch) -> Result<Vec<(usize, Lists)>> {
        let columns = self.columns.iter().map(|name| {
            let index = column_index(records.schema_ref(), name)?;
            Ok((index, Lists::of(name, records.column(index))?))
        });
        columns.collect()
    }

    /// How many rows each row becomes.
    fn lengths(&self, lists: &[(usize, Lists)], rows: usize) -> Result<Vec<usize>> {
        let length = |list: &Lists, row: usize| match list.item_range(row) {
            None => usize::from(self.keep_nulls),
            Some((start, end)) if start == end => usize::from(self.empty_as_null),
            Some((start, end)) => end - start,
        };
        let mut lengths = Vec::with_capacity(rows);
        for row in 0..rows {
            let first = lists.first().map_or(1, |(_, list)| length(list, row));
            for ((_, list), name) in lists.iter().zip(&self.columns) {
                let found = length(list, row);
                if found != first {
                    let reason = format!(
                        "'{name}' has {found} items where '{}' has {first}; columns that are exploded together need as many",
                        self.columns[0]
                    );
                    return Err(EngineError::Data { place: self.place(), row: row as u64, reason });
                }
            }
            lengths.push(first);
        }
        Ok(lengths)
    }

    fn place(&self) -> String {
        format!("explode({})", self.columns.join(", "))
    }

    /// Positions that grow with the row and, within a row, with the item.
    fn positions(&self, column: &ArrayRef, lengths: &[usize]) -> Result<ArrayRef> {
        let held = column.as_primitive::<UInt64Type>().values();
        let mut positions = Vec::with_capacity(lengths.iter().sum());
        for (position, length) in held.iter().zip(lengths) {
            if *length > 1 << ITEM_BITS || *position >> (u64::BITS - ITEM_BITS) != 0 {
                return Err(EngineError::call(
                    self.place(),
                    "lists of at most 1 048 576 items where order matters above, exploded once",
                    format!("{length} items in the row at {position}"),
                ));
            }
            positions.extend((0..*length as u64).map(|item| position << ITEM_BITS | item));
        }
        Ok(Arc::new(UInt64Array::from(positions)))
    }
}

/// A list or array column.
enum Lists {
    Large { offsets: Vec<usize>, column: ArrayRef },
    Fixed { width: usize, column: ArrayRef },
}

impl Lists {
    fn of(name: &str, column: &ArrayRef) -> Result<Self> {
        match column.data_type() {
            DataType::LargeList(_) => {
                let offsets = column.as_list::<i64>().value_offsets();
                let offsets = offsets.iter().map(|offset| *offset as usize).collect();
                Ok(Self::Large { offsets, column: column.clone() })
            }
            DataType::FixedSizeList(_, width) => {
                Ok(Self::Fixed { width: *width as usize, column: column.clone() })
            }
            other => Err(EngineError::internal(
                "explode",
                format!("'{name}' is neither a list nor an array but {other}"),
            )),
        }
    }

    fn column(&self) -> &ArrayRef {
        match self {
            Self::Large { column, .. } | Self::Fixed { column, .. } => column,
        }
    }

    /// Where the items of a row lie; `None`: the row is null.
    fn item_range(&self, row: usize) -> Option<(usize, usize)> {
        if self.column().is_null(row) {
            return None;
        }
        Some(match self {
            Self::Large { offsets, .. } => (offsets[row], offsets[row + 1]),
            Self::Fixed { width, .. } => (row * width, (row + 1) * width),
        })
    }

    fn items(&self) -> ArrayRef {
        match self {
            Self::Large { column, .. } => column.as_list::<i64>().values().clone(),
            Self::Fixed { column, .. } => column.as_fixed_size_list().values().clone(),
        }
    }

    fn exploded(&self, lengths: &[usize], dtype: &DataType) -> Result<ArrayRef> {
        let mut items: Vec<Option<u64>> = Vec::with_capacity(lengths.iter().sum());
        for (row, length) in lengths.iter().enumerate() {
            match self.item_range(row) {
                Some((start, end)) if start < end => {
                    items.extend((start as u64..end as u64).map(Some));
                }
                _ => items.extend(std::iter::repeat_n(None, *length)),
            }
        }
        let taken = take(&self.items(), &UInt64Array::from(items), None)?;
        Ok(if taken.data_type() == dtype { taken } else { cast(&taken, dtype)? })
    }
}

impl Operator for Explode {
    fn on_batch(&mut self, _input: Input, batch: Batch, out: &mut Output) -> Result<Flow> {
        let records = &batch.records;
        let lists = self.lists(records)?;
        let lengths = self.lengths(&lists, batch.rows())?;
        let total: usize = lengths.iter().sum();
        let rows = lengths.iter().enumerate();
        let rows: UInt32Array =
            rows.flat_map(|(row, length)| std::iter::repeat_n(row as u32, *length)).map(Some).collect();
        let schema = records.schema();
        let mut fields: Vec<Arc<Field>> = Vec::with_capacity(records.num_columns());
        let mut columns = Vec::with_capacity(records.num_columns());
        for (index, (field, column)) in schema.fields().iter().zip(records.columns()).enumerate() {
            let declared = self.output.field_with_name(field.name()).ok();
            columns.push(match (lists.iter().find(|(place, _)| *place == index), declared) {
                (Some((_, list)), Some(declared)) => {
                    fields.push(Arc::new(declared.clone()));
                    list.exploded(&lengths, declared.data_type())?
                }
                _ => {
                    fields.push(field.clone());
                    if field.name() == POSITION {
                        self.positions(column, &lengths)?
                    } else {
                        take(column, &rows, None)?
                    }
                }
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(total));
        let exploded = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?;
        out.push(batch.with_records(exploded));
        Ok(Flow::Ready)
    }
}

#[cfg(test)]
mod tests {
    use super::Explode;
    use crate::error::EngineError;
    use crate::event::{Batch, POSITION};
    use crate::operators::{Operator, Output};
    use crate::testing::Harness;
    use arrow::array::{ArrayRef, Int64Array, LargeListArray, RecordBatch, UInt64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use std::sync::Arc;

    type Items = Option<Vec<Option<i64>>>;

    fn lists(rows: Vec<Items>) -> ArrayRef {
        Arc::new(LargeListArray::from_iter_primitive::<Int64Type, _, _>(rows))
    }

    fn batch(columns: Vec<(&str, ArrayRef)>) -> Batch {
        Batch::new(RecordBatch::try_from_iter(columns).unwrap())
    }

    fn explode(columns: &[&str], empty_as_null: bool, keep_nulls: bool) -> Explode {
        let fields = ["a", "l", "m"].map(|name| Field::new(name, DataType::Int64, true));
        let columns = columns.iter().map(ToString::to_string).collect();
        Explode::new(columns, empty_as_null, keep_nulls, Arc::new(Schema::new(fields.to_vec())))
    }

    fn rows() -> Vec<(&'static str, ArrayRef)> {
        let items = vec![Some(vec![Some(1), None]), Some(vec![]), None, Some(vec![Some(3)])];
        let position = Arc::new(UInt64Array::from(vec![7, 8, 9, 10]));
        vec![("a", Arc::new(Int64Array::from(vec![1, 2, 3, 4]))), ("l", lists(items)), (POSITION, position)]
    }

    #[test]
    fn empty_and_null_lists_give_a_row_only_if_asked_for() {
        for (empty_as_null, keep_nulls, expected) in [
            (false, true, vec![1, 1, 3, 4]),
            (true, true, vec![1, 1, 2, 3, 4]),
            (false, false, vec![1, 1, 4]),
        ] {
            let mut operator = Harness::new(explode(&["l"], empty_as_null, keep_nulls));
            operator.push(batch(rows()));
            let found: Vec<i64> = operator.take("a").into_iter().flatten().collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn items_stand_in_order_behind_each_other() {
        let mut operator = Harness::new(explode(&["l"], false, true));
        operator.push(batch(rows()));
        operator.push(batch(rows()));
        let batches = operator.take_from(0);
        let values = |column: &str| {
            let mut shown =
                Harness::new(crate::operators::union::Union::new(vec![0], batches[0].records.schema()));
            shown.push(batches[0].clone());
            shown.take(column)
        };
        assert_eq!(values("l"), [Some(1), None, None, Some(3)]);
        assert!(values(POSITION).is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn columns_of_unequal_lengths_are_an_error_of_the_row() {
        let columns = vec![
            ("l", lists(vec![Some(vec![Some(1)]), Some(vec![Some(1)])])),
            ("m", lists(vec![Some(vec![Some(1)]), Some(vec![Some(1), Some(2)])])),
        ];
        let error = explode(&["l", "m"], false, true).on_batch(0, batch(columns), &mut Output::default());
        assert!(matches!(error, Err(EngineError::Data { row: 1, .. })));
    }
}
