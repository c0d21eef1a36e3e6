//! `filter`: keeps the rows where the predicate is true; false and null go.
//!
//! In: batches of any kind. Out: the same rows without those, in the same order; port 1 the dead letters.
//! Not here: column names, which `expr::Program` resolves.
//! Forwards: the watermark as it is. State: none.
//! Cost: the predicate, and one copy of the rows that stay unless all do.

use super::error_policy::{ErrorPolicy, keep_rows};
use super::{Flow, Input, Operator, Output};
use crate::error::{EngineError, Result, RowErrors};
use crate::event::Batch;
use crate::expr::Program;
use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::{and, prep_null_mask_filter};

/// See the module.
pub struct Filter {
    predicate: Program,
    policy: ErrorPolicy,
}

impl Filter {
    /// `predicate`: a program of one Boolean expression.
    pub fn new(predicate: Program, policy: ErrorPolicy) -> Self {
        Self { predicate, policy }
    }
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Filter")
    }
}

impl Operator for Filter {
    fn on_batch(&mut self, _input: Input, batch: Batch, out: &mut Output) -> Result<Flow> {
        let mut errors = RowErrors::new();
        let columns = self.predicate.evaluate(&batch.records, &mut errors)?;
        let mask = columns.first().and_then(|column| column.as_boolean_opt());
        let mask = mask.ok_or_else(|| EngineError::internal("filter", "the predicate is not Boolean"))?;
        let mask = if mask.null_count() > 0 { prep_null_mask_filter(mask) } else { mask.clone() };
        let (keep, letter) = self.policy.apply(&batch, &errors)?;
        // A row that failed is not kept by the part of the predicate that could be computed (`failed | true`).
        let mask = keep.map_or_else(|| Ok(mask.clone()), |keep| and(&mask, &keep))?;
        if let Some(letter) = letter {
            out.push_to(1, letter);
        }
        out.push(if is_all_true(&mask) { batch } else { keep_rows(batch, &mask)? });
        Ok(Flow::Ready)
    }
}

fn is_all_true(mask: &BooleanArray) -> bool {
    mask.true_count() == mask.len()
}

#[cfg(test)]
mod tests {
    use super::Filter;
    use crate::expr::Program;
    use crate::operators::error_policy::{ErrorPolicy, OnError};
    use crate::testing::{Harness, batch, cut, field, strings};
    use dataflare_plan::{BinaryOperator, DataType, Expr, Field, NamedExpr};
    use serde_json::json;

    fn filter(predicate: Expr, input: Vec<Field>, on_error: OnError) -> Harness<Filter> {
        let named = NamedExpr { name: "predicate".into(), expr: predicate };
        let program = Program::new(&[named], &input, None).unwrap();
        Harness::new(Filter::new(program, ErrorPolicy::new(on_error, "filter")))
    }

    fn col(name: &str) -> Box<Expr> {
        Box::new(Expr::Column { name: name.into() })
    }

    fn above_two() -> Expr {
        let two = Expr::Literal { value: json!(2), dtype: DataType::Int64 };
        Expr::Binary { op: BinaryOperator::Gt, left: col("a"), right: Box::new(two) }
    }

    /// `cast(s as Int64) > 2 or true`: true for every row that can be computed.
    fn casts() -> Expr {
        let number = Expr::Cast { input: col("s"), dtype: DataType::Int64, strict: true, wrap: false };
        let two = Expr::Literal { value: json!(2), dtype: DataType::Int64 };
        let above = Expr::Binary { op: BinaryOperator::Gt, left: Box::new(number), right: Box::new(two) };
        let yes = Expr::Literal { value: json!(true), dtype: DataType::Boolean };
        Expr::Binary { op: BinaryOperator::Or, left: Box::new(above), right: Box::new(yes) }
    }

    #[test]
    fn row_stays_only_if_the_predicate_is_true() {
        let mut filter = filter(above_two(), vec![field("a", DataType::Int64)], OnError::Raise);
        filter.push(batch([("a", vec![Some(3), None, Some(2), Some(4)])]));
        assert_eq!(filter.take("a"), [Some(3), Some(4)]);
    }

    #[test]
    fn each_batch_gives_one_batch_with_its_place_also_an_empty_one() {
        let mut filter = filter(above_two(), vec![field("a", DataType::Int64)], OnError::Raise);
        let pieces = cut(&batch([("a", vec![Some(1); 20])]), 4, 7);
        let places: Vec<_> = pieces.iter().map(|piece| piece.order).collect();
        pieces.into_iter().for_each(|piece| filter.push(piece));
        let emitted = filter.take_from(0);
        assert_eq!(emitted.iter().map(|piece| piece.order).collect::<Vec<_>>(), places);
        assert!(emitted.iter().all(|piece| piece.rows() == 0));
    }

    #[test]
    fn row_that_fails_leaves_once_even_where_the_rest_is_true() {
        let rows = strings("s", &[Some("7"), Some("x"), Some("1")]);
        let mut filter = filter(casts(), vec![field("s", DataType::String)], OnError::DeadLetter);
        filter.push(rows);
        assert_eq!(filter.take_from(0).iter().map(crate::Batch::rows).sum::<usize>(), 2);
        assert_eq!(filter.take_from(1).iter().map(crate::Batch::rows).sum::<usize>(), 1);
    }
}
