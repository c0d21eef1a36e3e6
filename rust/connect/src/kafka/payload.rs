//! The key or the value of a message, by the way it is written, as a row of a column of structs.
//!
//! Not here: the ways themselves (`json_rows.rs`, `avro.rs`, `protobuf.rs`), the schemas (`registry.rs`).

use super::decode::Format;
use super::registry::{Registry, Schema};
use crate::columns::{Column, Misfit};
use crate::json_rows;
use dataflare_engine::{EngineError, Result};
use dataflare_plan::{DataType, Field};
use std::sync::Arc;

/// Why a message is no row.
pub(super) struct Bad {
    pub(super) code: &'static str,
    pub(super) reason: String,
}

impl Bad {
    pub(super) fn tombstone() -> Self {
        let reason = "expected a value, got none (a tombstone; tombstones=\"null\" or \"drop\" takes it)";
        Self { code: "tombstone", reason: reason.to_string() }
    }
}

/// The schema that was used last: neighbours mostly have the same one.
#[derive(Default)]
pub(super) struct Newest(Option<(u32, Arc<Schema>)>);

/// How bytes become a row.
#[derive(Debug)]
pub(super) struct Payload {
    /// `key` or `value`.
    part: &'static str,
    format: Format,
    registry: Option<Arc<Registry>>,
}

impl Payload {
    pub(super) fn new(
        part: &'static str,
        format: Format,
        registry: Option<&Arc<Registry>>,
        fields: &[Field],
    ) -> Result<Self> {
        let place = format!("kafka {part}");
        match (format, fields) {
            (Format::Raw, [only]) if !matches!(only.dtype, DataType::Binary | DataType::String) => {
                return Err(EngineError::call(
                    format!("{place} {}", only.name),
                    "Binary or String",
                    only.dtype.to_string(),
                ));
            }
            (Format::Raw, [_, second, ..]) => {
                let found = format!("a second one, {}", second.name);
                return Err(EngineError::call(place, "one column of bytes or text", found));
            }
            (Format::Avro | Format::Protobuf, _) if registry.is_none() => {
                return Err(EngineError::call(place, "the option registry for Avro and Protobuf", "none"));
            }
            _ => {}
        }
        let registry = registry.filter(|_| matches!(format, Format::Avro | Format::Protobuf)).cloned();
        Ok(Self { part, format, registry })
    }

    /// True if each message names a schema.
    pub(super) fn is_registered(&self) -> bool {
        self.registry.is_some()
    }

    /// The id behind the magic byte; `None`: there is none.
    pub(super) fn schema_id(bytes: &[u8]) -> Option<u32> {
        match bytes {
            [0, a, b, c, d, ..] => Some(u32::from_be_bytes([*a, *b, *c, *d])),
            _ => None,
        }
    }

    /// Adds a row. After an error the row has to be taken back.
    pub(super) fn read(
        &self,
        bytes: &[u8],
        column: &mut Column,
        newest: &mut Newest,
    ) -> std::result::Result<(), Bad> {
        let (code, read) = match self.format {
            Format::Json => ("json", json_rows::read_object(bytes, column)),
            Format::Raw => ("utf8", raw(bytes, column)),
            Format::Avro | Format::Protobuf => return self.registered(bytes, column, newest),
        };
        read.map_err(|misfit| self.bad(code, &misfit))
    }

    fn registered(
        &self,
        bytes: &[u8],
        column: &mut Column,
        newest: &mut Newest,
    ) -> std::result::Result<(), Bad> {
        let (Some(registry), Some(id)) = (&self.registry, Self::schema_id(bytes)) else {
            let reason = "expected a byte 0 and the id of a schema in front of it";
            return Err(self.bad("schema_id", &Misfit::new(reason)));
        };
        let body = bytes.get(5..).unwrap_or_default();
        if newest.0.as_ref().is_none_or(|(known, _)| *known != id) {
            let schema = registry.schema(id).map_err(|reason| self.bad("schema", &Misfit::new(reason)))?;
            newest.0 = Some((id, schema));
        }
        let Some((_, schema)) = &newest.0 else {
            return Err(self.bad("schema", &Misfit::new(format!("schema {id} is not known"))));
        };
        let (code, read) = match (self.format, &**schema) {
            (Format::Avro, Schema::Avro(writer)) => ("avro", writer.read(body, column)),
            (Format::Protobuf, Schema::Protobuf(writer)) => ("protobuf", writer.read(body, column)),
            (_, other) => {
                let reason = format!("schema {id} of the registry is one of {}", other.kind());
                return Err(self.bad("schema", &Misfit::new(reason)));
            }
        };
        read.map_err(|misfit| self.bad(code, &misfit))
    }

    fn bad(&self, code: &'static str, misfit: &Misfit) -> Bad {
        let reason = match self.part {
            "value" => misfit.to_string(),
            part => format!("{part}: {misfit}"),
        };
        Bad { code, reason }
    }
}

/// The one field of a message, or a key that is no struct.
fn raw(bytes: &[u8], column: &mut Column) -> std::result::Result<(), Misfit> {
    if !matches!(column.dtype(), DataType::Struct(_)) {
        return column.push_bytes(bytes);
    }
    let fields = column.fields()?;
    if let Some((name, column)) = fields.at(0) {
        column.push_bytes(bytes).map_err(|misfit| misfit.inside(name))?;
    }
    fields.end();
    Ok(())
}
