//! Logical order of rows, (event time, input, split, position), read from the hidden columns of a batch.
//!
//! Not here: who adds the columns (the source task positions, `with_watermark` times). Called by the operators that put
//! rows in order or keep the first ones: `sort`, `head`, `earliest`.

use crate::error::{EngineError, Result};
use crate::event::{Batch, INPUT, Order, POSITION, SPLIT, TIME};
use arrow::array::{
    ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array, UInt64Array,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, FieldRef, Int64Type, Schema, UInt32Type, UInt64Type,
};
use std::sync::Arc;

/// Where a row stands. What a batch does not say is 0, so that rows keep the order in which they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub time: i64,
    pub input: u32,
    pub split: u32,
    pub position: u64,
}

/// True for the engine's own columns, which stand behind the user's.
pub fn is_hidden(field: &Field) -> bool {
    field.name().starts_with('\0')
}

/// The user's columns only. No copy.
///
/// # Errors
/// None but bugs.
pub fn without_hidden(records: &RecordBatch) -> Result<RecordBatch> {
    let schema = records.schema();
    let shown: Vec<usize> = schema
        .fields()
        .iter()
        .enumerate()
        .filter(|(_, field)| !is_hidden(field))
        .map(|(index, _)| index)
        .collect();
    Ok(records.project(&shown)?)
}

/// The rows of a batch with input and split as hidden columns, so that rows of several splits can share a batch.
///
/// # Errors
/// None but bugs.
pub fn with_place(batch: Batch) -> Result<RecordBatch> {
    match batch.order {
        Some(order) if batch.records.column_by_name(SPLIT).is_none() => {
            tag(&batch.records, order.input, order.split)
        }
        _ => Ok(batch.records),
    }
}

/// Adds the two columns of [`with_place`].
///
/// # Errors
/// None but bugs.
pub fn tag(records: &RecordBatch, input: u32, split: u32) -> Result<RecordBatch> {
    let rows = records.num_rows();
    let mut fields: Vec<FieldRef> = records.schema().fields().iter().cloned().collect();
    let mut columns = records.columns().to_vec();
    for (name, value) in [(INPUT, input), (SPLIT, split)] {
        fields.push(Arc::new(Field::new(name, DataType::UInt32, false)));
        columns.push(Arc::new(UInt32Array::from_value(value, rows)) as ArrayRef);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}

/// Takes the columns of [`tag`] off again and says what they held, one piece for each run of rows of one split.
///
/// # Errors
/// The columns are missing: a state table of another form.
pub fn untag(records: &RecordBatch) -> Result<Vec<(Order, RecordBatch)>> {
    let missing = || EngineError::internal("a state table", "input and split of its rows are missing");
    let schema = records.schema();
    let kept: Vec<usize> = (0..schema.fields().len())
        .filter(|index| ![INPUT, SPLIT].contains(&schema.field(*index).name().as_str()))
        .collect();
    let rows = records.project(&kept)?;
    let input = values::<UInt32Type>(records, INPUT).ok_or_else(missing)?;
    let split = values::<UInt32Type>(records, SPLIT).ok_or_else(missing)?;
    let places: Vec<(u32, u32)> = input.iter().copied().zip(split.iter().copied()).collect();
    let mut start = 0;
    let runs = places.chunk_by(|one, next| one == next).map(|run| {
        let piece = rows.slice(start, run.len());
        start += run.len();
        let (input, split) = run.first().copied().unwrap_or_default();
        (Order { input, split, sequence: 0 }, piece)
    });
    Ok(runs.collect())
}

/// The same as columns, in the order in which they compare: a row format of them stands in logical order.
pub fn place_columns(records: &RecordBatch) -> Vec<ArrayRef> {
    let rows = records.num_rows();
    let or =
        |name: &str, zero: &dyn Fn() -> ArrayRef| records.column_by_name(name).cloned().unwrap_or_else(zero);
    vec![
        or(TIME, &|| Arc::new(Int64Array::from_value(0, rows))),
        or(INPUT, &|| Arc::new(UInt32Array::from_value(0, rows))),
        or(SPLIT, &|| Arc::new(UInt32Array::from_value(0, rows))),
        or(POSITION, &|| Arc::new(UInt64Array::from_value(0, rows))),
    ]
}

/// The types of [`place_columns`].
pub const PLACE_TYPES: [DataType; 4] =
    [DataType::Int64, DataType::UInt32, DataType::UInt32, DataType::UInt64];

/// Where each row stands.
pub fn places(records: &RecordBatch) -> Vec<Place> {
    let mut places = vec![Place::default(); records.num_rows()];
    if let Some(times) = values::<Int64Type>(records, TIME) {
        places.iter_mut().zip(times).for_each(|(place, time)| place.time = *time);
    }
    if let Some(inputs) = values::<UInt32Type>(records, INPUT) {
        places.iter_mut().zip(inputs).for_each(|(place, input)| place.input = *input);
    }
    if let Some(splits) = values::<UInt32Type>(records, SPLIT) {
        places.iter_mut().zip(splits).for_each(|(place, split)| place.split = *split);
    }
    if let Some(positions) = values::<UInt64Type>(records, POSITION) {
        places.iter_mut().zip(positions).for_each(|(place, position)| place.position = *position);
    }
    places
}

fn values<'a, T: ArrowPrimitiveType>(records: &'a RecordBatch, name: &str) -> Option<&'a [T::Native]> {
    Some(records.column_by_name(name)?.as_primitive_opt::<T>()?.values())
}

#[cfg(test)]
mod tests {
    use super::{places, tag, untag, with_place, without_hidden};
    use crate::testing::placed;
    use arrow::compute::concat_batches;

    #[test]
    fn place_goes_into_columns_and_comes_back() {
        let first = placed(3, 7, [("a", vec![1, 2])]);
        let second = placed(4, 0, [("a", vec![3])]);
        let tagged = [first.clone(), second.clone()].map(|batch| with_place(batch).unwrap());
        let both = concat_batches(&tagged[0].schema(), &tagged).unwrap();
        assert_eq!(places(&both).iter().map(|place| place.split).collect::<Vec<_>>(), [3, 3, 4]);
        assert_eq!(without_hidden(&both).unwrap().num_columns(), 1);
        let pieces = untag(&both).unwrap();
        assert_eq!(pieces.iter().map(|(order, _)| order.split).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(pieces[0].1, first.records);
        assert_eq!(pieces[1].1, second.records);
    }

    #[test]
    fn frame_without_columns_keeps_its_row_count() {
        let empty = placed(0, 0, [("a", vec![1, 2])]).records.project(&[]).unwrap();
        assert_eq!(untag(&tag(&empty, 0, 1).unwrap()).unwrap()[0].1.num_rows(), 2);
    }
}
