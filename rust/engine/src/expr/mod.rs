//! Expressions of a plan, compiled onto kernels over Arrow arrays: one file a family of functions.
//!
//! A [`Program`] is a list of expressions made ready once and evaluated per batch, without the GIL. A tree that holds a
//! function without a kernel is [`dataflare_plan::Expr::Residual`]: Polars evaluates it through [`Residual`], in one call
//! per batch. A kernel exists only where its answer is Polars' answer bit for bit; [`is_compiled`] decides, tree by tree.
//! Not here: aggregates, and anything that looks at more than one row.
//! Called by the operators filter, project and group-by, and by the planner through [`is_compiled`].

mod arithmetic;
mod boolean;
mod calendar;
mod cast;
mod comparison;
mod compile;
mod conditional;
mod divisor;
mod elementwise;
mod horizontal;
mod literal;
mod mapping;
mod math;
mod membership;
mod nested;
mod null;
mod numeric;
mod remainder;
mod rounding;
mod scaled;
mod string;
mod temporal;
#[cfg(test)]
mod testing;
mod text_builder;
mod time_arithmetic;
mod time_text;
mod value;
mod zone;

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
    /// One array for each prepared expression, each as long as `batch`. A row that Polars refuses is null in all of
    /// them and noted in `errors`.
    ///
    /// # Errors
    /// Only bugs: rows have theirs in `errors`.
    fn evaluate(&mut self, batch: &RecordBatch, errors: &mut RowErrors) -> Result<Vec<ArrayRef>>;
}

/// A list of expressions ready to run; residual ones go to Polars in one call per batch.
pub struct Program {
    roots: Vec<Root>,
    /// How many answers stand in several places.
    shared: usize,
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
        let roots = compiler.roots(exprs)?;
        let shared = compiler.shared();
        let residuals = compiler.into_residuals();
        let residual = match (residuals.is_empty(), residual) {
            (true, _) => None,
            (false, Some(polars)) => Some(polars.prepare(&residuals, input)?),
            (false, None) => return Err(compile::no_polars(&residuals)),
        };
        Ok(Self { roots, shared, residual })
    }

    /// One array per expression, each as long as `batch`. Columns are found by name; `batch` may hold more of them.
    ///
    /// # Errors
    /// Only bugs: a row that cannot be computed is null and noted in `errors`.
    pub fn evaluate(&mut self, batch: &RecordBatch, errors: &mut RowErrors) -> Result<Vec<ArrayRef>> {
        let residuals = match &mut self.residual {
            Some(program) => program.evaluate(batch, errors)?,
            None => Vec::new(),
        };
        let mut inputs = Inputs::new(batch, &residuals, self.shared, errors);
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

#[cfg(test)]
mod tests {
    use super::testing::{Frame, binary, call, call_with, cast, col, frame, lit, show};
    use super::{Program, Residual, ResidualProgram, is_compiled};
    use crate::error::{EngineError, Result, RowErrors};
    use arrow::array::{
        Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringViewArray,
    };
    use arrow::compute::concat;
    use dataflare_plan::BinaryOperator::{Add, And, FloorDiv, Gt, Mod, TrueDiv};
    use dataflare_plan::DataType::{Boolean, Float64, Int8, Int64, String, UInt32};
    use dataflare_plan::{Expr, NamedExpr, Schema};
    use proptest::prelude::*;
    use serde_json::json;
    use std::sync::Arc;

    /// Stands for Polars: answers each expression with its number, and the number of batches so far.
    struct Numbers;

    impl Residual for Numbers {
        fn prepare(&self, exprs: &[NamedExpr], _: &Schema) -> Result<Box<dyn ResidualProgram>> {
            Ok(Box::new(NumbersProgram { exprs: exprs.len(), batches: 0 }))
        }
    }

    struct NumbersProgram {
        exprs: usize,
        batches: i64,
    }

    impl ResidualProgram for NumbersProgram {
        fn evaluate(&mut self, batch: &RecordBatch, _: &mut RowErrors) -> Result<Vec<ArrayRef>> {
            self.batches += 1;
            let column = |index| Int64Array::from(vec![10 * index as i64 + self.batches; batch.num_rows()]);
            Ok((0..self.exprs).map(|index| Arc::new(column(index)) as ArrayRef).collect())
        }
    }

    fn residual(name: &str) -> Expr {
        Expr::Residual { expr: Box::new(call(name, [col("a")], Int64)), dtype: Int64 }
    }

    fn named(expr: Expr) -> NamedExpr {
        NamedExpr { name: "out".to_owned(), expr }
    }

    fn integers() -> Frame {
        frame([("a", Int64, Arc::new(Int64Array::from(vec![1, 2, 3])))])
    }

    #[test]
    fn residual_parts_of_all_expressions_go_out_in_one_call() {
        let exprs = [
            named(binary(Add, residual("first"), col("a"))),
            named(residual("second")),
            named(binary(Add, residual("first"), lit(100, Int64))),
        ];
        let mut program = Program::new(&exprs, &integers().schema(), Some(&Numbers)).unwrap();
        let mut errors = RowErrors::new();
        let answers = program.evaluate(&integers().batch(), &mut errors).unwrap();
        assert_eq!(answers.iter().map(show).collect::<Vec<_>>(), ["2 3 4", "11 11 11", "101 101 101"]);
        let again = program.evaluate(&integers().batch(), &mut errors).unwrap();
        assert_eq!(show(&again[1]), "12 12 12");
    }

    #[test]
    fn part_that_stands_in_several_places_fails_its_row_once() {
        let narrow = || cast(col("a"), Int8, true);
        let exprs = [named(binary(Add, narrow(), narrow())), named(narrow())];
        let wide = frame([("a", Int64, Arc::new(Int64Array::from(vec![1, 300])))]);
        let mut program = Program::new(&exprs, &wide.schema(), None).unwrap();
        let mut errors = RowErrors::new();
        let answers = program.evaluate(&wide.batch(), &mut errors).unwrap();
        assert_eq!(answers.iter().map(show).collect::<Vec<_>>(), ["2 -", "1 -"]);
        assert_eq!(errors.iter().map(|error| error.row).collect::<Vec<_>>(), [1]);
        let again = program.evaluate(&wide.batch().slice(0, 1), &mut errors).unwrap();
        assert_eq!(show(&again[0]), "2");
    }

    #[test]
    fn residual_part_without_polars_is_refused_by_its_text() {
        let error = Program::new(&[named(residual("first"))], &integers().schema(), None).unwrap_err();
        assert!(matches!(error, EngineError::Call { .. }));
        assert!(error.to_string().starts_with("col(a).first()"), "{error}");
    }

    #[test]
    fn function_without_a_kernel_is_refused_by_its_text() {
        let unknown = call("str.to_titlecase", [lit("a", String)], String);
        assert!(!is_compiled(&unknown, &integers().schema()));
        let error = Program::new(&[named(unknown)], &integers().schema(), Some(&Numbers)).unwrap_err();
        assert!(error.to_string().contains("str.to_titlecase"), "{error}");
    }

    #[test]
    fn constants_are_as_long_as_the_batch_and_computed_once() {
        let sum = binary(Add, lit(1, Int64), lit(2, Int64));
        assert_eq!(integers().answer(sum), "3 3 3");
        assert_eq!(frame([]).answer(lit("x", String)), "x");
        let failing = cast(lit(300, Int64), Int8, true);
        assert!(Program::new(&[named(failing)], &integers().schema(), None).is_err());
    }

    #[test]
    fn columns_are_found_by_name_among_others() {
        let mut program = Program::new(&[named(col("a"))], &integers().schema(), None).unwrap();
        let wider = frame([
            ("z", Int64, Arc::new(Int64Array::from(vec![7, 8, 9]))),
            ("a", Int64, Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ]);
        let answers = program.evaluate(&wider.batch(), &mut RowErrors::new()).unwrap();
        assert_eq!(show(&answers[0]), "1 2 3");
    }

    /// One expression of each family, over columns with nulls.
    fn one_of_each_family() -> Vec<NamedExpr> {
        let half = lit(0.5, Float64);
        let list = lit(json!([1, 2, 3]), dataflare_plan::DataType::List(Box::new(Int64)));
        let big = binary(Gt, col("x"), half);
        [
            binary(Mod, col("i"), lit(7, Int64)),
            binary(FloorDiv, col("i"), col("j")),
            binary(TrueDiv, col("i"), lit(85, Int64)),
            binary(And, big.clone(), col("b")),
            Expr::When {
                predicate: Box::new(big),
                then: Box::new(col("s")),
                otherwise: Box::new(lit("other", String)),
            },
            cast(col("i"), Int8, true),
            cast(col("s"), Int64, false),
            call_with("is_in", [col("i"), list], json!({"nulls_equal": true}), Boolean),
            call("coalesce", [col("i"), col("j")], Int64),
            call("str.len_chars", [col("s")], UInt32),
            call_with(
                "concat_str",
                [col("s"), lit("-", String)],
                json!({"separator": "", "ignore_nulls": false}),
                String,
            ),
        ]
        .map(named)
        .into()
    }

    proptest! {
        #[test]
        fn answers_do_not_depend_on_where_batches_are_cut(
            rows in prop::collection::vec(
                (any::<Option<i64>>(), any::<Option<i8>>(), any::<Option<f64>>(), any::<Option<bool>>(), ".{0,16}"),
                0..150,
            ),
            cuts in prop::collection::vec(0_usize..150, 0..5),
        ) {
            let frame = frame([
                ("i", Int64, Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()) as ArrayRef),
                ("j", Int64, Arc::new(rows.iter().map(|row| row.1.map(i64::from)).collect::<Int64Array>())),
                ("x", Float64, Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>())),
                ("b", Boolean, Arc::new(rows.iter().map(|row| row.3).collect::<BooleanArray>())),
                ("s", String, Arc::new(rows.iter().map(|row| row.3.map(|_| row.4.as_str())).collect::<StringViewArray>())),
            ]);
            let mut program = Program::new(&one_of_each_family(), &frame.schema(), None).unwrap();
            let (batch, mut errors) = (frame.batch(), RowErrors::new());
            let whole = program.evaluate(&batch, &mut errors).unwrap();

            let mut ends: Vec<usize> = cuts.into_iter().map(|cut| cut.min(rows.len())).collect();
            ends.push(rows.len());
            ends.sort_unstable();
            let (mut start, mut parts, mut cut_errors) = (0, Vec::new(), RowErrors::new());
            for end in ends {
                let mut found = RowErrors::new();
                parts.push(program.evaluate(&batch.slice(start, end - start), &mut found).unwrap());
                cut_errors.extend(found.into_iter().map(|mut error| { error.row += start; error }));
                start = end;
            }
            prop_assert_eq!(errors, cut_errors);
            for (index, whole) in whole.iter().enumerate() {
                let parts: Vec<&dyn Array> = parts.iter().map(|part| part[index].as_ref()).collect();
                prop_assert_eq!(show(&concat(&parts).unwrap()), show(whole));
            }
        }
    }
}
