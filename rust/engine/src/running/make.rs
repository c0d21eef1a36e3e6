//! The running function of a plan: by its kind and the type of its column.

use super::Running;
use super::carried::{First, ForwardFill, RunNumber};
use super::cells::{Counts, Floats, Integers, Wide, Words};
use super::count::{Count, Presence};
use super::distinct::FirstDistinct;
use super::ewm::{EwmMean, EwmMeanBy};
use super::extreme::Extreme;
use super::folds::{self, Nan};
use super::moments::Moments;
use super::quantile::Quantile;
use super::rolling::{Frame, Rolling, counters};
use super::shift::Shift;
use super::stepwise::Stepwise;
use super::sum;
use crate::aggregate::rows::RowType;
use crate::aggregate::words::WordType;
use crate::error::{EngineError, Result};
use crate::types::arrow_type;
use crate::window::span::Span;
use dataflare_plan::{DataType, Fold, RollingFrame, Running as Kind, RunningFunction};

/// `input`: the type of its column; `time`: that of the event time.
///
/// # Errors
/// [`EngineError::Call`]: a function that its column's type does not have.
pub fn function(
    one: &RunningFunction,
    input: Option<&DataType>,
    time: Option<&DataType>,
) -> Result<Box<dyn Running>> {
    let output = arrow_type(&one.dtype);
    let numbers = Integers(output.clone());
    let floats = Floats(output.clone());
    let is_float = one.dtype.is_float();
    let column = || input.ok_or_else(|| EngineError::internal(&one.text, "it has no column"));
    let refuse = |dtype: &DataType| {
        EngineError::call(
            &one.text,
            format!("a column of a type that has {}", one.function.name()),
            dtype.to_string(),
        )
    };
    if let Kind::CumSum | Kind::CumProd | Kind::EwmMean { .. } | Kind::EwmMeanBy { .. } = one.function
        && !is_number(column()?)
    {
        return Err(refuse(column()?));
    }
    Ok(match &one.function {
        Kind::CumSum if is_float => Stepwise::boxed(sum::FloatSum { output: floats }),
        Kind::CumSum => Stepwise::boxed(sum::IntegerSum { output: numbers }),
        Kind::CumProd if is_float => Stepwise::boxed(sum::FloatProduct { output: floats }),
        Kind::CumProd => Stepwise::boxed(sum::IntegerProduct { output: numbers }),
        Kind::CumMin | Kind::CumMax => {
            let is_max = one.function == Kind::CumMax;
            match WordType::of(column()?) {
                Some(words) => Stepwise::boxed(Extreme::of_words(Words(words), is_max)),
                None => Stepwise::boxed(Extreme { cells: wide(column()?)?, is_max, nan: None }),
            }
        }
        Kind::CumCount => {
            Stepwise::boxed(Count { input: Presence, output: Counts(output), of_values: true, start: 0 })
        }
        Kind::RowNumber { start } => Stepwise::boxed(Count {
            input: Presence,
            output: Counts(output),
            of_values: false,
            start: *start,
        }),
        Kind::Shift { rows } => {
            let rows = usize::try_from(*rows).unwrap_or(usize::MAX);
            match WordType::of(column()?) {
                Some(words) => Shift::boxed(Words(words), rows),
                None => Shift::boxed(wide(column()?)?, rows),
            }
        }
        Kind::ForwardFill { limit } => match WordType::of(column()?) {
            Some(words) => Stepwise::boxed(ForwardFill { cells: Words(words), limit: *limit }),
            None => Stepwise::boxed(ForwardFill { cells: wide(column()?)?, limit: *limit }),
        },
        Kind::First => match WordType::of(column()?) {
            Some(words) => Stepwise::boxed(First { cells: Words(words) }),
            None => Stepwise::boxed(First { cells: wide(column()?)? }),
        },
        Kind::IsFirstDistinct => match WordType::of(column()?) {
            Some(words) => FirstDistinct::boxed(Words(words)),
            None => FirstDistinct::boxed(wide(column()?)?),
        },
        Kind::RleId => match WordType::of(column()?) {
            Some(words) => Stepwise::boxed(RunNumber { cells: Words(words), output: numbers }),
            None => Stepwise::boxed(RunNumber { cells: wide(column()?)?, output: numbers }),
        },
        Kind::EwmMean { alpha, adjust, ignore_nulls, min_samples } => Stepwise::boxed(EwmMean {
            cells: floats,
            alpha: *alpha,
            adjust: *adjust,
            ignore_nulls: *ignore_nulls,
            min_samples: i64::try_from(*min_samples).unwrap_or(i64::MAX),
        }),
        Kind::EwmMeanBy { half_life } => {
            let unit_ns = match time {
                Some(DataType::Datetime { unit, .. }) => unit.nanoseconds(),
                Some(DataType::Date) => 86_400_000_000_000,
                _ => 1,
            };
            let half_life = half_life.fixed().unwrap_or(0) / unit_ns;
            if half_life <= 0 {
                return Err(EngineError::call(&one.text, "a half life of at least one tick", "none"));
            }
            Stepwise::boxed(EwmMeanBy { cells: floats, half_life })
        }
        Kind::Rolling { fold, frame, min_samples } => {
            let frame = match frame {
                RollingFrame::Rows(rows) => Frame::Rows(usize::try_from(*rows).unwrap_or(usize::MAX)),
                RollingFrame::Time { period, closed } => {
                    let time =
                        time.ok_or_else(|| EngineError::internal(&one.text, "its input has no event time"))?;
                    Frame::Time(Span::new(period, *closed, time)?)
                }
            };
            let samples = usize::try_from(*min_samples).unwrap_or(usize::MAX);
            rolling(*fold, frame, samples, input, &one.dtype).ok_or_else(|| match input {
                Some(dtype) => refuse(dtype),
                None => EngineError::internal(&one.text, "it has no column"),
            })?
        }
    })
}

fn is_number(dtype: &DataType) -> bool {
    dtype.is_integer() || dtype.is_float() || matches!(dtype, DataType::Boolean | DataType::Duration { .. })
}

fn wide(dtype: &DataType) -> Result<Wide> {
    Ok(Wide(RowType::of(dtype)?))
}

fn rolling(
    fold: Fold,
    frame: Frame,
    samples: usize,
    input: Option<&DataType>,
    output: &DataType,
) -> Option<Box<dyn Running>> {
    let arrow = arrow_type(output);
    let words = || input.and_then(WordType::of);
    let rows = || input.and_then(|dtype| wide(dtype).ok());
    Some(match fold {
        Fold::Len | Fold::Count => {
            let of_values = fold == Fold::Count;
            Rolling::boxed(
                folds::Count { input: Presence, output: counters(&arrow), of_values },
                frame,
                samples,
            )
        }
        Fold::Sum if output.is_float() => {
            Rolling::boxed(folds::FloatSum { output: Floats(arrow), is_mean: false }, frame, samples)
        }
        Fold::Sum if is_number(input?) => {
            Rolling::boxed(folds::IntegerSum { output: Integers(arrow) }, frame, samples)
        }
        Fold::Mean if output.is_float() && is_number(input?) => {
            Rolling::boxed(folds::FloatSum { output: Floats(arrow), is_mean: true }, frame, samples)
        }
        Fold::Var { ddof } | Fold::Std { ddof } if output.is_float() && is_number(input?) => {
            let is_std = matches!(fold, Fold::Std { .. });
            Rolling::boxed(Moments { cells: Floats(arrow), ddof: usize::from(ddof), is_std }, frame, samples)
        }
        Fold::Quantile { quantile, interpolation }
            if output.is_float() && input == Some(&DataType::Float64) =>
        {
            let input = Words(words()?);
            Rolling::boxed(Quantile { input, output: Floats(arrow), quantile, interpolation }, frame, samples)
        }
        Fold::Min | Fold::Max | Fold::MinOrNan | Fold::MaxOrNan => {
            let is_max = matches!(fold, Fold::Max | Fold::MaxOrNan);
            let rule = if matches!(fold, Fold::Min | Fold::Max) { Nan::GivesWay } else { Nan::Wins };
            match words() {
                Some(words) => {
                    let nan = words.nan().map(|nan| (nan, rule));
                    Rolling::boxed(folds::Extreme { cells: Words(words), is_max, nan }, frame, samples)
                }
                None => Rolling::boxed(folds::Extreme { cells: rows()?, is_max, nan: None }, frame, samples),
            }
        }
        Fold::First | Fold::Last => {
            let is_last = fold == Fold::Last;
            match words() {
                Some(words) => Rolling::boxed(folds::End { cells: Words(words), is_last }, frame, samples),
                None => Rolling::boxed(folds::End { cells: rows()?, is_last }, frame, samples),
            }
        }
        Fold::NUnique => match words() {
            Some(words) => Rolling::boxed(
                folds::Distinct { input: Words(words), output: counters(&arrow) },
                frame,
                samples,
            ),
            None => {
                Rolling::boxed(folds::Distinct { input: rows()?, output: counters(&arrow) }, frame, samples)
            }
        },
        _ => return None,
    })
}
