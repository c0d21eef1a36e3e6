//! `map_native`: a user's compiled function over whole batches, called without the GIL.
//!
//! In: batches of any kind. Out: the function's columns, row for row; hidden columns stand behind them.
//! Not here: how a function is made or kept alive (`cython_ext/dataflare_udf.h` states the contract; `rust/py` holds the
//! capsule). Event time ends here: the function may change the column.
//! Forwards: nothing but the end. State: none.
//! Cost: no copy on the way in or out, except to realign foreign buffers. When a batch fails it is called again row by
//! row, so that the message names the row.

use super::logical_order::{is_hidden, without_hidden};
use super::{Flow, Input, Operator, Output};
use crate::error::{EngineError, Result};
use crate::event::Batch;
use crate::time::Timestamp;
use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi, to_ffi};
use std::any::Any;
use std::ffi::{c_char, c_int, c_void};
use std::ptr::NonNull;
use std::sync::Arc;

const ABI_VERSION: u32 = 1;
const ERROR_BYTES: usize = 1_024;
// <errno.h>: the two codes that the contract names have these values on every platform we build for.
const ENOMEM: c_int = 12;
const EINVAL: c_int = 22;

/// `struct dff_udf` of `dataflare_udf.h`, field by field.
#[repr(C)]
#[derive(Debug)]
pub struct NativeUdf {
    pub abi_version: u32,
    pub flags: u32,
    pub call: Option<
        unsafe extern "C" fn(
            *mut NativeUdf,
            *mut FFI_ArrowSchema,
            *mut FFI_ArrowArray,
            *mut FFI_ArrowArray,
            *mut c_char,
            usize,
        ) -> c_int,
    >,
    pub release: Option<unsafe extern "C" fn(*mut NativeUdf)>,
    pub private_data: *mut c_void,
}

/// A function that workers can call; clones share it.
#[derive(Clone, Debug)]
pub struct NativeFunction {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    udf: NonNull<NativeUdf>,
    /// Keeps `udf` alive.
    _owner: Box<dyn Any + Send + Sync>,
}

// SAFETY: the contract of `dataflare_udf.h` lets `call` run on any thread, several at once; nothing else is touched, and
// `owner` is Send and Sync itself.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl NativeFunction {
    /// `text`: how messages call it.
    ///
    /// # Errors
    /// [`EngineError::Call`]: made for another version of the contract, or without a function.
    ///
    /// # Safety
    /// `udf` points to a struct that keeps the contract and stays valid while `owner` lives.
    pub unsafe fn new(
        udf: NonNull<NativeUdf>,
        owner: Box<dyn Any + Send + Sync>,
        text: &str,
    ) -> Result<Self> {
        let refuse = |expected: String, found: String| Err(EngineError::call(place(text), expected, found));
        // SAFETY: the caller promises that it points to a valid struct.
        let (version, flags, call) =
            unsafe { (udf.as_ref().abi_version, udf.as_ref().flags, udf.as_ref().call) };
        if version != ABI_VERSION {
            return refuse(format!("a function of ABI version {ABI_VERSION}"), format!("version {version}"));
        }
        if flags != 0 || call.is_none() {
            return refuse("a function without unknown flags".into(), format!("flags {flags:#x}"));
        }
        Ok(Self { shared: Arc::new(Shared { udf, _owner: owner }) })
    }

    /// One call. The user's columns only.
    fn call(&self, records: &RecordBatch) -> Result<RecordBatch, Failure> {
        let data = StructArray::from(records.clone()).into_data();
        let (mut array, mut schema) = to_ffi(&data).map_err(|error| Failure::bug(&error))?;
        let mut result = FFI_ArrowArray::empty();
        let mut text = [0_u8; ERROR_BYTES];
        let udf = self.shared.udf;
        // SAFETY: `new` was promised a struct that is valid while its owner lives, and `shared` holds the owner.
        let Some(call) = (unsafe { udf.as_ref().call }) else {
            return Err(Failure::bug(&"the function is gone"));
        };
        // SAFETY: as the contract asks: `schema` and `array` describe one batch and are owned here before and after;
        // `result` may be overwritten; `text` has the stated size. The struct is not changed while calls run.
        let code = unsafe {
            call(
                udf.as_ptr(),
                &raw mut schema,
                &raw mut array,
                &raw mut result,
                text.as_mut_ptr().cast(),
                ERROR_BYTES,
            )
        };
        if code != 0 {
            let end = text.iter().position(|byte| *byte == 0).unwrap_or(ERROR_BYTES);
            let text = String::from_utf8_lossy(text.get(..end).unwrap_or_default()).into_owned();
            return Err(Failure { code, text });
        }
        // SAFETY: after success the function has written an array and its description, both owned here.
        let mut data = unsafe { from_ffi(result, &schema) }.map_err(|error| Failure::query(&error))?;
        data.align_buffers();
        data.validate().map_err(|error| Failure::query(&error))?;
        if !matches!(data.data_type(), DataType::Struct(_)) || data.null_count() > 0 {
            return Err(Failure::query(&"its result is no struct array without nulls of its own"));
        }
        if data.len() != records.num_rows() {
            let found = format!("{} rows came back for {}", data.len(), records.num_rows());
            return Err(Failure::query(&found));
        }
        Ok(RecordBatch::from(StructArray::from(data)))
    }
}

/// What a function says of a failed call.
#[derive(Debug)]
struct Failure {
    code: c_int,
    text: String,
}

impl Failure {
    fn query(text: &dyn ToString) -> Self {
        Self { code: EINVAL, text: text.to_string() }
    }

    fn bug(text: &dyn ToString) -> Self {
        Self { code: 0, text: text.to_string() }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Native {
    function: NativeFunction,
    /// As the query wrote it.
    text: String,
    output: SchemaRef,
}

impl Native {
    /// `output`: the columns that the query declared.
    pub fn new(function: NativeFunction, text: impl Into<String>, output: SchemaRef) -> Self {
        Self { function, text: text.into(), output }
    }

    fn explain(&self, failure: Failure, records: &RecordBatch) -> EngineError {
        match failure.code {
            0 => EngineError::internal(place(&self.text), failure.text),
            EINVAL => EngineError::call(place(&self.text), "a call that the function accepts", failure.text),
            ENOMEM => EngineError::unavailable(format!("memory for {}", place(&self.text)), failure.text),
            _ => {
                let rows = 0..records.num_rows();
                let alone =
                    |row: usize| self.function.call(&records.slice(row, 1)).err().map(|one| (row, one.text));
                let (row, reason) = rows.into_iter().find_map(alone).unwrap_or((0, failure.text));
                EngineError::Data { place: place(&self.text), row: row as u64, reason }
            }
        }
    }

    /// The declared columns, in the engine's own form of strings and lists.
    fn declared(&self, result: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let found = result.schema();
        let describe = |fields: &[FieldRef]| {
            let columns = fields.iter().map(|field| format!("{} {}", field.name(), field.data_type()));
            columns.collect::<Vec<_>>().join(", ")
        };
        let wrong = || {
            let (expected, got) = (describe(self.output.fields()), describe(found.fields()));
            EngineError::call(
                place(&self.text),
                format!("the declared columns ({expected})"),
                format!("({got})"),
            )
        };
        if found.fields().len() != self.output.fields().len() {
            return Err(wrong());
        }
        let pairs = self.output.fields().iter().zip(found.fields()).zip(result.columns());
        let columns = pairs.map(|((declared, got), column)| {
            if declared.name() != got.name() {
                return Err(wrong());
            }
            match (declared.data_type(), got.data_type()) {
                (declared, got) if declared == got => Ok(Arc::clone(column)),
                (DataType::Utf8View, DataType::Utf8 | DataType::LargeUtf8)
                | (DataType::BinaryView, DataType::Binary | DataType::LargeBinary) => {
                    Ok(cast(column, declared.data_type())?)
                }
                _ => Err(wrong()),
            }
        });
        columns.collect()
    }
}

impl Operator for Native {
    fn on_batch(&mut self, _input: Input, batch: Batch, out: &mut Output) -> Result<Flow> {
        let shown = without_hidden(&batch.records)?;
        let result = self.function.call(&shown).map_err(|failure| self.explain(failure, &shown))?;
        let mut columns = self.declared(&result)?;
        let mut fields: Vec<FieldRef> = self.output.fields().iter().cloned().collect();
        for (field, column) in batch.records.schema().fields().iter().zip(batch.records.columns()) {
            if is_hidden(field) {
                fields.push(Arc::clone(field));
                columns.push(Arc::clone(column));
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.rows()));
        let records = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?;
        out.push(batch.with_records(records));
        Ok(Flow::Ready)
    }

    fn on_watermark(
        &mut self,
        _: Input,
        combined: Timestamp,
        _: Timestamp,
        out: &mut Output,
    ) -> Result<Flow> {
        if combined == Timestamp::MAX {
            out.watermark(combined);
        }
        Ok(Flow::Ready)
    }
}

fn place(text: &str) -> String {
    format!("map_native '{text}'")
}

#[cfg(test)]
mod tests {
    use super::{EINVAL, ENOMEM, Native, NativeFunction, NativeUdf};
    use crate::error::EngineError;
    use crate::event::POSITION;
    use crate::operators::{Operator, Output};
    use crate::testing::{Harness, batch, placed};
    use crate::types::arrow_schema;
    use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StructArray};
    use arrow::datatypes::Int64Type;
    use arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi, to_ffi};
    use dataflare_plan::{DataType, Field};
    use std::ffi::{c_char, c_int};
    use std::ptr::NonNull;
    use std::sync::Arc;

    /// Doubles the first column under the name `twice`; fails with the code in `private_data` where a value is negative.
    unsafe extern "C" fn double(
        udf: *mut NativeUdf,
        schema: *mut FFI_ArrowSchema,
        array: *mut FFI_ArrowArray,
        out: *mut FFI_ArrowArray,
        error: *mut c_char,
        _error_bytes: usize,
    ) -> c_int {
        // SAFETY: the pointers are those of the contract.
        unsafe {
            let data = from_ffi(std::ptr::replace(array, FFI_ArrowArray::empty()), &*schema).unwrap();
            let input = StructArray::from(data);
            let values = input.column(0).as_primitive::<Int64Type>().clone();
            if values.iter().flatten().any(|value| value < 0) {
                std::ptr::copy_nonoverlapping(c"a negative value".as_ptr(), error, 17);
                return (*udf).private_data as usize as c_int;
            }
            let twice: ArrayRef = Arc::new(values.unary::<_, Int64Type>(|value| value * 2));
            let result = RecordBatch::try_from_iter_with_nullable([("twice", twice, true)]).unwrap();
            let (new_array, new_schema) = to_ffi(&StructArray::from(result).into_data()).unwrap();
            std::ptr::write(out, new_array);
            *schema = new_schema;
            0
        }
    }

    fn native(code: c_int, output: &str, version: u32) -> Result<Native, EngineError> {
        let private_data = code as usize as *mut std::ffi::c_void;
        let udf =
            NativeUdf { abi_version: version, flags: 0, call: Some(double), release: None, private_data };
        let udf = NonNull::from(Box::leak(Box::new(udf)));
        // SAFETY: the struct is never freed.
        let function = unsafe { NativeFunction::new(udf, Box::new(()), "double") }?;
        let output = arrow_schema(&[Field { name: output.into(), dtype: DataType::Int64 }]);
        Ok(Native::new(function, "double", output))
    }

    fn error(code: c_int, output: &str, values: Vec<Option<i64>>) -> String {
        let mut operator = native(code, output, 1).unwrap();
        operator.on_batch(0, batch([("a", values)]), &mut Output::default()).unwrap_err().to_string()
    }

    #[test]
    fn function_gets_the_columns_and_hidden_ones_stay() {
        let mut operator = Harness::new(native(5, "twice", 1).unwrap());
        operator.push(placed(2, 7, [("a", vec![1, 2]), (POSITION, vec![10, 11])]));
        let out = operator.take_from(0).remove(0);
        assert_eq!(out.order.unwrap().sequence, 7);
        assert_eq!(
            out.records.column_by_name("twice").unwrap().as_ref(),
            &Int64Array::from(vec![2, 4]) as &dyn Array
        );
        assert_eq!(out.records.column_by_name(POSITION).unwrap().len(), 2);
    }

    #[test]
    fn batch_without_rows_goes_through() {
        let mut operator = Harness::new(native(5, "twice", 1).unwrap());
        operator.push(batch([("a", vec![])]));
        assert_eq!(operator.take_from(0)[0].rows(), 0);
    }

    #[test]
    fn failure_of_the_data_names_the_row() {
        let message = error(5, "twice", vec![Some(1), None, Some(-3), Some(-4)]);
        assert_eq!(message, "map_native 'double', row 2: a negative value");
    }

    #[test]
    fn failure_of_the_query_and_of_memory_are_told_apart() {
        assert!(error(EINVAL, "twice", vec![Some(-1)]).contains("expected a call that the function accepts"));
        assert!(
            error(ENOMEM, "twice", vec![Some(-1)]).contains("memory for map_native 'double' is unavailable")
        );
    }

    #[test]
    fn other_columns_than_declared_are_refused() {
        let message = error(5, "thrice", vec![Some(1)]);
        assert_eq!(
            message,
            "map_native 'double': expected the declared columns (thrice Int64), got (twice Int64)"
        );
    }

    #[test]
    fn other_version_of_the_contract_is_refused() {
        assert!(native(5, "twice", 2).unwrap_err().to_string().contains("ABI version 1, got version 2"));
    }
}
