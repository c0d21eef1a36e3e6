//! `replace` and `replace_strict` with constant mappings.
//!
//! Keys are found in a hash table that is made once; NaN is NaN, -0.0 is 0.0, null may be a key.
//! Not here: mappings from columns, of categories or decimals. Called by the compiler.

use super::cast;
use super::compile::Compile;
use super::value::{
    Call, Kernel, Operand, Rows, Value, physical_type, primitive, strings, to_physical, with_integer,
};
use crate::error::{EngineError, Result, RowErrors};
use crate::types::arrow_type;
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray};
use arrow::compute::interleave;
use arrow::datatypes::{Float32Type, Float64Type};
use dataflare_plan::DataType;
use hashbrown::HashMap;
use std::hash::Hash;

pub(super) const FUNCTIONS: &[(&str, Compile)] = &[("replace", replace), ("replace_strict", replace_strict)];

/// Numbers the key of each row; `None` for a value that is no key. What it says of nulls means nothing.
type Find = Box<dyn Fn(&ArrayRef) -> Result<Vec<Option<u32>>> + Send + Sync>;

struct Mapping {
    find: Find,
    /// The number of the key null.
    null: Option<u32>,
    new: ArrayRef,
}

impl Mapping {
    /// Reads the two lists of a call.
    fn of(call: &Call<'_>, new_dtype: &DataType) -> Result<Self> {
        let Some(input) = call.args.first() else { return Err(call.no_kernel()) };
        let (old, new) = (list(call, 1, &input.dtype)?, list(call, 2, new_dtype)?);
        if arrow_type(new_dtype).is_nested() || (new.len() != old.len() && new.len() != 1) {
            return Err(call.no_kernel());
        }
        let null = (0..old.len()).find(|key| old.is_null(*key)).and_then(|key| u32::try_from(key).ok());
        let nulls = (0..old.len()).filter(|key| old.is_null(*key)).count();
        let find = find(&input.dtype, &old)?.filter(|_| nulls <= 1).ok_or_else(|| call.no_kernel())?;
        Ok(Self { find, null, new })
    }

    /// Where the answer of each row stands in `[new, input]`; `None` where no key is.
    fn places(&self, input: &ArrayRef) -> Result<Vec<Option<usize>>> {
        let physical = to_physical(input)?;
        let broadcast = self.new.len() == 1;
        let found = (self.find)(&physical)?;
        let key = |row: usize, found: Option<u32>| if input.is_valid(row) { found } else { self.null };
        Ok(found
            .into_iter()
            .enumerate()
            .map(|(row, found)| key(row, found).map(|key| if broadcast { 0 } else { key as usize }))
            .collect())
    }
}

/// The items of the constant list at an argument, as `dtype`; integers that fit become those of another width.
fn list(call: &Call<'_>, index: usize, dtype: &DataType) -> Result<ArrayRef> {
    let arg = call.args.get(index).ok_or_else(|| call.no_kernel())?;
    let list = arg.constant.as_ref().and_then(|list| list.as_list_opt::<i64>());
    let items = list.filter(|list| list.is_valid(0)).map(|list| list.value(0));
    let (Some(items), DataType::List(inner)) = (items, &arg.dtype) else { return Err(call.no_kernel()) };
    if **inner == *dtype {
        return Ok(items);
    }
    let from = Operand { dtype: (**inner).clone(), constant: None };
    let narrow = cast::compile(&from, dtype, false, false, call.place)?;
    let mut errors = RowErrors::new();
    let fitted =
        narrow(&[Value::Column(items.clone())], &mut Rows::new(items.len(), call.place, &mut errors))?;
    let fits = inner.is_integer() && dtype.is_integer() && fitted.null_count() == items.null_count();
    if fits { Ok(fitted) } else { Err(call.no_kernel()) }
}

fn find(dtype: &DataType, old: &ArrayRef) -> Result<Option<Find>> {
    let old = to_physical(old)?;
    Ok(match &physical_type(dtype) {
        DataType::String => {
            let keys = strings(&old)?.iter().enumerate();
            let keys =
                keys.filter_map(|(key, text)| Some((Box::<str>::from(text?), u32::try_from(key).ok()?)));
            let keys: Vec<(Box<str>, u32)> = keys.collect();
            let count = keys.len();
            let table: HashMap<Box<str>, u32, foldhash::fast::FixedState> = keys.into_iter().collect();
            if table.len() < count {
                return Ok(None);
            }
            Some(Box::new(move |array| {
                let texts = strings(array)?;
                Ok(texts.iter().map(|text| text.and_then(|text| table.get(text).copied())).collect())
            }))
        }
        DataType::Float32 => {
            numbers::<Float32Type, u32>(&old, |x| if x.is_nan() { u32::MAX } else { (x + 0.0).to_bits() })?
        }
        DataType::Float64 => {
            numbers::<Float64Type, u64>(&old, |x| if x.is_nan() { u64::MAX } else { (x + 0.0).to_bits() })?
        }
        other => {
            with_integer!(other, T => numbers::<T, <T as ArrowPrimitiveType>::Native>(&old, |x| x)?, None)
        }
    })
}

fn numbers<T, K>(old: &ArrayRef, key: impl Fn(T::Native) -> K + Send + Sync + 'static) -> Result<Option<Find>>
where
    T: ArrowPrimitiveType,
    K: Eq + Hash + Send + Sync + 'static,
{
    let keys = primitive::<T>(old)?.iter().enumerate();
    let keys = keys.filter_map(|(number, value)| Some((key(value?), u32::try_from(number).ok()?)));
    let keys: Vec<(K, u32)> = keys.collect();
    let count = keys.len();
    let table: HashMap<K, u32, foldhash::fast::FixedState> = keys.into_iter().collect();
    if table.len() < count {
        // Polars says what it does with a key that stands twice.
        return Ok(None);
    }
    Ok(Some(Box::new(move |array| {
        let values = primitive::<T>(array)?.values();
        Ok(values.iter().map(|value| table.get(&key(*value)).copied()).collect())
    })))
}

/// A value without a new one stays.
fn replace(call: &Call<'_>) -> Result<Kernel> {
    let [input, _, _] = call.args()?;
    if input.dtype != *call.dtype {
        return Err(call.no_kernel());
    }
    let mapping = Mapping::of(call, call.dtype)?;
    Ok(Box::new(move |args, rows| {
        let input = column(args, rows)?;
        let places = mapping.places(&input)?;
        let indices =
            places.iter().enumerate().map(|(row, place)| place.map_or((1, row), |place| (0, place)));
        Ok(interleave(&[&mapping.new, &input], &indices.collect::<Vec<_>>())?)
    }))
}

/// A value without a new one takes the default, or fails its row; null stays null then.
fn replace_strict(call: &Call<'_>) -> Result<Kernel> {
    let mapping = Mapping::of(call, call.dtype)?;
    let default = match call.args {
        [_, _, _] => None,
        [_, _, _, default] if default.dtype == *call.dtype => Some(true),
        [_, _, _, default] if default.dtype == DataType::Null => Some(false),
        _ => return Err(call.no_kernel()),
    };
    let dtype = call.dtype.clone();
    Ok(Box::new(move |args, rows| {
        let input = column(args, rows)?;
        let places = mapping.places(&input)?;
        let otherwise = match (default, args.get(3)) {
            (Some(true), Some(default)) => default.clone().into_column(rows.count)?,
            _ => arrow::array::new_null_array(&arrow_type(&dtype), rows.count),
        };
        if default.is_none() {
            for (row, place) in places.iter().enumerate() {
                if place.is_none() && input.is_valid(row) {
                    rows.fail(
                        row,
                        "replace_strict",
                        "incomplete mapping: the value has no new one".to_owned(),
                    );
                }
            }
        }
        let indices =
            places.iter().enumerate().map(|(row, place)| place.map_or((1, row), |place| (0, place)));
        Ok(interleave(&[&mapping.new, &otherwise], &indices.collect::<Vec<_>>())?)
    }))
}

fn column(args: &[Value], rows: &Rows<'_, '_>) -> Result<ArrayRef> {
    match args.first() {
        Some(input) => input.clone().into_column(rows.count),
        None => Err(EngineError::internal("replace", "expected an argument")),
    }
}

#[cfg(test)]
mod tests {
    use crate::expr::testing::{call, col, frame, lit, show};
    use arrow::array::Int64Array;
    use dataflare_plan::DataType::{Int64, List, Null, String};
    use serde_json::{Value, json};
    use std::sync::Arc;

    #[test]
    fn value_without_a_new_one_stays_or_takes_the_default_or_fails() {
        let frame = frame([("a", Int64, Arc::new(Int64Array::from(vec![Some(1), Some(2), None])))]);
        let old = || lit(json!([1, null]), List(Box::new(Int64)));
        let texts = || lit(json!(["one", "none"]), List(Box::new(String)));
        let replace = call("replace", [col("a"), old(), lit(json!([10, 0]), List(Box::new(Int64)))], Int64);
        assert_eq!(frame.answer(replace), "10 2 0");
        let strict = call("replace_strict", [col("a"), old(), texts(), lit("?", String)], String);
        assert_eq!(frame.answer(strict), "one ? none");
        let null = call("replace_strict", [col("a"), old(), texts(), lit(Value::Null, Null)], String);
        assert_eq!(frame.answer(null), "one - none");
        let (array, errors) = frame.run(call("replace_strict", [col("a"), old(), texts()], String)).unwrap();
        assert_eq!(show(&array), "one - none");
        assert_eq!(errors.iter().map(|error| error.row).collect::<Vec<_>>(), [1]);
    }
}
