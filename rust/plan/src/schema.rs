//! Data types and fields of a plan: Polars' names, without Polars.
//!
//! Not here: how a type lies in memory (`dataflare-engine::types`).

use serde::{Deserialize, Serialize};
use std::fmt;

/// The unit of a `Datetime` or `Duration`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TimeUnit {
    #[serde(rename = "ms")]
    Milliseconds,
    #[serde(rename = "us")]
    Microseconds,
    #[serde(rename = "ns")]
    Nanoseconds,
}

impl TimeUnit {
    /// How many nanoseconds one tick has.
    pub fn nanoseconds(self) -> i64 {
        match self {
            Self::Milliseconds => 1_000_000,
            Self::Microseconds => 1_000,
            Self::Nanoseconds => 1,
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Microseconds => "us",
            Self::Nanoseconds => "ns",
        }
    }
}

/// A Polars data type. JSON: `"int64"`, `{"datetime": {"unit": "us", "zone": null}}`, `{"list": "string"}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataType {
    Null,
    Boolean,
    Int8,
    Int16,
    Int32,
    Int64,
    #[serde(rename = "uint8")]
    UInt8,
    #[serde(rename = "uint16")]
    UInt16,
    #[serde(rename = "uint32")]
    UInt32,
    #[serde(rename = "uint64")]
    UInt64,
    Float32,
    Float64,
    Decimal {
        precision: u8,
        scale: i8,
    },
    String,
    Binary,
    Date,
    Time,
    Datetime {
        unit: TimeUnit,
        zone: Option<String>,
    },
    Duration {
        unit: TimeUnit,
    },
    Categorical,
    Enum {
        categories: Vec<String>,
    },
    List(Box<DataType>),
    Array {
        inner: Box<DataType>,
        width: usize,
    },
    Struct(Vec<Field>),
}

impl DataType {
    /// True for the eight integer types.
    pub fn is_integer(&self) -> bool {
        self.is_signed() || self.is_unsigned()
    }

    /// True for `Int8` to `Int64`.
    pub fn is_signed(&self) -> bool {
        matches!(self, Self::Int8 | Self::Int16 | Self::Int32 | Self::Int64)
    }

    /// True for `UInt8` to `UInt64`.
    pub fn is_unsigned(&self) -> bool {
        matches!(self, Self::UInt8 | Self::UInt16 | Self::UInt32 | Self::UInt64)
    }

    /// True for the two float types.
    pub fn is_float(&self) -> bool {
        matches!(self, Self::Float32 | Self::Float64)
    }

    /// True for types that can be an event time: `Date`, `Datetime` and integers.
    pub fn is_event_time(&self) -> bool {
        matches!(self, Self::Date | Self::Datetime { .. }) || self.is_integer()
    }
}

impl fmt::Display for DataType {
    /// Polars' own spelling, so that a message shows what the user wrote.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decimal { precision, scale } => write!(f, "Decimal({precision}, {scale})"),
            Self::Datetime { unit, zone: None } => write!(f, "Datetime(\"{}\")", unit.suffix()),
            Self::Datetime { unit, zone: Some(zone) } => {
                write!(f, "Datetime(\"{}\", \"{zone}\")", unit.suffix())
            }
            Self::Duration { unit } => write!(f, "Duration(\"{}\")", unit.suffix()),
            Self::Enum { categories } => write!(f, "Enum({} categories)", categories.len()),
            Self::List(inner) => write!(f, "List({inner})"),
            Self::Array { inner, width } => write!(f, "Array({inner}, {width})"),
            Self::Struct(fields) => {
                f.write_str("Struct(")?;
                for (index, field) in fields.iter().enumerate() {
                    write!(f, "{}{}: {}", if index == 0 { "" } else { ", " }, field.name, field.dtype)?;
                }
                f.write_str(")")
            }
            other => write!(f, "{other:?}"),
        }
    }
}

/// One named column. Every column may hold nulls, as in Polars.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Field {
    pub name: String,
    pub dtype: DataType,
}

/// The columns of a frame, in order.
pub type Schema = Vec<Field>;
