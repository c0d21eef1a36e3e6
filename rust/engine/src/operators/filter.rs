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
use arrow::compute::prep_null_mask_filter;

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
        // A row that failed has null in the mask and is gone already.
        let (_, letter) = self.policy.apply(&batch, &errors)?;
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
