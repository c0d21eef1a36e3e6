//! Values of any type as words: ordered words where they fit (`words.rs`), else numbers from a dictionary of rows
//! (`rows.rs`) that all groups share. Equal values get equal words: all NaN are one, both zeros are one.
//! Called by the aggregates of distinct values.

use super::Values;
use super::rows::RowType;
use super::words::WordType;
use crate::error::Result;
use crate::state::canonical::canonical;
use crate::state::table::BytesTable;
use arrow::array::{Array, ArrayRef, LargeListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType as Arrow, Field};
use dataflare_plan::DataType;
use std::cmp::Ordering;
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug)]
pub enum ValueWords {
    Word(WordType),
    Row { row_type: RowType, dictionary: BytesTable },
}

impl ValueWords {
    /// # Errors
    /// A type without row format.
    pub fn of(input: &DataType) -> Result<Self> {
        Ok(match WordType::of(input) {
            Some(word_type) => Self::Word(word_type),
            None => Self::Row { row_type: RowType::of(input)?, dictionary: BytesTable::default() },
        })
    }

    /// A column, ready for [`ValueWords::word`].
    pub fn values(&self, column: &ArrayRef) -> Result<Values> {
        Ok(match self {
            Self::Word(word_type) => Values::Words(word_type.canonical(word_type.encode(column)?)),
            Self::Row { row_type, .. } => Values::Rows(row_type.encode(&canonical(column)?)?),
        })
    }

    /// The word of a row; values that have none yet get the next number.
    pub fn word(&mut self, values: &Values, row: usize) -> Option<i64> {
        match (self, values) {
            (Self::Word(_), Values::Words(words)) => words.get(row).copied(),
            (Self::Row { dictionary, .. }, Values::Rows(rows)) => {
                Some(i64::from(dictionary.slot(rows.row(row).data())))
            }
            _ => None,
        }
    }

    /// The order of two values.
    pub fn compare(&self, a: i64, b: i64) -> Ordering {
        match self {
            Self::Word(_) => a.cmp(&b),
            Self::Row { dictionary, .. } => dictionary.bytes(a as u32).cmp(dictionary.bytes(b as u32)),
        }
    }

    /// The column of words; a null where `is_value` is false.
    pub fn decode(&self, words: Vec<i64>, is_value: &[bool]) -> Result<ArrayRef> {
        match self {
            Self::Word(word_type) => {
                word_type.decode(words, Some(NullBuffer::from_iter(is_value.iter().copied())))
            }
            Self::Row { row_type, dictionary } => {
                let rows = words.iter().zip(is_value);
                row_type.decode(rows.map(|(word, is_value)| is_value.then(|| dictionary.bytes(*word as u32))))
            }
        }
    }

    /// The Arrow type of the values.
    pub fn arrow(&self) -> &Arrow {
        match self {
            Self::Word(word_type) => word_type.arrow(),
            Self::Row { row_type, .. } => row_type.arrow(),
        }
    }

    /// Bytes of the dictionary.
    pub fn memory(&self) -> usize {
        match self {
            Self::Word(_) => 0,
            Self::Row { dictionary, .. } => dictionary.memory(),
        }
    }
}

/// The Arrow type of a list of `item`.
pub fn list_type(item: &Arrow) -> Arrow {
    Arrow::LargeList(Arc::new(Field::new("item", item.clone(), true)))
}

/// Lists that lie one behind the other in `values`; `ends`: where each ends.
pub fn lists(ends: impl Iterator<Item = usize>, values: ArrayRef) -> Result<ArrayRef> {
    let offsets: Vec<i64> = std::iter::once(0).chain(ends.map(|end| end as i64)).collect();
    let field = Arc::new(Field::new("item", values.data_type().clone(), true));
    Ok(Arc::new(LargeListArray::try_new(
        field,
        OffsetBuffer::new(ScalarBuffer::from(offsets)),
        values,
        None,
    )?))
}
