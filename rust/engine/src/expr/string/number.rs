//! Texts read as numbers: `to_integer`. A text that is none is null, or a row error if the call is strict.
//!
//! Not here: casts of texts (`cast.rs`). Called by the table in `string/mod.rs`.

use super::of_strings;
use crate::error::{EngineError, Result};
use crate::expr::value::{Call, Kernel, Rows, Value, strings, with_integer};
use arrow::array::{Array, ArrowPrimitiveType, PrimitiveArray};
use std::sync::Arc;

pub(super) fn to_integer(call: &Call<'_>) -> Result<Kernel> {
    of_strings(call)?;
    let base = call.integer(1)?.and_then(|base| u32::try_from(base).ok());
    let base = base.filter(|base| (2..=36).contains(base)).ok_or_else(|| call.no_kernel())?;
    let strict = call.flag("strict");
    Ok(with_integer!(call.dtype, T => kernel::<T>(base, strict), return Err(call.no_kernel())))
}

fn kernel<T: ArrowPrimitiveType>(base: u32, strict: bool) -> Kernel
where
    T::Native: TryFrom<i64>,
{
    Box::new(move |args: &[Value], rows: &mut Rows<'_, '_>| {
        let Some(texts) = args.first() else {
            return Err(EngineError::internal("str.to_integer", "expected an argument"));
        };
        let texts = strings(texts.array())?;
        let numbers: PrimitiveArray<T> = texts
            .iter()
            .map(|text| i64::from_str_radix(text?, base).ok().and_then(|number| number.try_into().ok()))
            .collect();
        if strict && numbers.null_count() > texts.null_count() {
            for (row, text) in texts.iter().enumerate() {
                if let (Some(text), true) = (text, numbers.is_null(row)) {
                    let message = format!("{text:?} is no {} in base {base}", T::DATA_TYPE);
                    rows.fail(row, "str.to_integer", message);
                }
            }
        }
        Ok(Arc::new(numbers))
    })
}
