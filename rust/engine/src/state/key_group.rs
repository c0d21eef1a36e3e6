//! Key groups: a fixed hash of the key columns, the same in every process and release.
//!
//! Decides which worker owns a key, in exchanges and at a restore. Equal keys get equal groups: -0.0 equals 0.0, all NaN
//! are equal, a null is a key, integers hash by value whatever their width, also inside structs and lists. Not here: the
//! hash of a key table in memory (`table.rs`), which may change. A change of this one breaks every checkpoint.

use crate::aggregate::words::widened;
use crate::error::{EngineError, Result};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type};

/// Number of key groups.
pub const KEY_GROUPS: u16 = 1024;

const NULL: u64 = 0x6e75_6c6c;
const SEED: u64 = 0x243f_6a88_85a3_08d3;
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// The key group of each row. Without columns all rows have group 0.
///
/// # Errors
/// A column whose type cannot be a key.
pub fn key_groups(columns: &[ArrayRef], rows: usize) -> Result<Vec<u16>> {
    if columns.is_empty() {
        return Ok(vec![0; rows]);
    }
    let mut hashes = vec![SEED; rows];
    for column in columns {
        add_column(column, &mut hashes)?;
    }
    Ok(hashes.into_iter().map(|hash| (hash.wrapping_mul(FACTOR) >> 54) as u16).collect())
}

/// The worker of `workers` that owns a group: contiguous ranges of nearly equal size.
pub fn owner(group: u16, workers: usize) -> usize {
    usize::from(group) * workers / usize::from(KEY_GROUPS)
}

/// Folds a 64-bit value into a hash: the two halves of a 128-bit product (the folded multiply of wyhash).
fn fold(hash: u64, value: u64) -> u64 {
    let product = u128::from(hash ^ value) * u128::from(FACTOR);
    ((product >> 64) as u64 ^ product as u64).wrapping_add(value.rotate_left(23))
}

fn fold_bytes(hash: u64, bytes: &[u8]) -> u64 {
    let mut hash = fold(hash, bytes.len() as u64);
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(chunk) {
            *to = *from;
        }
        hash = fold(hash, u64::from_le_bytes(word));
    }
    hash
}

/// The bits of a float as a key: one zero, one NaN.
pub fn float_bits(value: f64) -> u64 {
    if value == 0.0 {
        0
    } else if value.is_nan() {
        f64::NAN.to_bits()
    } else {
        value.to_bits()
    }
}

fn each(column: &dyn Array, hashes: &mut [u64], value: impl Fn(u64, usize) -> u64) {
    if column.null_count() == 0 {
        hashes.iter_mut().enumerate().for_each(|(row, hash)| *hash = value(*hash, row));
    } else {
        for (row, hash) in hashes.iter_mut().enumerate() {
            *hash = if column.is_null(row) { fold(*hash, NULL) } else { value(*hash, row) };
        }
    }
}

fn add_column(column: &ArrayRef, hashes: &mut [u64]) -> Result<()> {
    match column.data_type() {
        DataType::Null => hashes.iter_mut().for_each(|hash| *hash = fold(*hash, NULL)),
        DataType::Boolean => {
            let values = column.as_boolean();
            each(values, hashes, |hash, row| fold(hash, u64::from(values.value(row))));
        }
        DataType::Float32 => {
            let values = column.as_primitive::<Float32Type>();
            each(values, hashes, |hash, row| fold(hash, float_bits(f64::from(values.value(row)))));
        }
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>();
            each(values, hashes, |hash, row| fold(hash, float_bits(values.value(row))));
        }
        DataType::Decimal128(..) => {
            let values = column.as_primitive::<arrow::datatypes::Decimal128Type>();
            each(values, hashes, |hash, row| {
                let value = values.value(row) as u128;
                fold(fold(hash, value as u64), (value >> 64) as u64)
            });
        }
        DataType::Utf8View => {
            let values = column.as_string_view();
            each(values, hashes, |hash, row| fold_bytes(hash, values.value(row).as_bytes()));
        }
        DataType::BinaryView => {
            let values = column.as_binary_view();
            each(values, hashes, |hash, row| fold_bytes(hash, values.value(row)));
        }
        DataType::Dictionary(_, values) => add_column(&arrow::compute::cast(column, values)?, hashes)?,
        DataType::Struct(_) => {
            let fields = column.as_struct();
            let mut inner = hashes.to_vec();
            for field in fields.columns() {
                add_column(field, &mut inner)?;
            }
            each(fields, hashes, |_, row| inner.get(row).copied().unwrap_or(NULL));
        }
        DataType::LargeList(_) => {
            let lists = column.as_list::<i64>();
            let values = element_hashes(lists.values())?;
            let offsets = lists.value_offsets();
            each(lists, hashes, |hash, row| match (offsets.get(row), offsets.get(row + 1)) {
                (Some(start), Some(end)) => fold_elements(hash, values.get(*start as usize..*end as usize)),
                _ => hash,
            });
        }
        DataType::FixedSizeList(_, width) => {
            let lists = column.as_fixed_size_list();
            let values = element_hashes(lists.values())?;
            let width = *width as usize;
            each(lists, hashes, |hash, row| fold_elements(hash, values.get(row * width..(row + 1) * width)));
        }
        other if other.is_integer() || other.is_temporal() => {
            let values = widened(column)?;
            let values = values.as_primitive::<Int64Type>();
            each(values, hashes, |hash, row| fold(hash, values.value(row) as u64));
        }
        other => return Err(EngineError::call("a key", "a type that can be a key", format!("{other}"))),
    }
    Ok(())
}

fn element_hashes(values: &ArrayRef) -> Result<Vec<u64>> {
    let mut hashes = vec![SEED; values.len()];
    add_column(values, &mut hashes)?;
    Ok(hashes)
}

fn fold_elements(hash: u64, elements: Option<&[u64]>) -> u64 {
    let elements = elements.unwrap_or_default();
    elements.iter().fold(fold(hash, elements.len() as u64), |hash, element| fold(hash, *element))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, Int32Array, Int64Array, StringViewArray, StructArray};
    use arrow::datatypes::Field;
    use std::sync::Arc;

    fn groups(columns: &[ArrayRef]) -> Vec<u16> {
        key_groups(columns, columns[0].len()).unwrap()
    }

    /// The numbers are part of the checkpoint format: if this fails, put the hash right, not the numbers.
    #[test]
    fn groups_of_keys_never_change() {
        let ints: ArrayRef =
            Arc::new(Int64Array::from(vec![Some(0), Some(1), Some(-1), Some(i64::MAX), None]));
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec![
            Some(""),
            Some("a"),
            Some("auction"),
            Some("a key of 20 bytes..."),
            None,
        ]));
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![
            Some(0.0),
            Some(1.5),
            Some(f64::NAN),
            Some(f64::INFINITY),
            None,
        ]));
        assert_eq!(groups(std::slice::from_ref(&ints)), [981, 855, 311, 556, 607]);
        assert_eq!(groups(std::slice::from_ref(&texts)), [981, 409, 599, 413, 607]);
        assert_eq!(groups(&[floats]), [981, 816, 949, 790, 607]);
        assert_eq!(groups(&[ints, texts]), [462, 488, 29, 398, 667]);
    }

    #[test]
    fn equal_keys_of_different_form_have_equal_groups() {
        let zeros: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0]));
        let nans: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN, -f64::NAN]));
        let wide: ArrayRef = Arc::new(Int64Array::from(vec![7, -7]));
        let narrow: ArrayRef = Arc::new(Int32Array::from(vec![7, -7]));
        for column in [&zeros, &nans] {
            let field = Arc::new(Field::new("f", column.data_type().clone(), true));
            let nested: ArrayRef = Arc::new(StructArray::from(vec![(field, column.clone())]));
            for groups in [groups(std::slice::from_ref(column)), groups(&[nested])] {
                assert_eq!(groups[0], groups[1]);
            }
        }
        assert_eq!(groups(&[wide]), groups(&[narrow]));
    }

    #[test]
    fn consecutive_keys_spread_evenly() {
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(0..102_400));
        let mut counts = [0; KEY_GROUPS as usize];
        groups(&[keys]).into_iter().for_each(|group| counts[usize::from(group)] += 1);
        assert!(counts.iter().all(|count| (50..200).contains(count)), "{counts:?}");
    }

    #[test]
    fn workers_own_contiguous_ranges_that_cover_all_groups() {
        for workers in 1..=9 {
            let owners: Vec<usize> = (0..KEY_GROUPS).map(|group| owner(group, workers)).collect();
            assert!(owners.is_sorted());
            assert_eq!((owners[0], owners[1023]), (0, workers - 1));
        }
    }
}
