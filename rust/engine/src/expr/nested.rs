//! Structs and lists: fields, `struct`, `list.len`, `get`, `contains`, `sum`, `min`, `max`, `join`, `slice`, and `concat_list`
//! and `arr.get`.
//!
//! Not here: what runs over the values of a list in an order of Polars' own (sums of floats, `sort`, sets): Polars does
//! those. Called by the compiler.

use super::compile::Compile;
use super::conditional::holds_dictionary;
use super::membership::single_value;
use super::numeric::one;
use super::text_builder::TextBuilder;
use super::value::{
    Call, Kernel, Rows, Value, physical_type, primitive, strings, to_logical, to_physical, with_integer,
};
use crate::error::{EngineError, Result};
use crate::types::arrow_type;
use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, BooleanArray, FixedSizeListArray,
    LargeListArray, PrimitiveArray, StructArray, UInt32Array, UInt64Array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow::compute::{interleave, take};
use arrow::datatypes::{DataType as Arrow, Int64Type};
use dataflare_plan::DataType;
use serde_json::Value as Json;
use std::sync::Arc;

pub(super) const FUNCTIONS: &[(&str, Compile)] = &[
    ("struct", make_struct),
    ("struct.field", field),
    ("struct.rename_fields", renamed),
    ("name.prefix_fields", renamed),
    ("name.suffix_fields", renamed),
    ("concat_list", concat_list),
    ("list.len", len),
    ("list.get", get),
    ("list.contains", contains),
    ("list.sum", |call| folded(call, Fold::Sum)),
    ("list.min", |call| folded(call, Fold::Min)),
    ("list.max", |call| folded(call, Fold::Max)),
    ("list.join", join),
    ("list.slice", slice),
    ("arr.get", get),
];

fn make_struct(call: &Call<'_>) -> Result<Kernel> {
    let DataType::Struct(types) = call.dtype else { return Err(call.no_kernel()) };
    let same = types.iter().map(|field| &field.dtype).eq(call.args.iter().map(|arg| &arg.dtype));
    let Arrow::Struct(fields) = arrow_type(call.dtype) else { return Err(call.no_kernel()) };
    if !same || fields.is_empty() {
        return Err(call.no_kernel());
    }
    Ok(Box::new(move |args, rows| {
        let columns =
            args.iter().map(|arg| arg.clone().into_column(rows.count)).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, None, rows.count)?))
    }))
}

/// A field, null where the struct is.
fn field(call: &Call<'_>) -> Result<Kernel> {
    let [input] = call.args()?;
    let DataType::Struct(fields) = &input.dtype else { return Err(call.no_kernel()) };
    let index = fields.iter().position(|field| Some(field.name.as_str()) == call.text("name"));
    let index = index.filter(|_| *call.dtype != DataType::Null).ok_or_else(|| call.no_kernel())?;
    Ok(one(move |array| {
        let structs = structs(array)?;
        let column = structs.columns().get(index).ok_or_else(|| wrong(array, "a struct of that field"))?;
        let Some(nulls) = structs.nulls() else { return Ok(column.clone()) };
        let nulls = NullBuffer::union(Some(nulls), column.nulls());
        Ok(arrow::array::make_array(column.to_data().into_builder().nulls(nulls).build()?))
    }))
}

fn renamed(call: &Call<'_>) -> Result<Kernel> {
    let input = call.args.first().ok_or_else(|| call.no_kernel())?;
    let (DataType::Struct(from), DataType::Struct(to)) = (&input.dtype, call.dtype) else {
        return Err(call.no_kernel());
    };
    let Arrow::Struct(fields) = arrow_type(call.dtype) else { return Err(call.no_kernel()) };
    if !from.iter().map(|field| &field.dtype).eq(to.iter().map(|field| &field.dtype)) || fields.is_empty() {
        return Err(call.no_kernel());
    }
    Ok(one(move |array| {
        let structs = structs(array)?;
        let columns = structs.columns().to_vec();
        let nulls = structs.nulls().cloned();
        Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, structs.len())?))
    }))
}

/// One list a row, of one value of each column.
fn concat_list(call: &Call<'_>) -> Result<Kernel> {
    let DataType::List(inner) = call.dtype else { return Err(call.no_kernel()) };
    let same = call.args.iter().all(|arg| arg.dtype == **inner);
    let Arrow::LargeList(field) = arrow_type(call.dtype) else { return Err(call.no_kernel()) };
    if !same || call.args.is_empty() || holds_dictionary(inner) {
        return Err(call.no_kernel());
    }
    Ok(Box::new(move |args, rows| {
        let columns =
            args.iter().map(|arg| arg.clone().into_column(rows.count)).collect::<Result<Vec<_>>>()?;
        let width = columns.len();
        let indices: Vec<(usize, usize)> =
            (0..rows.count).flat_map(|row| (0..width).map(move |column| (column, row))).collect();
        let values = interleave(&columns.iter().map(|c| c.as_ref()).collect::<Vec<&dyn Array>>(), &indices)?;
        let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(width, rows.count));
        Ok(Arc::new(LargeListArray::try_new(field.clone(), offsets, values, None)?))
    }))
}

fn wrong(array: &ArrayRef, expected: &str) -> EngineError {
    EngineError::internal("a kernel", format!("expected {expected}, got {}", array.data_type()))
}

fn structs(array: &ArrayRef) -> Result<&StructArray> {
    array.as_struct_opt().ok_or_else(|| wrong(array, "a struct"))
}

fn lists(array: &ArrayRef) -> Result<&LargeListArray> {
    array.as_list_opt::<i64>().ok_or_else(|| wrong(array, "a list"))
}

/// The values of each list, as a range of the values of all.
fn ranges(lists: &LargeListArray) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
    // Offsets are not negative and ascend.
    lists.value_offsets().windows(2).map(|ends| match ends {
        [start, end] => *start as usize..*end as usize,
        _ => 0..0,
    })
}

/// The type of the values of a list argument.
fn inner<'a>(call: &Call<'a>) -> Result<&'a DataType> {
    match call.args.first().map(|arg| &arg.dtype) {
        Some(DataType::List(inner)) => Ok(inner),
        _ => Err(call.no_kernel()),
    }
}

fn len(call: &Call<'_>) -> Result<Kernel> {
    inner(call)?;
    Ok(one(|array| {
        let lists = lists(array)?;
        let lengths: Vec<u32> = ranges(lists).map(|range| range.len() as u32).collect();
        Ok(Arc::new(UInt32Array::new(lengths.into(), lists.nulls().cloned())))
    }))
}

/// The value at a position, from the end for a negative one.
fn get(call: &Call<'_>) -> Result<Kernel> {
    let [input, position] = call.args()?;
    let is_list = match &input.dtype {
        DataType::List(inner) if **inner == *call.dtype => true,
        DataType::Array { inner, .. } if **inner == *call.dtype => false,
        _ => return Err(call.no_kernel()),
    };
    if !position.dtype.is_integer() || position.dtype == DataType::UInt64 {
        return Err(call.no_kernel());
    }
    let to_wide = super::cast::compile(position, &DataType::Int64, false, false, call.place)?;
    let null_on_oob = call.flag("null_on_oob");
    Ok(Box::new(move |args: &[Value], rows: &mut Rows<'_, '_>| {
        let [input, position] = args else {
            return Err(EngineError::internal("list.get", "expected two arguments"));
        };
        let array = input.clone().into_column(rows.count)?;
        let positions = to_wide(std::slice::from_ref(position), rows)?;
        let positions = match position {
            Value::Column(_) => positions,
            Value::Constant(_) => Value::Constant(positions).into_column(rows.count)?,
        };
        let positions = primitive::<Int64Type>(&positions)?;
        let (values, bounds): (ArrayRef, Vec<std::ops::Range<usize>>) = if is_list {
            let lists = lists(&array)?;
            (lists.values().clone(), ranges(lists).collect())
        } else {
            let arrays: &FixedSizeListArray =
                array.as_fixed_size_list_opt().ok_or_else(|| wrong(&array, "an array"))?;
            let width = usize::try_from(arrays.value_length()).unwrap_or(0);
            (arrays.values().clone(), (0..arrays.len()).map(|row| row * width..(row + 1) * width).collect())
        };
        let mut indices = Vec::with_capacity(rows.count);
        for (row, (range, position)) in bounds.into_iter().zip(positions.iter()).enumerate() {
            let (true, Some(position)) = (array.is_valid(row), position) else {
                indices.push(None);
                continue;
            };
            let length = range.len() as i64;
            let from_start = if position < 0 { position.saturating_add(length) } else { position };
            let inside = (0..length).contains(&from_start);
            if !inside && !null_on_oob {
                rows.fail(row, "list.get", format!("get index is out of bounds: {position} of {length}"));
            }
            indices.push(inside.then(|| (range.start as i64 + from_start) as u64));
        }
        Ok(take(&values, &UInt64Array::from(indices), None)?)
    }))
}

/// True if a constant is among the values.
fn contains(call: &Call<'_>) -> Result<Kernel> {
    let inner = inner(call)?;
    let [_, item] = call.args()?;
    let constant = item.constant.as_ref().ok_or_else(|| call.no_kernel())?;
    if item.dtype != *inner || constant.null_count() > 0 {
        return Err(call.no_kernel());
    }
    let equals = single_value(inner, constant)?.ok_or_else(|| call.no_kernel())?;
    Ok(Box::new(move |args, _| {
        let Some(input) = args.first() else {
            return Err(EngineError::internal("list.contains", "expected an argument"));
        };
        let lists = lists(input.array())?;
        let values = to_physical(lists.values())?;
        let mut found = equals(&values)?;
        if let Some(nulls) = values.nulls() {
            found = &found & nulls.inner();
        }
        let ranges: Vec<_> = ranges(lists).collect();
        let answers = BooleanBuffer::collect_bool(lists.len(), |row| {
            ranges.get(row).is_some_and(|range| range.clone().any(|value| found.value(value)))
        });
        Ok(Arc::new(BooleanArray::new(answers, lists.nulls().cloned())))
    }))
}

#[derive(Clone, Copy)]
enum Fold {
    Sum,
    Min,
    Max,
}

/// Of integers and times; sums of 32 and 64 bits only, as Polars widens the others.
fn folded(call: &Call<'_>, fold: Fold) -> Result<Kernel> {
    let inner = inner(call)?;
    let times = physical_type(inner) != *inner;
    let wide = matches!(inner, DataType::Int32 | DataType::Int64 | DataType::UInt32 | DataType::UInt64);
    if inner != call.dtype || (matches!(fold, Fold::Sum) && (times || !wide)) {
        return Err(call.no_kernel());
    }
    let dtype = call.dtype.clone();
    Ok(with_integer!(&physical_type(inner), T => one(move |array| {
        to_logical(&(Arc::new(fold_lists::<T>(lists(array)?, fold)?) as ArrayRef), &dtype)
    }), return Err(call.no_kernel())))
}

fn fold_lists<T: ArrowPrimitiveType>(lists: &LargeListArray, fold: Fold) -> Result<PrimitiveArray<T>> {
    let values = to_physical(lists.values())?;
    let values = primitive::<T>(&values)?;
    let answers = ranges(lists).enumerate().map(|(row, range)| {
        if lists.is_null(row) {
            return None;
        }
        let present = range.filter(|value| values.is_valid(*value)).map(|value| values.value(value));
        match fold {
            Fold::Sum => Some(present.fold(T::Native::ZERO, |sum, value| sum.add_wrapping(value))),
            Fold::Min => present.reduce(|best, value| if value.is_lt(best) { value } else { best }),
            Fold::Max => present.reduce(|best, value| if value.is_gt(best) { value } else { best }),
        }
    });
    Ok(answers.collect())
}

/// Texts with a constant between them; one null makes all null, unless nulls are passed over.
fn join(call: &Call<'_>) -> Result<Kernel> {
    if *inner(call)? != DataType::String {
        return Err(call.no_kernel());
    }
    let separator = call.args.get(1).and_then(|arg| arg.constant.as_ref()).ok_or_else(|| call.no_kernel())?;
    if *separator.data_type() != Arrow::Utf8View {
        return Err(call.no_kernel());
    }
    let separator = strings(separator)?.iter().next().flatten().ok_or_else(|| call.no_kernel())?.to_owned();
    let ignore_nulls = call.flag("ignore_nulls");
    Ok(Box::new(move |args, _| {
        let Some(input) = args.first() else {
            return Err(EngineError::internal("list.join", "expected an argument"));
        };
        let lists = lists(input.array())?;
        let texts = strings(lists.values())?;
        let mut answers = TextBuilder::with_capacity(lists.len());
        let mut valid = Vec::with_capacity(lists.len());
        for (row, range) in ranges(lists).enumerate() {
            let answers_row =
                lists.is_valid(row) && (ignore_nulls || range.clone().all(|value| texts.is_valid(value)));
            valid.push(answers_row);
            answers.append(|into| {
                let mut first = true;
                for value in range.filter(|value| answers_row && texts.is_valid(*value)) {
                    if !first {
                        into.push_str(&separator);
                    }
                    first = false;
                    into.push_str(texts.value(value));
                }
            });
        }
        answers.finish(Some(NullBuffer::from(valid)).filter(|nulls| nulls.null_count() > 0))
    }))
}

/// A constant part of each list: from `offset` (from the end for a negative one), `length` values or all.
fn slice(call: &Call<'_>) -> Result<Kernel> {
    let inner = inner(call)?;
    let offset = call.integer(1)?.ok_or_else(|| call.no_kernel())?;
    let length = call.integer(2)?.unwrap_or(i64::MAX);
    let Arrow::LargeList(field) = arrow_type(call.dtype) else { return Err(call.no_kernel()) };
    if length < 0
        || holds_dictionary(inner)
        || call.options.get("as_array").and_then(Json::as_bool) == Some(true)
    {
        return Err(call.no_kernel());
    }
    Ok(Box::new(move |args, _| {
        let Some(input) = args.first() else {
            return Err(EngineError::internal("list.slice", "expected an argument"));
        };
        let lists = lists(input.array())?;
        let (mut indices, mut lengths) = (Vec::new(), Vec::with_capacity(lists.len()));
        for (row, range) in ranges(lists).enumerate() {
            let count = range.len() as i64;
            let start = if offset < 0 { offset.saturating_add(count) } else { offset };
            let end = start.saturating_add(length).clamp(0, count);
            let start = start.clamp(0, end);
            let before = indices.len();
            if lists.is_valid(row) {
                // Both lie between 0 and the length of the list.
                let first = range.start as u64;
                indices.extend((first + start as u64)..(first + end as u64));
            }
            lengths.push(indices.len() - before);
        }
        let values = take(lists.values(), &UInt64Array::from(indices), None)?;
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(LargeListArray::try_new(field.clone(), offsets, values, lists.nulls().cloned())?))
    }))
}

#[cfg(test)]
mod tests {
    use crate::expr::testing::{Frame, call, call_with, col, frame, lit};
    use arrow::array::{Int64Array, LargeListArray};
    use arrow::datatypes::Int64Type;
    use dataflare_plan::DataType;
    use dataflare_plan::DataType::{Boolean, Int32, Int64, List, UInt32};
    use serde_json::json;
    use std::sync::Arc;

    fn rows() -> Frame {
        let lists = LargeListArray::from_iter_primitive::<Int64Type, _, _>(vec![
            Some(vec![Some(1), Some(2)]),
            Some(vec![]),
            None,
            Some(vec![None, Some(3)]),
        ]);
        let positions = Int64Array::from(vec![Some(1), Some(0), Some(0), None]);
        frame([("l", of_integers(), Arc::new(lists)), ("n", Int64, Arc::new(positions))])
    }

    fn of_integers() -> DataType {
        List(Box::new(Int64))
    }

    #[test]
    fn value_beyond_the_list_is_null_or_fails_its_row() {
        let get = |null_on_oob: bool| {
            call_with("list.get", [col("l"), col("n")], json!({"null_on_oob": null_on_oob}), Int64)
        };
        assert_eq!(rows().answer(get(true)), "2 - - -");
        let (_, errors) = rows().run(get(false)).unwrap();
        assert_eq!(errors.iter().map(|error| error.row).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn empty_list_has_a_sum_and_no_smallest_value() {
        assert_eq!(rows().answer(call("list.sum", [col("l")], Int64)), "3 0 - 3");
        assert_eq!(rows().answer(call("list.min", [col("l")], Int64)), "1 - - 3");
        assert_eq!(rows().answer(call("list.len", [col("l")], UInt32)), "2 0 - 2");
        let contains =
            call_with("list.contains", [col("l"), lit(3, Int64)], json!({"nulls_equal": true}), Boolean);
        assert_eq!(rows().answer(contains), "false false - true");
        let tail = call("list.slice", [col("l"), lit(-1, Int32), lit(5, Int32)], of_integers());
        assert_eq!(rows().answer(tail), "[2] [] - [3]");
    }
}
