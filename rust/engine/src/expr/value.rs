//! What kernels take and give: columns, constants, and the place for errors of single rows.
//!
//! Not here: kernels themselves. Used by every family of `expr`.

use crate::error::{EngineError, Result, RowError, RowErrors};
use crate::types::arrow_type;
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray, StringViewArray, UInt32Array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::DataType as Arrow;
use arrow::record_batch::RecordBatch;
use dataflare_plan::DataType;
use serde_json::Value as Json;

/// An argument of a kernel: one value per row, or one value for all rows.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Column(ArrayRef),
    /// An array of length one.
    Constant(ArrayRef),
}

impl Value {
    pub(super) fn array(&self) -> &ArrayRef {
        match self {
            Self::Column(array) | Self::Constant(array) => array,
        }
    }

    /// True for a constant that is null.
    pub(super) fn is_null_constant(&self) -> bool {
        matches!(self, Self::Constant(array) if array.is_null(0) || *array.data_type() == Arrow::Null)
    }

    /// The integers behind times ([`to_physical`]).
    pub(super) fn to_physical(&self) -> Result<Self> {
        Ok(match self {
            Self::Column(array) => Self::Column(to_physical(array)?),
            Self::Constant(array) => Self::Constant(to_physical(array)?),
        })
    }

    /// The same values as a column of `rows` rows.
    pub(super) fn into_column(self, rows: usize) -> Result<ArrayRef> {
        match self {
            Self::Column(array) => Ok(array),
            Self::Constant(array) => Ok(take(&array, &UInt32Array::from(vec![0; rows]), None)?),
        }
    }
}

/// Computes one array from the arguments. At least one of them is a column; the answer is as long as the columns are.
pub(super) type Kernel = Box<dyn Fn(&[Value], &mut Rows<'_, '_>) -> Result<ArrayRef> + Send + Sync>;

/// An argument as the compiler knows it.
#[derive(Clone, Debug)]
pub(super) struct Operand {
    pub(super) dtype: DataType,
    /// The value of a constant, of length one.
    pub(super) constant: Option<ArrayRef>,
}

/// A call of a function to compile.
pub(super) struct Call<'a> {
    pub(super) args: &'a [Operand],
    pub(super) options: &'a Json,
    /// The type that Polars gave the answer.
    pub(super) dtype: &'a DataType,
    /// The user's expression.
    pub(super) place: &'a str,
}

impl<'a> Call<'a> {
    /// The error for a call that has no kernel: the planner leaves it to Polars.
    pub(super) fn no_kernel(&self) -> EngineError {
        let types = self.args.iter().map(|arg| arg.dtype.to_string()).collect::<Vec<_>>().join(", ");
        no_kernel(self.place, &types)
    }

    /// The arguments, if there are `N` of them.
    pub(super) fn args<const N: usize>(&self) -> Result<&'a [Operand; N]> {
        self.args.try_into().map_err(|_| self.no_kernel())
    }

    /// An option that is true, false or missing.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.options.get(name).and_then(Json::as_bool).unwrap_or(false)
    }

    /// True if there is any option.
    pub(super) fn has_options(&self) -> bool {
        self.options.as_object().is_some_and(|options| !options.is_empty())
    }

    /// A constant integer of any type; `None` if it is null.
    pub(super) fn integer(&self, index: usize) -> Result<Option<i64>> {
        let arg = self.args.get(index).ok_or_else(|| self.no_kernel())?;
        let constant = arg.constant.as_ref().ok_or_else(|| self.no_kernel())?;
        if arg.dtype == DataType::Null {
            return Ok(None);
        }
        let value: Option<i128> = with_integer!(&arg.dtype, T => {
            primitive::<T>(constant)?.iter().next().flatten().map(i128::from)
        }, return Err(self.no_kernel()));
        value.map(|value| i64::try_from(value).map_err(|_| self.no_kernel())).transpose()
    }

    /// An option that is text.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.options.get(name).and_then(Json::as_str)
    }
}

/// See [`Call::no_kernel`].
pub(super) fn no_kernel(place: &str, types: &str) -> EngineError {
    EngineError::call(
        place,
        "an expression that has a kernel, or a residual one",
        format!("no kernel for ({types})"),
    )
}

/// What one evaluation reads, and where it notes rows that fail.
pub(super) struct Inputs<'a> {
    pub(super) batch: &'a RecordBatch,
    pub(super) residuals: &'a [ArrayRef],
    /// Answers that stand in several places, once they are known.
    pub(super) shared: Vec<Option<Value>>,
    pub(super) errors: &'a mut RowErrors,
}

impl<'a> Inputs<'a> {
    pub(super) fn new(
        batch: &'a RecordBatch,
        residuals: &'a [ArrayRef],
        shared: usize,
        errors: &'a mut RowErrors,
    ) -> Self {
        Self { batch, residuals, shared: vec![None; shared], errors }
    }
}

/// The rows that a kernel works on.
pub(super) struct Rows<'a, 'e> {
    pub(super) count: usize,
    place: &'a str,
    errors: &'e mut RowErrors,
}

impl<'a, 'e> Rows<'a, 'e> {
    pub(super) fn new(count: usize, place: &'a str, errors: &'e mut RowErrors) -> Self {
        Self { count, place, errors }
    }

    /// Notes that a row cannot be computed. The kernel answers null there.
    pub(super) fn fail(&mut self, row: usize, code: &'static str, message: String) {
        self.errors.push(RowError { row, code, place: self.place.to_owned(), message });
    }
}

/// The array as primitives of `T`.
pub(super) fn primitive<T: ArrowPrimitiveType>(array: &ArrayRef) -> Result<&PrimitiveArray<T>> {
    array.as_primitive_opt::<T>().ok_or_else(|| wrong_type(array, &T::DATA_TYPE.to_string()))
}

/// The array as booleans.
pub(super) fn boolean(array: &ArrayRef) -> Result<&BooleanArray> {
    array.as_boolean_opt().ok_or_else(|| wrong_type(array, "Boolean"))
}

/// The array as strings.
pub(super) fn strings(array: &ArrayRef) -> Result<&StringViewArray> {
    array.as_string_view_opt().ok_or_else(|| wrong_type(array, "Utf8View"))
}

fn wrong_type(array: &ArrayRef, expected: &str) -> EngineError {
    EngineError::internal("a kernel", format!("expected an array of {expected}, got {}", array.data_type()))
}

/// The integers that hold a date, time, datetime or duration; other arrays as they are. No copy.
pub(super) fn to_physical(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        Arrow::Date32 => retype(array, Arrow::Int32),
        Arrow::Timestamp(..) | Arrow::Duration(_) | Arrow::Time64(_) => retype(array, Arrow::Int64),
        _ => Ok(array.clone()),
    }
}

/// The type of [`to_physical`].
pub(super) fn physical_type(dtype: &DataType) -> DataType {
    match dtype {
        DataType::Date => DataType::Int32,
        DataType::Time | DataType::Datetime { .. } | DataType::Duration { .. } => DataType::Int64,
        other => other.clone(),
    }
}

/// The same buffers under another type of the same width. No copy.
pub(super) fn retype(array: &ArrayRef, to: Arrow) -> Result<ArrayRef> {
    if *array.data_type() == to {
        return Ok(array.clone());
    }
    let data = array.to_data().into_builder().data_type(to).build()?;
    Ok(arrow::array::make_array(data))
}

/// As [`retype`], with a plan type.
pub(super) fn to_logical(array: &ArrayRef, dtype: &DataType) -> Result<ArrayRef> {
    retype(array, arrow_type(dtype))
}

/// Rows that are valid in both: `None` when all are.
pub(super) fn valid_in_both(left: &ArrayRef, right: &ArrayRef) -> Option<NullBuffer> {
    NullBuffer::union(left.nulls(), right.nulls())
}

/// Runs `$body` with `$T` bound to the Arrow type of an integer or float plan type; else `$otherwise`.
macro_rules! with_number {
    ($dtype:expr, $T:ident => $body:expr, $otherwise:expr) => {
        $crate::expr::value::with_integer!($dtype, $T => $body, match $dtype {
            dataflare_plan::DataType::Float32 => { type $T = arrow::datatypes::Float32Type; $body }
            dataflare_plan::DataType::Float64 => { type $T = arrow::datatypes::Float64Type; $body }
            _ => $otherwise,
        })
    };
}
pub(super) use with_number;

/// Runs `$body` with `$T` bound to the Arrow type of an integer plan type; else `$otherwise`.
macro_rules! with_integer {
    ($dtype:expr, $T:ident => $body:expr, $otherwise:expr) => {
        match $dtype {
            dataflare_plan::DataType::Int8 => {
                type $T = arrow::datatypes::Int8Type;
                $body
            }
            dataflare_plan::DataType::Int16 => {
                type $T = arrow::datatypes::Int16Type;
                $body
            }
            dataflare_plan::DataType::Int32 => {
                type $T = arrow::datatypes::Int32Type;
                $body
            }
            dataflare_plan::DataType::Int64 => {
                type $T = arrow::datatypes::Int64Type;
                $body
            }
            dataflare_plan::DataType::UInt8 => {
                type $T = arrow::datatypes::UInt8Type;
                $body
            }
            dataflare_plan::DataType::UInt16 => {
                type $T = arrow::datatypes::UInt16Type;
                $body
            }
            dataflare_plan::DataType::UInt32 => {
                type $T = arrow::datatypes::UInt32Type;
                $body
            }
            dataflare_plan::DataType::UInt64 => {
                type $T = arrow::datatypes::UInt64Type;
                $body
            }
            _ => $otherwise,
        }
    };
}
pub(super) use with_integer;
