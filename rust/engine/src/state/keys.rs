//! Key columns to dense slots and back. A null is a key; floats are equal as `canonical.rs` says.
//!
//! One integer, time, boolean or float column goes by words, one string column by its bytes, everything else by Arrow's row
//! format. Called by `groups.rs`.

use super::canonical::canonical;
use super::table::{BytesTable, EMPTY, WordTable};
use crate::aggregate::words::WordType;
use crate::error::{EngineError, Result};
use crate::types::arrow_type;
use arrow::array::{Array, ArrayRef, AsArray, StringViewArray, StringViewBuilder};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::DataType as Arrow;
use arrow::row::{RowConverter, Rows, SortField};
use dataflare_plan::DataType;
use std::ops::Range;
use std::sync::Arc;

/// How the keys of one operator become table entries.
#[derive(Clone, Debug)]
pub enum KeyType {
    /// No key column: one group.
    None,
    Word(WordType),
    Text,
    Rows(RowKeys),
}

/// See [`KeyType::Rows`].
#[derive(Clone, Debug)]
pub struct RowKeys {
    arrow: Vec<Arrow>,
    inner: Vec<Arrow>,
    converter: Arc<RowConverter>,
}

impl KeyType {
    /// # Errors
    /// [`EngineError::Call`] for a type that cannot be a key.
    pub fn of(dtypes: &[DataType]) -> Result<Self> {
        match dtypes {
            [] => return Ok(Self::None),
            [DataType::String] => return Ok(Self::Text),
            [dtype] => {
                if let Some(word_type) = WordType::of(dtype) {
                    return Ok(Self::Word(word_type));
                }
            }
            _ => {}
        }
        let arrow: Vec<Arrow> = dtypes.iter().map(arrow_type).collect();
        let inner: Vec<Arrow> = arrow.iter().map(without_dictionary).collect();
        let fields = inner.iter().cloned().map(SortField::new).collect();
        let converter = RowConverter::new(fields).map_err(|error| {
            let names: Vec<String> = dtypes.iter().map(ToString::to_string).collect();
            EngineError::call(
                "group_by",
                "keys of types that can be compared",
                format!("{} ({error})", names.join(", ")),
            )
        })?;
        Ok(Self::Rows(RowKeys { arrow, inner, converter: Arc::new(converter) }))
    }

    /// The key columns of a batch in the form that tables take.
    pub fn prepare(&self, columns: &[ArrayRef]) -> Result<PreparedKeys> {
        let first =
            || columns.first().ok_or_else(|| EngineError::internal("a key table", "no key column came"));
        Ok(match self {
            Self::None => PreparedKeys::None,
            Self::Word(word_type) => {
                let column = first()?;
                let words = word_type.canonical(word_type.encode(column)?);
                PreparedKeys::Words(words, crate::aggregate::valid(column))
            }
            Self::Text => PreparedKeys::Text(first()?.as_string_view().clone()),
            Self::Rows(rows) => {
                let columns = columns.iter().zip(&rows.inner).map(|(column, inner)| {
                    canonical(&if column.data_type() == inner {
                        column.clone()
                    } else {
                        cast(column, inner)?
                    })
                });
                PreparedKeys::Rows(rows.converter.convert_columns(&columns.collect::<Result<Vec<_>>>()?)?)
            }
        })
    }
}

fn without_dictionary(dtype: &Arrow) -> Arrow {
    match dtype {
        Arrow::Dictionary(_, values) => values.as_ref().clone(),
        other => other.clone(),
    }
}

/// The keys of a batch.
#[derive(Debug)]
pub enum PreparedKeys {
    None,
    Words(ScalarBuffer<i64>, Option<BooleanBuffer>),
    Text(StringViewArray),
    Rows(Rows),
}

/// The keys of some groups.
#[derive(Clone, Debug)]
pub struct Keys {
    table: Table,
    null_slot: Option<u32>,
}

#[derive(Clone, Debug)]
enum Table {
    None,
    Word(WordTable, WordType),
    Text(BytesTable),
    Rows(BytesTable, RowKeys),
}

impl Keys {
    pub fn new(key_type: &KeyType) -> Self {
        let table = match key_type {
            KeyType::None => Table::None,
            KeyType::Word(word_type) => Table::Word(WordTable::default(), word_type.clone()),
            KeyType::Text => Table::Text(BytesTable::default()),
            KeyType::Rows(rows) => Table::Rows(BytesTable::default(), rows.clone()),
        };
        Self { table, null_slot: None }
    }

    /// Writes the slots of the rows `range`; new keys get the next slots. Without key columns it writes nothing: all
    /// rows are of slot 0.
    pub fn slots(&mut self, keys: &PreparedKeys, range: Range<usize>, slots: &mut Vec<u32>) {
        match (&mut self.table, keys) {
            (Table::Word(table, _), PreparedKeys::Words(words, None)) => table.slots(&words[range], slots),
            (Table::Word(table, _), PreparedKeys::Words(words, Some(valid))) => {
                slots.clear();
                let mut one = Vec::with_capacity(1);
                for row in range {
                    slots.push(if valid.value(row) {
                        table.slots(&words[row..=row], &mut one);
                        one[0]
                    } else {
                        *self.null_slot.get_or_insert_with(|| table.reserve_slot())
                    });
                }
            }
            (Table::Text(table), PreparedKeys::Text(texts)) if texts.null_count() == 0 => {
                table.slots(range.len(), |row| texts.value(range.start + row).as_bytes(), slots);
            }
            (Table::Text(table), PreparedKeys::Text(texts)) => {
                slots.clear();
                slots.extend(range.map(|row| {
                    if texts.is_valid(row) {
                        table.slot(texts.value(row).as_bytes())
                    } else {
                        *self.null_slot.get_or_insert_with(|| table.reserve_slot())
                    }
                }));
            }
            (Table::Rows(table, _), PreparedKeys::Rows(rows)) => {
                table.slots(range.len(), |row| rows.row(range.start + row).data(), slots);
            }
            _ => slots.clear(),
        }
    }

    /// Writes the slots of the rows `range`, or [`EMPTY`]; adds none.
    pub fn find(&self, keys: &PreparedKeys, range: Range<usize>, slots: &mut Vec<u32>) {
        let null = self.null_slot.unwrap_or(EMPTY);
        match (&self.table, keys) {
            (Table::Word(table, _), PreparedKeys::Words(words, valid)) => {
                table.find(&words[range.clone()], slots);
                if let Some(valid) = valid {
                    let nulls = slots.iter_mut().zip(range).filter(|(_, row)| !valid.value(*row));
                    nulls.for_each(|(slot, _)| *slot = null);
                }
            }
            (Table::Text(table), PreparedKeys::Text(texts)) => {
                slots.clear();
                slots.extend(range.map(|row| {
                    if texts.is_valid(row) { table.find(texts.value(row).as_bytes()) } else { null }
                }));
            }
            (Table::Rows(table, _), PreparedKeys::Rows(rows)) => {
                slots.clear();
                slots.extend(range.map(|row| table.find(rows.row(row).data())));
            }
            _ => slots.clear(),
        }
    }

    /// Number of groups; without key columns always 1.
    pub fn count(&self) -> usize {
        match &self.table {
            Table::None => 1,
            Table::Word(table, _) => table.words().len(),
            Table::Text(table) | Table::Rows(table, _) => table.len(),
        }
    }

    /// The key columns, one row a slot, or one a slot of `chosen`.
    pub fn columns(&self, chosen: Option<&[u32]>) -> Result<Vec<ArrayRef>> {
        let count = chosen.map_or(self.count(), <[u32]>::len) as u32;
        let slots = (0..count).map(|row| chosen.map_or(row, |chosen| chosen[row as usize]));
        Ok(match &self.table {
            Table::None => Vec::new(),
            Table::Word(table, word_type) => {
                let nulls =
                    self.null_slot.map(|null| NullBuffer::from_iter(slots.clone().map(|slot| slot != null)));
                let words = match chosen {
                    None => table.words().to_vec(),
                    Some(chosen) => chosen.iter().map(|slot| table.words()[*slot as usize]).collect(),
                };
                vec![word_type.decode(words, nulls)?]
            }
            Table::Text(table) => {
                let mut texts = StringViewBuilder::with_capacity(count as usize);
                for slot in slots {
                    if self.null_slot == Some(slot) {
                        texts.append_null();
                    } else {
                        texts.append_value(String::from_utf8_lossy(table.bytes(slot)));
                    }
                }
                vec![Arc::new(texts.finish())]
            }
            Table::Rows(table, rows) => {
                let parser = rows.converter.parser();
                let keys = slots.map(|slot| parser.parse(table.bytes(slot)));
                let columns = rows.converter.convert_rows(keys)?.into_iter().zip(&rows.arrow);
                columns
                    .map(|(column, arrow)| {
                        Ok(if column.data_type() == arrow { column } else { cast(&column, arrow)? })
                    })
                    .collect::<Result<_>>()?
            }
        })
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        match &self.table {
            Table::None => 0,
            Table::Word(table, _) => table.memory(),
            Table::Text(table) | Table::Rows(table, _) => table.memory(),
        }
    }
}
