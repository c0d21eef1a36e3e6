//! Short spellings for the tests of this folder: columns, constants, calls, and their answers as text.
//!
//! Expected answers in the tests were asked of Polars 2.1 and written out.

use super::Program;
use crate::error::{Result, RowErrors};
use crate::types::arrow_schema;
use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use dataflare_plan::{BinaryOperator, DataType, Expr, Field, NamedExpr};
use serde_json::{Value, json};

/// Columns by name.
pub(super) struct Frame(Vec<(&'static str, DataType, ArrayRef)>);

pub(super) fn frame<const N: usize>(columns: [(&'static str, DataType, ArrayRef); N]) -> Frame {
    Frame(columns.into())
}

impl Frame {
    pub(super) fn schema(&self) -> Vec<Field> {
        self.0
            .iter()
            .map(|(name, dtype, _)| Field { name: (*name).to_owned(), dtype: dtype.clone() })
            .collect()
    }

    pub(super) fn batch(&self) -> RecordBatch {
        let rows = self.0.first().map_or(1, |(_, _, array)| array.len());
        let columns = self.0.iter().map(|(_, _, array)| array.clone()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(arrow_schema(&self.schema()), columns, &options).unwrap()
    }

    /// The answer of `expr` and the rows that failed.
    pub(super) fn run(&self, expr: Expr) -> Result<(ArrayRef, RowErrors)> {
        let named = NamedExpr { name: "out".to_owned(), expr };
        let mut program = Program::new(&[named], &self.schema(), None)?;
        let mut errors = RowErrors::new();
        let arrays = program.evaluate(&self.batch(), &mut errors)?;
        Ok((arrays[0].clone(), errors))
    }

    /// The answer as text, one word a row; nulls as `-`.
    pub(super) fn answer(&self, expr: Expr) -> String {
        let (array, errors) = self.run(expr).unwrap();
        assert_eq!(errors, []);
        show(&array)
    }
}

pub(super) fn show(array: &ArrayRef) -> String {
    let options = FormatOptions::default().with_null("-");
    let texts = ArrayFormatter::try_new(array, &options).unwrap();
    (0..array.len()).map(|row| texts.value(row).to_string()).collect::<Vec<_>>().join(" ")
}

pub(super) fn col(name: &str) -> Expr {
    Expr::Column { name: name.to_owned() }
}

pub(super) fn lit(value: impl Into<Value>, dtype: DataType) -> Expr {
    Expr::Literal { value: value.into(), dtype }
}

pub(super) fn binary(op: BinaryOperator, left: Expr, right: Expr) -> Expr {
    Expr::Binary { op, left: Box::new(left), right: Box::new(right) }
}

pub(super) fn cast(input: Expr, dtype: DataType, strict: bool) -> Expr {
    Expr::Cast { input: Box::new(input), dtype, strict, wrap: false }
}

pub(super) fn call<const N: usize>(name: &str, args: [Expr; N], dtype: DataType) -> Expr {
    call_with(name, args, json!({}), dtype)
}

pub(super) fn call_with<const N: usize>(
    name: &str,
    args: [Expr; N],
    options: Value,
    dtype: DataType,
) -> Expr {
    Expr::Function { name: name.to_owned(), args: args.into(), options, dtype }
}
