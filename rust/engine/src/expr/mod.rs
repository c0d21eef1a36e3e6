//! Expressions of a plan, compiled onto kernels over Arrow arrays: one file a family of functions.
//!
//! A [`Program`] is a list of expressions made ready once and evaluated per batch, without the GIL. A tree that holds a
//! function without a kernel is [`dataflare_plan::Expr::Residual`]: Polars evaluates it through [`Residual`], in one call
//! per batch. A kernel exists only where its answer is Polars' answer bit for bit; [`is_compiled`] decides, tree by tree.
//! Not here: aggregates, and anything that looks at more than one row.
//! Called by the operators filter, project and group-by, and by the planner through [`is_compiled`].

mod arithmetic;
mod boolean;
mod cast;
mod comparison;
mod compile;
mod conditional;
mod divisor;
mod elementwise;
mod literal;
mod membership;
mod null;
mod numeric;
mod string;
mod temporal;
#[cfg(test)]
mod testing;
mod text_builder;
mod value;

use crate::error::{Result, RowErrors};
use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;
use compile::{Compiler, Root};
use dataflare_plan::{Expr, NamedExpr, Schema};
use std::fmt;
use value::Inputs;

/// Polars, for expressions without a kernel. Implemented in `rust/py`.
pub trait Residual: Send + Sync {
    /// Makes `exprs` ready to run over batches that have the columns of `input`.
    ///
    /// # Errors
    /// [`crate::EngineError::Call`]: Polars does not take an expression.
    fn prepare(&self, exprs: &[NamedExpr], input: &Schema) -> Result<Box<dyn ResidualProgram>>;
}

/// Expressions that Polars evaluates.
pub trait ResidualProgram: Send {
    /// One array for each prepared expression, each as long as `batch`.
    ///
    /// # Errors
    /// What Polars refuses, as [`crate::EngineError::Data`].
    fn evaluate(&mut self, batch: &RecordBatch) -> Result<Vec<ArrayRef>>;
}

/// A list of expressions ready to run; residual ones go to Polars in one call per batch.
pub struct Program {
    roots: Vec<Root>,
    residual: Option<Box<dyn ResidualProgram>>,
}

impl Program {
    /// Compiles `exprs` over a frame with the columns `input`.
    ///
    /// # Errors
    /// [`crate::EngineError::Call`]: a function has no kernel and is not marked residual, a constant cannot be computed,
    /// or there is no Polars for the residual ones.
    pub fn new(exprs: &[NamedExpr], input: &Schema, residual: Option<&dyn Residual>) -> Result<Self> {
        let mut compiler = Compiler::new(input);
        let roots = exprs.iter().map(|named| compiler.root(&named.expr)).collect::<Result<_>>()?;
        let residuals = compiler.into_residuals();
        let residual = match (residuals.is_empty(), residual) {
            (true, _) => None,
            (false, Some(polars)) => Some(polars.prepare(&residuals, input)?),
            (false, None) => return Err(compile::no_polars(&residuals)),
        };
        Ok(Self { roots, residual })
    }

    /// One array per expression, each as long as `batch`. Columns are found by name; `batch` may hold more of them.
    ///
    /// # Errors
    /// Only bugs and what Polars refuses: a row that cannot be computed is null and noted in `errors`.
    pub fn evaluate(&mut self, batch: &RecordBatch, errors: &mut RowErrors) -> Result<Vec<ArrayRef>> {
        let residuals = match &mut self.residual {
            Some(program) => program.evaluate(batch)?,
            None => Vec::new(),
        };
        let mut inputs = Inputs::new(batch, &residuals, errors);
        self.roots.iter().map(|root| root.evaluate(&mut inputs)).collect()
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("expressions", &self.roots.len())
            .field("residual", &self.residual.is_some())
            .finish()
    }
}

/// Names of the functions that have a kernel for at least some types and options.
pub fn compiled_functions() -> Vec<&'static str> {
    compile::functions().map(|(name, _)| *name).collect()
}

/// True if `expr` can be evaluated over `input` by kernels alone, apart from parts already marked residual.
pub fn is_compiled(expr: &Expr, input: &Schema) -> bool {
    Compiler::new(input).root(expr).is_ok()
}
