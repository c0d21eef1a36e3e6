//! Running functions of a plan: what each needs of the earlier rows of its key. Names follow Polars.
//!
//! Evaluation is not here (`dataflare-engine::running`).

use crate::duration::Duration;
use crate::node::Closed;
use crate::schema::DataType;
use serde::{Deserialize, Serialize};

/// One running function over a column of the input, or of an earlier function of the same node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunningFunction {
    /// The output column.
    pub name: String,
    pub function: Running,
    /// The column it reads; `None` for `row_number` and `len`.
    #[serde(default)]
    pub column: Option<String>,
    /// Of windows in time: a Boolean column; rows where it is false or null do not count.
    #[serde(default)]
    pub filter: Option<String>,
    /// Of `shift`: the column that stands where the key has no earlier row.
    #[serde(default)]
    pub fill: Option<String>,
    /// Canonical text of the user's expression: what a restore matches state by, and what messages show.
    pub text: String,
    pub dtype: DataType,
}

/// What a running function computes. JSON: `{"kind": "shift", "rows": 2}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Running {
    CumSum,
    CumProd,
    CumMin,
    CumMax,
    /// Values that are not null.
    CumCount,
    /// `start`, `start + 1`, …: `int_range(start, start + pl.len())`.
    RowNumber {
        start: i64,
    },
    /// The value so many rows before.
    Shift {
        rows: u64,
    },
    ForwardFill {
        limit: Option<u64>,
    },
    /// The value of the key's first row.
    First,
    IsFirstDistinct,
    RleId,
    EwmMean {
        alpha: f64,
        adjust: bool,
        ignore_nulls: bool,
        min_samples: u64,
    },
    /// By event time.
    EwmMeanBy {
        half_life: Duration,
    },
    /// An aggregate of a window that ends at the row. With fewer than `min_samples` values it is null.
    Rolling {
        fold: Fold,
        frame: RollingFrame,
        min_samples: u64,
    },
}

/// The aggregate of a window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fold {
    Len,
    Count,
    Sum,
    Mean,
    Min,
    Max,
    /// As `min` and `max`, but a NaN in the window is the answer.
    MinOrNan,
    MaxOrNan,
    Var {
        ddof: u8,
    },
    Std {
        ddof: u8,
    },
    Quantile {
        quantile: f64,
        interpolation: Interpolation,
    },
    First,
    Last,
    NUnique,
}

/// Which value a quantile between two values is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    Nearest,
    Lower,
    Higher,
    Midpoint,
    Linear,
    Equiprobable,
}

/// Which rows of the key a window holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RollingFrame {
    /// The row and those before it, so many in all.
    Rows(u64),
    /// The rows of the last period in event time.
    Time { period: Duration, closed: Closed },
}

impl Fold {
    fn needs_order(self) -> bool {
        matches!(self, Self::First | Self::Last)
    }
}

impl Running {
    /// One word, as the JSON tag.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CumSum => "cum_sum",
            Self::CumProd => "cum_prod",
            Self::CumMin => "cum_min",
            Self::CumMax => "cum_max",
            Self::CumCount => "cum_count",
            Self::RowNumber { .. } => "row_number",
            Self::Shift { .. } => "shift",
            Self::ForwardFill { .. } => "forward_fill",
            Self::First => "first",
            Self::IsFirstDistinct => "is_first_distinct",
            Self::RleId => "rle_id",
            Self::EwmMean { .. } => "ewm_mean",
            Self::EwmMeanBy { .. } => "ewm_mean_by",
            Self::Rolling { .. } => "rolling",
        }
    }

    /// True if what it remembers of a key ends when the watermark has passed a period.
    pub fn is_by_period(&self) -> bool {
        matches!(self, Self::Rolling { frame: RollingFrame::Time { .. }, .. })
    }

    /// True if the answer depends on the order of rows of equal time.
    pub fn needs_order(&self) -> bool {
        match self {
            Self::Rolling { fold, frame: RollingFrame::Time { .. }, .. } => fold.needs_order(),
            _ => true,
        }
    }
}
