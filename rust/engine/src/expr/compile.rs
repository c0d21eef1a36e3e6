//! Turns a tree into steps: columns, constants, residual columns and calls of kernels.
//!
//! A call whose arguments are all constants is computed here, once. Types are derived and checked against what Polars
//! said, so a plan that disagrees with the engine fails before the first row.
//! Not here: what a function does (the families). Used by `Program::new` and `is_compiled`.

use super::remainder::Remainder;
use super::scaled::Scaled;
use super::value::{Call, Inputs, Kernel, Operand, Rows, Value, no_kernel};
use super::{
    arithmetic, boolean, calendar, cast, comparison, conditional, horizontal, literal, mapping, math,
    membership, nested, null, numeric, rounding, string, temporal, time_text, zone,
};
use crate::error::{EngineError, Result, RowErrors};
use crate::types::{arrow_type, column_index};
use arrow::array::{Array, ArrayRef};
use dataflare_plan::{BinaryOperator, DataType, Expr, NamedExpr, Schema};
use hashbrown::HashMap;
use serde_json::Value as Json;
use std::sync::Arc;

/// Compiles a call of one function.
pub(super) type Compile = fn(&Call<'_>) -> Result<Kernel>;

/// All functions with a kernel.
pub(super) fn functions() -> impl Iterator<Item = &'static (&'static str, Compile)> {
    [
        boolean::FUNCTIONS,
        calendar::FUNCTIONS,
        horizontal::FUNCTIONS,
        mapping::FUNCTIONS,
        math::FUNCTIONS,
        membership::FUNCTIONS,
        nested::FUNCTIONS,
        null::FUNCTIONS,
        numeric::FUNCTIONS,
        rounding::FUNCTIONS,
        string::FUNCTIONS,
        temporal::FUNCTIONS,
        time_text::FUNCTIONS,
        zone::FUNCTIONS,
    ]
    .into_iter()
    .flatten()
}

/// One step of a program.
enum Step {
    /// A column, with the position that it has in the schema (a guess at that in the batch).
    Column {
        name: String,
        index: usize,
    },
    /// An array of length one.
    Constant(ArrayRef),
    /// One of the arrays that Polars made.
    Residual(usize),
    Call {
        kernel: Kernel,
        args: Vec<Step>,
        dtype: arrow::datatypes::DataType,
        place: Arc<str>,
    },
    /// A step that stands in several places; its answer is kept for the batch.
    Shared {
        slot: usize,
        step: Arc<Step>,
    },
}

impl Step {
    fn evaluate(&self, inputs: &mut Inputs<'_>) -> Result<Value> {
        match self {
            Self::Column { name, index } => {
                let schema = inputs.batch.schema_ref();
                let found = match schema.fields().get(*index) {
                    Some(field) if field.name() == name => *index,
                    _ => column_index(schema, name)?,
                };
                Ok(Value::Column(inputs.batch.column(found).clone()))
            }
            Self::Constant(array) => Ok(Value::Constant(array.clone())),
            Self::Residual(index) => match inputs.residuals.get(*index) {
                Some(array) => Ok(Value::Column(array.clone())),
                None => Err(EngineError::internal(
                    "residual expressions",
                    "Polars gave fewer columns than asked for",
                )),
            },
            Self::Shared { slot, step } => {
                if let Some(Some(known)) = inputs.shared.get(*slot) {
                    return Ok(known.clone());
                }
                let value = step.evaluate(inputs)?;
                if let Some(place) = inputs.shared.get_mut(*slot) {
                    *place = Some(value.clone());
                }
                Ok(value)
            }
            Self::Call { kernel, args, dtype, place } => {
                let args = args.iter().map(|arg| arg.evaluate(inputs)).collect::<Result<Vec<_>>>()?;
                let count = inputs.batch.num_rows();
                let array = kernel(&args, &mut Rows::new(count, place, inputs.errors))?;
                if array.len() != count || (array.data_type() != dtype && !dtype.is_nested()) {
                    let found = format!("{} rows of {}", array.len(), array.data_type());
                    return Err(EngineError::internal(
                        &**place,
                        format!("expected {count} rows of {dtype}, got {found}"),
                    ));
                }
                Ok(Value::Column(array))
            }
        }
    }
}

/// An expression ready to run.
pub(super) struct Root {
    step: Step,
}

impl Root {
    pub(super) fn evaluate(&self, inputs: &mut Inputs<'_>) -> Result<ArrayRef> {
        let rows = inputs.batch.num_rows();
        self.step.evaluate(inputs)?.into_column(rows)
    }
}

/// A step and its type.
type Compiled = (Arc<Step>, DataType);

/// Compiles expressions over one schema and collects their residual parts.
pub(super) struct Compiler<'a> {
    input: &'a Schema,
    residuals: Vec<NamedExpr>,
    /// Expressions that stand in several places, each compiled once.
    shared: Vec<(Expr, Option<Compiled>)>,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(input: &'a Schema) -> Self {
        Self { input, residuals: Vec::new(), shared: Vec::new() }
    }

    /// Compiles all expressions of a program. A part that stands in several places is computed once a batch.
    pub(super) fn roots(&mut self, exprs: &[NamedExpr]) -> Result<Vec<Root>> {
        self.shared = repeated(exprs).into_iter().map(|expr| (expr.clone(), None)).collect();
        exprs.iter().map(|named| self.root(&named.expr)).collect()
    }

    /// How many answers a batch keeps.
    pub(super) fn shared(&self) -> usize {
        self.shared.len()
    }

    /// The residual parts of all roots, in the order in which steps number them.
    pub(super) fn into_residuals(self) -> Vec<NamedExpr> {
        self.residuals
    }

    pub(super) fn root(&mut self, expr: &Expr) -> Result<Root> {
        Ok(Root { step: self.step(expr)?.0 })
    }

    fn step(&mut self, expr: &Expr) -> Result<(Step, DataType)> {
        let Some(slot) = self.shared.iter().position(|(known, _)| known == expr) else {
            return self.step_of_its_own(expr);
        };
        if let Some((_, Some((step, dtype)))) = self.shared.get(slot) {
            return Ok((Step::Shared { slot, step: step.clone() }, dtype.clone()));
        }
        let (step, dtype) = self.step_of_its_own(expr)?;
        if !matches!(step, Step::Call { .. }) {
            return Ok((step, dtype));
        }
        let step = Arc::new(step);
        if let Some((_, compiled)) = self.shared.get_mut(slot) {
            *compiled = Some((step.clone(), dtype.clone()));
        }
        Ok((Step::Shared { slot, step }, dtype))
    }

    fn step_of_its_own(&mut self, expr: &Expr) -> Result<(Step, DataType)> {
        match expr {
            Expr::Column { name } => {
                match self.input.iter().enumerate().find(|(_, field)| field.name == *name) {
                    Some((index, field)) => {
                        Ok((Step::Column { name: name.clone(), index }, field.dtype.clone()))
                    }
                    None => Err(EngineError::internal(
                        "the plan",
                        format!("no column '{name}' in the input of {expr}"),
                    )),
                }
            }
            Expr::Literal { value, dtype } => {
                Ok((Step::Constant(literal::array(value, dtype)?), dtype.clone()))
            }
            Expr::Residual { expr: inner, dtype } => {
                let index =
                    self.residuals.iter().position(|known| known.expr == **inner).unwrap_or_else(|| {
                        let name = format!("residual {}", self.residuals.len());
                        self.residuals.push(NamedExpr { name, expr: (**inner).clone() });
                        self.residuals.len() - 1
                    });
                Ok((Step::Residual(index), dtype.clone()))
            }
            Expr::Binary { op, left, right } => {
                if let Some(step) = self.remainder(expr, *op, left, right)? {
                    return Ok((step, DataType::Boolean));
                }
                if let Some(step) = self.scaled(expr, *op, left, right)? {
                    return Ok((step, DataType::Float64));
                }
                self.call(expr, &[left, right], |args, place| match args {
                    [left, right] => binary(*op, left, right, place),
                    _ => Err(no_kernel(place, "")),
                })
            }
            Expr::Cast { input, dtype, strict, wrap } => {
                self.call(expr, &[input], |args, place| match args {
                    [from] => Ok((cast::compile(from, dtype, *strict, *wrap, place)?, dtype.clone())),
                    _ => Err(no_kernel(place, "")),
                })
            }
            Expr::When { predicate, then, otherwise } => {
                self.call(expr, &[predicate, then, otherwise], |args, place| conditional::when(args, place))
            }
            Expr::Function { name, args, options, dtype } => {
                if let Some((args, options)) = part_of_split(name, args, options) {
                    return self.call(expr, &args, |args, place| {
                        let call = Call { args, options: &options, dtype, place };
                        Ok((string::split::part(&call)?, dtype.clone()))
                    });
                }
                let args: Vec<&Expr> = args.iter().collect();
                self.call(expr, &args, |args, place| {
                    let call = Call { args, options, dtype, place };
                    let (_, compile) =
                        functions().find(|(known, _)| known == name).ok_or_else(|| call.no_kernel())?;
                    Ok((compile(&call)?, dtype.clone()))
                })
            }
        }
    }

    /// A test of remainders in one pass, if that is what it is.
    fn remainder(
        &mut self,
        expr: &Expr,
        op: BinaryOperator,
        left: &Expr,
        right: &Expr,
    ) -> Result<Option<Step>> {
        let Some(pattern) = Remainder::find(op, left, right)? else { return Ok(None) };
        let (dividend, dtype) = self.step(pattern.dividend)?;
        if matches!(dividend, Step::Constant(_)) {
            return Ok(None);
        }
        Ok(pattern.compile(&Operand { dtype, constant: None }).map(|kernel| Step::Call {
            kernel,
            args: vec![dividend],
            dtype: arrow_type(&DataType::Boolean),
            place: expr.to_string().into(),
        }))
    }

    /// A product of integers and a float in one pass, if that is what it is.
    fn scaled(&mut self, expr: &Expr, op: BinaryOperator, left: &Expr, right: &Expr) -> Result<Option<Step>> {
        let Some(pattern) = Scaled::find(op, left, right)? else { return Ok(None) };
        let (integers, dtype) = self.step(pattern.integers)?;
        if matches!(integers, Step::Constant(_)) {
            return Ok(None);
        }
        Ok(pattern.compile(&Operand { dtype, constant: None }).map(|kernel| Step::Call {
            kernel,
            args: vec![integers],
            dtype: arrow_type(&DataType::Float64),
            place: expr.to_string().into(),
        }))
    }

    /// Compiles `args`, then the call itself; a call of constants becomes a constant.
    fn call(
        &mut self,
        expr: &Expr,
        args: &[&Expr],
        compile: impl FnOnce(&[Operand], &str) -> Result<(Kernel, DataType)>,
    ) -> Result<(Step, DataType)> {
        let place = expr.to_string();
        let mut steps = Vec::with_capacity(args.len());
        let mut operands = Vec::with_capacity(args.len());
        for arg in args {
            let (step, dtype) = self.step(arg)?;
            let constant = match &step {
                Step::Constant(array) => Some(array.clone()),
                _ => None,
            };
            steps.push(step);
            operands.push(Operand { dtype, constant });
        }
        let (kernel, dtype) = compile(&operands, &place)?;
        let constants: Option<Vec<Value>> =
            operands.into_iter().map(|operand| operand.constant.map(Value::Column)).collect();
        if let Some(constants) = constants {
            let mut errors = RowErrors::new();
            let array = kernel(&constants, &mut Rows::new(1, &place, &mut errors))?;
            return match errors.pop() {
                None => Ok((Step::Constant(array), dtype)),
                Some(error) => {
                    Err(EngineError::call(place, "a constant that can be computed", error.message))
                }
            };
        }
        let arrow = arrow_type(&dtype);
        Ok((Step::Call { kernel, args: steps, dtype: arrow, place: place.into() }, dtype))
    }
}

/// Calls that stand in several places of a program.
fn repeated(exprs: &[NamedExpr]) -> Vec<&Expr> {
    // The text is only a hash: it leaves out types and some options.
    let mut found: HashMap<String, Vec<(&Expr, usize)>> = HashMap::new();
    let mut left: Vec<&Expr> = exprs.iter().map(|named| &named.expr).collect();
    while let Some(expr) = left.pop() {
        match expr {
            Expr::Column { .. } | Expr::Literal { .. } | Expr::Residual { .. } => continue,
            Expr::Binary { left: one, right: other, .. } => left.extend([&**one, &**other]),
            Expr::Cast { input, .. } => left.push(input),
            Expr::When { predicate, then, otherwise } => left.extend([&**predicate, &**then, &**otherwise]),
            Expr::Function { args, .. } => left.extend(args),
        }
        let same = found.entry(expr.to_string()).or_default();
        match same.iter_mut().find(|(known, _)| *known == expr) {
            Some((_, times)) => *times += 1,
            None => same.push((expr, 1)),
        }
    }
    let repeated = found.into_values().flatten().filter(|(_, times)| *times > 1);
    repeated.map(|(expr, _)| expr).collect()
}

/// Arguments and options of `split(separator).list.get(n)` of constants, which makes no list.
fn part_of_split<'a>(name: &str, args: &'a [Expr], options: &Json) -> Option<(Vec<&'a Expr>, Json)> {
    let ("list.get", [Expr::Function { name, args: split, options: of_split, .. }, index]) = (name, args)
    else {
        return None;
    };
    let (text, separator) = match (name.as_str(), split.as_slice()) {
        ("str.split", [text, separator @ Expr::Literal { .. }]) if matches!(index, Expr::Literal { .. }) => {
            (text, separator)
        }
        _ => return None,
    };
    let mut both = of_split.as_object()?.clone();
    both.extend(options.as_object()?.clone());
    Some((vec![text, separator, index], Json::Object(both)))
}

fn binary(op: BinaryOperator, left: &Operand, right: &Operand, place: &str) -> Result<(Kernel, DataType)> {
    use BinaryOperator as Op;
    match op {
        Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge | Op::EqMissing | Op::NeMissing => {
            comparison::compile(op, left, right, place)
        }
        Op::And | Op::Or | Op::Xor => boolean::compile(op, left, right, place),
        Op::Add | Op::Sub | Op::Mul | Op::TrueDiv | Op::FloorDiv | Op::Mod => {
            arithmetic::compile(op, left, right, place)
        }
    }
}

/// The error for a program with residual parts but nobody to run them.
pub(super) fn no_polars(residuals: &[NamedExpr]) -> EngineError {
    let texts = residuals.iter().map(|residual| residual.expr.to_string()).collect::<Vec<_>>().join(", ");
    EngineError::call(texts, "compiled expressions, as Polars is not attached", "residual ones")
}
