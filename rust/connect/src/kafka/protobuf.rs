//! Protobuf by the schema that a message was written with, into the columns that the user wants.
//!
//! A field without presence that is missing has its default, as Protobuf says; one with presence (`optional`, messages,
//! `oneof`) is null, and so is a column that the schema lacks. A map is a list of structs `key`, `value`; an enum is its
//! number, or in a String column its name; `google.protobuf.Timestamp`, `Duration` and wrappers are values.
//! Called by `payload.rs`.

use crate::columns::{Column, Fields, Misfit};
use dataflare_plan::DataType;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use std::collections::HashMap;

/// Messages inside of messages.
const DEPTH: usize = 64;
/// The name that the schema itself gets among the files that it imports.
const ROOT: &str = "schema.proto";

/// A schema.
#[derive(Debug)]
pub(super) struct Writer {
    messages: Vec<Message>,
    enums: Vec<HashMap<i64, String>>,
    /// The messages that stand in the file itself.
    top: Vec<usize>,
}

#[derive(Debug)]
struct Message {
    name: String,
    fields: Vec<Known>,
    /// Those that are declared inside, in order.
    nested: Vec<usize>,
}

/// A field of a message.
#[derive(Debug)]
struct Known {
    name: String,
    number: u32,
    kind: Kind,
    repeated: bool,
    presence: bool,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Bool,
    /// Two's complement of 64 bits, and of 32 that were widened.
    Signed,
    Unsigned,
    Zigzag,
    Fixed32,
    SignedFixed32,
    Fixed64,
    SignedFixed64,
    Float,
    Double,
    Text,
    Bytes,
    Enum(usize),
    Message(usize),
    /// Groups of Protobuf 1.
    Group,
}

/// What stands in a message for a field.
#[derive(Clone, Copy, Debug)]
enum Raw<'a> {
    Varint(u64),
    Fixed32(u32),
    Fixed64(u64),
    Bytes(&'a [u8]),
}

impl Writer {
    /// `referred`: names and texts of the files that it imports.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(schema: &str, referred: &[(String, String)]) -> Result<Self, String> {
        let mut files = ChainFileResolver::new();
        let mut texts: HashMap<String, String> = referred.iter().cloned().collect();
        texts.insert(ROOT.to_string(), schema.to_string());
        files.add(Texts { texts });
        files.add(GoogleFileResolver::new());
        let mut compiler = protox::Compiler::with_file_resolver(files);
        compiler.include_imports(true);
        compiler.open_file(ROOT).map_err(|error| error.to_string())?;
        let set = compiler.file_descriptor_set();
        let mut building = Building::default();
        for file in &set.file {
            building.declare(file);
        }
        for file in &set.file {
            building.define(file)?;
        }
        let top = set.file.iter().find(|file| file.name.as_deref() == Some(ROOT));
        let top = top.map(|file| building.places(&scope(file), &file.message_type)).unwrap_or_default();
        Ok(Self { messages: building.messages, enums: building.enums, top })
    }

    /// Adds a row to `column`, which holds structs. In front of the message stands which one of the file it is.
    ///
    /// # Errors
    /// Damaged bytes, a field that does not fit. The row has to be taken back then.
    pub(super) fn read(&self, bytes: &[u8], column: &mut Column) -> Result<(), Misfit> {
        let mut input = Input { bytes };
        let count =
            usize::try_from(input.zigzag()?).map_err(|_| Misfit::new("a negative count of indexes"))?;
        let mut path = vec![0];
        if count > 0 {
            path.clear();
            for _ in 0..count.min(DEPTH) {
                path.push(usize::try_from(input.zigzag()?).unwrap_or(usize::MAX));
            }
        }
        let mut inside = &self.top;
        let mut found = None;
        for place in path {
            let message =
                inside.get(place).copied().and_then(|place| Some((place, self.messages.get(place)?)));
            let Some((place, message)) = message else {
                return Err(Misfit::new("expected a message of the schema, got the index of none"));
            };
            inside = &message.nested;
            found = Some(place);
        }
        match found {
            Some(message) => self.message(message, input.bytes, column.fields()?, 0),
            None => Err(Misfit::new("expected a message of the schema, got no index")),
        }
    }

    fn message(&self, message: usize, bytes: &[u8], fields: &mut Fields, depth: usize) -> Result<(), Misfit> {
        if depth > DEPTH {
            return Err(Misfit::new(format!(
                "expected at most {DEPTH} messages inside of messages, got more"
            )));
        }
        let Some(message) = self.messages.get(message) else {
            return Err(Misfit::new("a message without a type"));
        };
        let mut input = Input { bytes };
        let mut values = Vec::new();
        while let Some((number, raw)) = input.field()? {
            if let Some(place) = message.fields.iter().position(|field| field.number == number) {
                values.push((place, raw));
            }
        }
        for (place, known) in message.fields.iter().enumerate() {
            let Some((name, column)) = fields.find(&known.name, place).and_then(|place| fields.at(place))
            else {
                continue;
            };
            let mine = || values.iter().filter(|(field, _)| *field == place).map(|(_, raw)| *raw);
            let read = if known.repeated {
                self.repeated(known, mine(), column, depth)
            } else {
                self.single(known, mine(), column, depth)
            };
            read.map_err(|misfit| misfit.inside(name))?;
        }
        fields.end();
        Ok(())
    }

    fn single<'a>(
        &self,
        known: &Known,
        mut values: impl Iterator<Item = Raw<'a>>,
        column: &mut Column,
        depth: usize,
    ) -> Result<(), Misfit> {
        let Some(first) = values.next() else {
            return if known.presence {
                column.push_null();
                Ok(())
            } else {
                self.absent(known.kind, column)
            };
        };
        let rest: Vec<Raw<'a>> = values.collect();
        match (rest.last(), known.kind, first) {
            (None, ..) => self.value(known.kind, first, column, depth),
            // Parts of a message are one message; of other values the last counts.
            (Some(_), Kind::Message(_), Raw::Bytes(start)) => {
                let mut whole = start.to_vec();
                for raw in &rest {
                    if let Raw::Bytes(part) = raw {
                        whole.extend_from_slice(part);
                    }
                }
                self.value(known.kind, Raw::Bytes(&whole), column, depth)
            }
            (Some(last), ..) => self.value(known.kind, *last, column, depth),
        }
    }

    fn repeated<'a>(
        &self,
        known: &Known,
        values: impl Iterator<Item = Raw<'a>>,
        column: &mut Column,
        depth: usize,
    ) -> Result<(), Misfit> {
        let items = column.list()?;
        for raw in values {
            match (raw, known.kind.packed()) {
                (Raw::Bytes(bytes), Some(packed)) => {
                    let mut input = Input { bytes };
                    while !input.bytes.is_empty() {
                        let raw = input.raw(packed)?;
                        self.value(known.kind, raw, items.item(), depth)?;
                    }
                }
                _ => self.value(known.kind, raw, items.item(), depth)?,
            }
        }
        items.end()
    }

    /// The default of a field that is not there.
    fn absent(&self, kind: Kind, column: &mut Column) -> Result<(), Misfit> {
        match kind {
            Kind::Bool => column.push_bool(false),
            Kind::Float | Kind::Double => column.push_float(0.0),
            Kind::Text => column.push_text(""),
            Kind::Bytes => column.push_bytes(&[]),
            Kind::Enum(_) => self.value(kind, Raw::Varint(0), column, 0),
            Kind::Message(_) | Kind::Group => {
                column.push_null();
                Ok(())
            }
            _ => column.push_integer(0),
        }
    }

    fn value(&self, kind: Kind, raw: Raw<'_>, column: &mut Column, depth: usize) -> Result<(), Misfit> {
        match (kind, raw) {
            (Kind::Bool, Raw::Varint(value)) => column.push_bool(value != 0),
            (Kind::Signed, Raw::Varint(value)) => column.push_integer(i128::from(value.cast_signed())),
            (Kind::Unsigned, Raw::Varint(value)) => column.push_integer(i128::from(value)),
            (Kind::Zigzag, Raw::Varint(value)) => column.push_integer(i128::from(unzigzag(value))),
            (Kind::Fixed32, Raw::Fixed32(value)) => column.push_integer(i128::from(value)),
            (Kind::SignedFixed32, Raw::Fixed32(value)) => {
                column.push_integer(i128::from(value.cast_signed()))
            }
            (Kind::Fixed64, Raw::Fixed64(value)) => column.push_integer(i128::from(value)),
            (Kind::SignedFixed64, Raw::Fixed64(value)) => {
                column.push_integer(i128::from(value.cast_signed()))
            }
            (Kind::Float, Raw::Fixed32(value)) => column.push_float(f64::from(f32::from_bits(value))),
            (Kind::Double, Raw::Fixed64(value)) => column.push_float(f64::from_bits(value)),
            (Kind::Text, Raw::Bytes(bytes)) => match std::str::from_utf8(bytes) {
                Ok(text) => column.push_text(text),
                Err(_) => Err(Misfit::new("expected UTF-8 text, got other bytes")),
            },
            (Kind::Bytes, Raw::Bytes(bytes)) => column.push_bytes(bytes),
            (Kind::Enum(place), Raw::Varint(value)) => {
                // Enums have 32 bits, widened with their sign.
                let number = value.cast_signed();
                if column.dtype() != &DataType::String {
                    return column.push_integer(i128::from(number));
                }
                match self.enums.get(place).and_then(|names| names.get(&number)) {
                    Some(name) => column.push_text(name),
                    None => column.push_text(&number.to_string()),
                }
            }
            (Kind::Message(place), Raw::Bytes(bytes)) => self.inner(place, bytes, column, depth),
            _ => Err(Misfit::new("expected the encoding of the field's type, got another one")),
        }
    }

    fn inner(&self, place: usize, bytes: &[u8], column: &mut Column, depth: usize) -> Result<(), Misfit> {
        if let Ok(fields) = column.fields() {
            return self.message(place, bytes, fields, depth + 1);
        }
        let Some(message) = self.messages.get(place) else {
            return Err(Misfit::new("a message without a type"));
        };
        let name = message.name.strip_prefix("google.protobuf.").unwrap_or_default();
        match name {
            "Timestamp" | "Duration" => {
                let (mut seconds, mut nanoseconds) = (0_i64, 0_i64);
                let mut input = Input { bytes };
                while let Some((number, raw)) = input.field()? {
                    match (number, raw) {
                        (1, Raw::Varint(value)) => seconds = value.cast_signed(),
                        (2, Raw::Varint(value)) => nanoseconds = value.cast_signed(),
                        _ => {}
                    }
                }
                column.push_moment(seconds, nanoseconds)
            }
            _ if name.ends_with("Value") && message.fields.len() == 1 => {
                let Some(only) = message.fields.first() else { return Ok(()) };
                let mut input = Input { bytes };
                let mut last = None;
                while let Some((number, raw)) = input.field()? {
                    last = if number == only.number { Some(raw) } else { last };
                }
                match last {
                    Some(raw) => self.value(only.kind, raw, column, depth + 1),
                    None => self.absent(only.kind, column),
                }
            }
            _ => Err(column.misfit(format!("a message {}", message.name))),
        }
    }
}

impl Kind {
    /// How its values stand in a packed list; `None`: they are never packed.
    fn packed(self) -> Option<u64> {
        match self {
            Self::Text | Self::Bytes | Self::Message(_) | Self::Group => None,
            Self::Fixed32 | Self::SignedFixed32 | Self::Float => Some(5),
            Self::Fixed64 | Self::SignedFixed64 | Self::Double => Some(1),
            Self::Bool | Self::Signed | Self::Unsigned | Self::Zigzag | Self::Enum(_) => Some(0),
        }
    }
}

/// Files by name, from texts.
struct Texts {
    texts: HashMap<String, String>,
}

impl FileResolver for Texts {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.texts.get(name) {
            Some(text) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// Messages and enums of all files, by full name (with a dot in front).
#[derive(Default)]
struct Building {
    messages: Vec<Message>,
    enums: Vec<HashMap<i64, String>>,
    names: HashMap<String, Place>,
}

#[derive(Clone, Copy)]
enum Place {
    Message(usize),
    Enum(usize),
}

fn scope(file: &FileDescriptorProto) -> String {
    match file.package.as_deref() {
        None | Some("") => String::new(),
        Some(package) => format!(".{package}"),
    }
}

impl Building {
    fn declare(&mut self, file: &FileDescriptorProto) {
        let scope = scope(file);
        self.declare_enums(&scope, &file.enum_type);
        for message in &file.message_type {
            self.declare_message(&scope, message);
        }
    }

    fn declare_enums(&mut self, scope: &str, enums: &[EnumDescriptorProto]) {
        for one in enums {
            let values = one.value.iter().map(|value| (i64::from(value.number()), value.name().to_string()));
            // Of two names for a number the first is the number's name.
            let mut names = HashMap::new();
            for (number, name) in values {
                names.entry(number).or_insert(name);
            }
            self.names.insert(format!("{scope}.{}", one.name()), Place::Enum(self.enums.len()));
            self.enums.push(names);
        }
    }

    fn declare_message(&mut self, scope: &str, message: &DescriptorProto) {
        let full = format!("{scope}.{}", message.name());
        self.names.insert(full.clone(), Place::Message(self.messages.len()));
        let name = full.trim_start_matches('.').to_string();
        self.messages.push(Message { name, fields: Vec::new(), nested: Vec::new() });
        self.declare_enums(&full, &message.enum_type);
        for nested in &message.nested_type {
            self.declare_message(&full, nested);
        }
    }

    fn places(&self, scope: &str, messages: &[DescriptorProto]) -> Vec<usize> {
        let place = |message: &DescriptorProto| match self.names.get(&format!("{scope}.{}", message.name())) {
            Some(Place::Message(place)) => Some(*place),
            _ => None,
        };
        messages.iter().filter_map(place).collect()
    }

    fn define(&mut self, file: &FileDescriptorProto) -> Result<(), String> {
        let scope = scope(file);
        // Proto2 has presence for everything; proto3 for what says so.
        let proto3 = file.syntax.as_deref() == Some("proto3");
        for message in &file.message_type {
            self.define_message(&scope, message, proto3)?;
        }
        Ok(())
    }

    fn define_message(&mut self, scope: &str, message: &DescriptorProto, proto3: bool) -> Result<(), String> {
        let full = format!("{scope}.{}", message.name());
        let fields = message.field.iter().map(|field| self.known(field, proto3)).collect::<Result<_, _>>()?;
        let nested = self.places(&full, &message.nested_type);
        if let Some(Place::Message(place)) = self.names.get(&full).copied()
            && let Some(slot) = self.messages.get_mut(place)
        {
            slot.fields = fields;
            slot.nested = nested;
        }
        for nested in &message.nested_type {
            self.define_message(&full, nested, proto3)?;
        }
        Ok(())
    }

    fn known(&self, field: &FieldDescriptorProto, proto3: bool) -> Result<Known, String> {
        let unknown = || format!("a field {} of an unknown type {}", field.name(), field.type_name());
        let kind = match (field.r#type(), self.names.get(field.type_name())) {
            (Type::Bool, _) => Kind::Bool,
            (Type::Int32 | Type::Int64, _) => Kind::Signed,
            (Type::Uint32 | Type::Uint64, _) => Kind::Unsigned,
            (Type::Sint32 | Type::Sint64, _) => Kind::Zigzag,
            (Type::Fixed32, _) => Kind::Fixed32,
            (Type::Sfixed32, _) => Kind::SignedFixed32,
            (Type::Fixed64, _) => Kind::Fixed64,
            (Type::Sfixed64, _) => Kind::SignedFixed64,
            (Type::Float, _) => Kind::Float,
            (Type::Double, _) => Kind::Double,
            (Type::String, _) => Kind::Text,
            (Type::Bytes, _) => Kind::Bytes,
            (Type::Group, _) => Kind::Group,
            (Type::Enum, Some(Place::Enum(place))) => Kind::Enum(*place),
            (Type::Message, Some(Place::Message(place))) => Kind::Message(*place),
            _ => return Err(unknown()),
        };
        let presence = !proto3 || field.proto3_optional() || field.oneof_index.is_some();
        Ok(Known {
            name: field.name().to_string(),
            number: u32::try_from(field.number()).map_err(|_| unknown())?,
            kind,
            repeated: field.label() == Label::Repeated,
            presence: presence || matches!(kind, Kind::Message(_) | Kind::Group),
        })
    }
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// The bytes that are left.
struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Misfit> {
        let Some((head, tail)) = self.bytes.split_at_checked(length) else {
            return Err(Misfit::new(format!("expected {length} more bytes, got {}", self.bytes.len())));
        };
        self.bytes = tail;
        Ok(head)
    }

    fn varint(&mut self) -> Result<u64, Misfit> {
        let (mut value, mut shift) = (0_u64, 0);
        loop {
            let byte = self.take(1)?.first().copied().unwrap_or(0);
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift += 7;
            if shift > 63 {
                return Err(Misfit::new("a number of more than ten bytes"));
            }
        }
    }

    fn zigzag(&mut self) -> Result<i64, Misfit> {
        self.varint().map(unzigzag)
    }

    /// A value of a wire type.
    fn raw(&mut self, wire: u64) -> Result<Raw<'a>, Misfit> {
        let short = |_| Misfit::new("fewer bytes than a number has");
        Ok(match wire {
            0 => Raw::Varint(self.varint()?),
            1 => Raw::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().map_err(short)?)),
            2 => {
                let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                Raw::Bytes(self.take(length)?)
            }
            5 => Raw::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().map_err(short)?)),
            other => return Err(Misfit::new(format!("a field of wire type {other}"))),
        })
    }

    /// Number and value of the next field; `None` at the end. Groups are passed over.
    fn field(&mut self) -> Result<Option<(u32, Raw<'a>)>, Misfit> {
        let mut groups = 0_usize;
        while !self.bytes.is_empty() {
            let tag = self.varint()?;
            let number =
                u32::try_from(tag >> 3).map_err(|_| Misfit::new("a field number of more than 32 bits"))?;
            match tag & 7 {
                3 => groups += 1,
                4 if groups > 0 => groups -= 1,
                wire => {
                    let raw = self.raw(wire)?;
                    if groups == 0 {
                        return Ok(Some((number, raw)));
                    }
                }
            }
        }
        if groups > 0 { Err(Misfit::new("a group without an end")) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::Writer;
    use crate::columns::Column;
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
    use dataflare_plan::{DataType, Field, TimeUnit};

    fn field(name: &str, dtype: DataType) -> Field {
        Field { name: name.to_string(), dtype }
    }

    const SCHEMA: &str = r#"
        syntax = "proto3";
        package shop;
        import "google/protobuf/timestamp.proto";
        import "side.proto";
        message Other { int64 n = 1; }
        message Bid {
          int64 price = 1; sint32 change = 2; optional string note = 3; repeated int64 parts = 4;
          Side side = 5; google.protobuf.Timestamp at = 6; map<string, int64> tags = 7;
          message Inner { bool yes = 1; }
          Inner inner = 8;
        }"#;
    const SIDE: &str = r#"syntax = "proto3"; package shop; enum Side { BUY = 0; SELL = 1; }"#;

    fn columns() -> Column {
        let tag = DataType::Struct(vec![field("key", DataType::String), field("value", DataType::Int64)]);
        Column::of_message(&[
            field("price", DataType::Int64),
            field("change", DataType::Int64),
            field("note", DataType::String),
            field("parts", DataType::List(Box::new(DataType::Int64))),
            field("side", DataType::String),
            field("at", DataType::Datetime { unit: TimeUnit::Microseconds, zone: None }),
            field("tags", DataType::List(Box::new(tag))),
            field("lacking", DataType::Int64),
        ])
        .unwrap()
    }

    fn writer() -> Writer {
        Writer::new(SCHEMA, &[("side.proto".to_string(), SIDE.to_string())]).unwrap()
    }

    #[test]
    fn fields_become_columns_and_missing_ones_their_defaults() {
        // Message 1 of the file; price 150, change -3, parts packed [1, 2] and single 3, side 1, at 1 s and 5 us, tag x: 7.
        let row = [
            2, 2, 8, 150, 1, 16, 5, 34, 2, 1, 2, 32, 3, 40, 1, 50, 5, 8, 1, 16, 136, 39, 58, 5, 10, 1, b'x',
            16, 7,
        ];
        let mut column = columns();
        writer().read(&row, &mut column).unwrap();
        writer().read(&[2, 2], &mut column).unwrap();
        let rows = column.take().unwrap();
        let rows = rows.as_struct();
        assert_eq!(rows.column(0).as_primitive::<Int64Type>().values(), &[150, 0]);
        assert_eq!(rows.column(1).as_primitive::<Int64Type>().values(), &[-3, 0]);
        assert!(rows.column(2).is_null(0) && rows.column(2).is_null(1));
        assert_eq!(rows.column(3).as_list::<i64>().value(0).as_primitive::<Int64Type>().values(), &[1, 2, 3]);
        assert_eq!(rows.column(4).as_string_view().iter().collect::<Vec<_>>(), [Some("SELL"), Some("BUY")]);
        assert_eq!(rows.column(5).as_primitive::<TimestampMicrosecondType>().value(0), 1_000_005);
        assert!(rows.column(5).is_null(1));
        let tags = rows.column(6).as_list::<i64>().value(0);
        assert_eq!(tags.as_struct().column(0).as_string_view().value(0), "x");
        assert_eq!((rows.column(6).as_list::<i64>().value_length(1), rows.column(7).null_count()), (0, 2));
    }

    #[test]
    fn damaged_messages_are_errors() {
        for bytes in [&[][..], &[2, 9], &[2, 2, 8], &[2, 2, 34, 5, 1], &[2, 2, 11], &[2, 2, 10, 1, 1], &[1]] {
            let mut column = columns();
            assert!(writer().read(bytes, &mut column).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_schema_that_lacks_an_import_says_which() {
        assert!(Writer::new(SCHEMA, &[]).unwrap_err().contains("side.proto"));
    }
}
