//! Expressions and aggregates of a plan. Names follow Polars (`str.to_lowercase`, `dt.truncate`).
//!
//! A tree is complete: Python rebuilds a `pl.Expr` from it when the engine has no kernel for a function in it
//! ([`Expr::Residual`]). Evaluation is not here (`dataflare-engine::expr`).

use crate::running::Interpolation;
use crate::schema::DataType;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// Two-sided operators. Both sides already have the types that Polars' coercion gave them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BinaryOperator {
    Eq,
    EqMissing,
    Ne,
    NeMissing,
    Lt,
    Le,
    Gt,
    Ge,
    Add,
    Sub,
    Mul,
    /// `/`: Float64 for integers.
    TrueDiv,
    /// `//`: towards minus infinity; integer `// 0` is null.
    FloorDiv,
    /// `%`: takes the divisor's sign; integer `% 0` is null.
    Mod,
    And,
    Or,
    Xor,
}

impl BinaryOperator {
    fn symbol(self) -> &'static str {
        match self {
            Self::Eq => "==",
            Self::EqMissing => "==?",
            Self::Ne => "!=",
            Self::NeMissing => "!=?",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::TrueDiv => "/",
            Self::FloorDiv => "//",
            Self::Mod => "%",
            Self::And => "&",
            Self::Or => "|",
            Self::Xor => "^",
        }
    }
}

/// A row-wise expression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Expr {
    /// A column of the input, by name.
    Column { name: String },
    /// One value for all rows.
    ///
    /// JSON values: numbers, booleans, strings; `"NaN"`, `"inf"`, `"-inf"` for floats; the physical integer for Date
    /// (days), Time (ns), Datetime and Duration (ticks of the unit); decimal text for Decimal; base64 for Binary; an
    /// array for List; an object for Struct; `null`.
    Literal { value: Value, dtype: DataType },
    /// `left op right`.
    Binary { op: BinaryOperator, left: Box<Expr>, right: Box<Expr> },
    /// A cast. Strict: a value that does not fit is a row error; else it becomes null (`wrap`: it wraps).
    Cast {
        input: Box<Expr>,
        dtype: DataType,
        strict: bool,
        #[serde(default)]
        wrap: bool,
    },
    /// `when(predicate).then(then).otherwise(otherwise)`.
    When { predicate: Box<Expr>, then: Box<Expr>, otherwise: Box<Expr> },
    /// A named function; `options` holds its non-column parameters under Polars' parameter names.
    Function {
        name: String,
        args: Vec<Expr>,
        #[serde(default)]
        options: Value,
        dtype: DataType,
    },
    /// A tree that Polars evaluates, batch by batch: it holds a function without a kernel.
    Residual { expr: Box<Expr>, dtype: DataType },
}

impl Expr {
    /// Calls `visit` on each column name below, left to right, repeats included.
    pub fn for_each_column<'a>(&'a self, visit: &mut dyn FnMut(&'a str)) {
        match self {
            Self::Column { name } => visit(name),
            Self::Literal { .. } => {}
            Self::Binary { left, right, .. } => {
                left.for_each_column(visit);
                right.for_each_column(visit);
            }
            Self::Cast { input, .. } => input.for_each_column(visit),
            Self::When { predicate, then, otherwise } => {
                predicate.for_each_column(visit);
                then.for_each_column(visit);
                otherwise.for_each_column(visit);
            }
            Self::Function { args, .. } => args.iter().for_each(|arg| arg.for_each_column(visit)),
            Self::Residual { expr, .. } => expr.for_each_column(visit),
        }
    }

    /// The distinct column names below, in order of first appearance.
    pub fn columns(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        self.for_each_column(&mut |name| {
            if !names.contains(&name) {
                names.push(name);
            }
        });
        names
    }

    /// True if Polars evaluates it.
    pub fn is_residual(&self) -> bool {
        matches!(self, Self::Residual { .. })
    }
}

impl fmt::Display for Expr {
    /// The canonical text: operator identity in checkpoints and messages is built from it, so it changes only on purpose.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Column { name } => write!(f, "col({name})"),
            Self::Literal { value, .. } => write!(f, "{value}"),
            Self::Binary { op, left, right } => write!(f, "({left} {} {right})", op.symbol()),
            Self::Cast { input, dtype, .. } => write!(f, "{input}.cast({dtype})"),
            Self::When { predicate, then, otherwise } => {
                write!(f, "when({predicate}).then({then}).otherwise({otherwise})")
            }
            Self::Function { name, args, options, .. } if name == "list.agg" => {
                let text = options.get("text").and_then(Value::as_str).unwrap_or_default();
                write!(f, "{}.list.agg({text})", args.iter().map(ToString::to_string).collect::<String>())
            }
            Self::Function { name, args, options, .. } => {
                let mut rest = args.iter();
                if let Some(first) = rest.next() {
                    write!(f, "{first}.")?;
                }
                write!(f, "{name}(")?;
                let mut comma = "";
                for arg in rest {
                    write!(f, "{comma}{arg}")?;
                    comma = ", ";
                }
                if let Value::Object(map) = options {
                    for (key, value) in map {
                        write!(f, "{comma}{key}={value}")?;
                        comma = ", ";
                    }
                }
                f.write_str(")")
            }
            Self::Residual { expr, .. } => write!(f, "{expr}"),
        }
    }
}

/// An expression with the name of the column that it makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedExpr {
    pub name: String,
    pub expr: Expr,
}

/// What an aggregate computes of one column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AggregateFunction {
    /// Rows, nulls included; takes no column.
    Len,
    /// Values that are not null.
    Count,
    Sum,
    Mean,
    Min,
    Max,
    First,
    Last,
    NUnique,
    Var,
    Std,
    Skew,
    Kurtosis,
    /// Of the column and one other.
    Cov,
    /// Pearson's, of the column and one other.
    Corr,
    Median,
    Quantile,
    Product,
    BitwiseAnd,
    BitwiseOr,
    BitwiseXor,
    /// The column where another one is least, greatest.
    MinBy,
    MaxBy,
    /// All values as a list, in logical order.
    Implode,
    /// The distinct values as a list, in no order.
    Unique,
    /// The distinct values with how often each occurs: a list of structs, in no order.
    ValueCounts,
    /// The most frequent values as a list, in no order.
    Mode,
}

impl AggregateFunction {
    /// Polars' name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Len => "len",
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
            Self::First => "first",
            Self::Last => "last",
            Self::NUnique => "n_unique",
            Self::Var => "var",
            Self::Std => "std",
            Self::Skew => "skew",
            Self::Kurtosis => "kurtosis",
            Self::Cov => "cov",
            Self::Corr => "corr",
            Self::Median => "median",
            Self::Quantile => "quantile",
            Self::Product => "product",
            Self::BitwiseAnd => "bitwise_and",
            Self::BitwiseOr => "bitwise_or",
            Self::BitwiseXor => "bitwise_xor",
            Self::MinBy => "min_by",
            Self::MaxBy => "max_by",
            Self::Implode => "implode",
            Self::Unique => "unique",
            Self::ValueCounts => "value_counts",
            Self::Mode => "mode",
        }
    }

    /// True if its state grows with the values of a group, so that a merge costs its size.
    pub fn keeps_values(self) -> bool {
        matches!(
            self,
            Self::NUnique
                | Self::Median
                | Self::Quantile
                | Self::Implode
                | Self::Unique
                | Self::ValueCounts
                | Self::Mode
        )
    }
}

/// What an aggregate is told beside its columns; each function reads its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AggregateOptions {
    /// `var`, `std`, `cov`: what is taken off the number of values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ddof: Option<u8>,
    /// `quantile`: between 0 and 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantile: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpolation: Option<Interpolation>,
    /// `skew`, `kurtosis`: false corrects for the size of the sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bias: Option<bool>,
    /// `implode`: false does not ask for logical order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordered: Option<bool>,
    /// `kurtosis`: true takes 3 off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fisher: Option<bool>,
}

/// One aggregate of a group: a function over a column of the input, of all rows or those where `filter` is true.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Aggregate {
    /// The output column.
    pub name: String,
    pub function: AggregateFunction,
    /// The input column; `None` only for `len`.
    pub column: Option<String>,
    /// The second input column of `min_by`, `max_by`, `cov`, `corr`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<String>,
    #[serde(default)]
    pub options: AggregateOptions,
    /// A Boolean input column; rows where it is false or null do not count.
    #[serde(default)]
    pub filter: Option<String>,
    /// Canonical text of the user's expression: what a restore matches state by, and what messages show.
    pub text: String,
    /// The type of the output column (Polars' type; a counter that overflows it is an error, never a wrap).
    pub dtype: DataType,
}

impl Aggregate {
    /// True if the answer depends on the logical order of rows.
    pub fn needs_order(&self) -> bool {
        use AggregateFunction::{First, Implode, Last, MaxBy, MinBy};
        match self.function {
            First | Last | MinBy | MaxBy => true,
            Implode => self.options.ordered != Some(false),
            _ => false,
        }
    }
}
