//! Avro by the schema that a message was written with, into the columns that the user wants.
//!
//! Evolution is by name: a field that the writer lacks is null, one that nobody wants is passed over, numbers widen into
//! what the column holds. Called by `payload.rs`. Not here: files of Avro.

use crate::columns::{Column, Fields, Misfit};
use dataflare_plan::DataType;
use serde_json::Value;
use std::collections::HashMap;

/// Values inside of values.
const DEPTH: usize = 64;

/// A schema.
#[derive(Debug)]
pub(super) struct Writer {
    nodes: Vec<Node>,
    root: usize,
}

#[derive(Clone, Debug)]
enum Node {
    Null,
    Boolean,
    Int(Meaning),
    Long(Meaning),
    Float,
    Double,
    Bytes(Meaning),
    String,
    Fixed(usize, Meaning),
    Enum(Vec<String>),
    Array(usize),
    Map(usize),
    Union(Vec<usize>),
    Record(Vec<(String, usize)>),
}

/// The logical type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    None,
    Date,
    /// Ticks of a second.
    Ticks(i64),
    Decimal(u32),
}

struct Parser {
    nodes: Vec<Node>,
    names: HashMap<String, usize>,
}

impl Writer {
    /// `referred`: schemas whose names it uses, those that are used first.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(schema: &str, referred: &[&str]) -> Result<Self, String> {
        let mut parser = Parser { nodes: Vec::new(), names: HashMap::new() };
        let json = |text: &str| serde_json::from_str::<Value>(text).map_err(|error| error.to_string());
        for text in referred {
            parser.node(&json(text)?, "", 0)?;
        }
        let root = parser.node(&json(schema)?, "", 0)?;
        Ok(Self { nodes: parser.nodes, root })
    }

    /// Adds a row to `column`, which holds structs.
    ///
    /// # Errors
    /// Damaged bytes, a field that does not fit. The row has to be taken back then.
    pub(super) fn read(&self, bytes: &[u8], column: &mut Column) -> Result<(), Misfit> {
        let mut input = Input { bytes };
        self.value(self.root, &mut input, Some(column), 0)?;
        match input.bytes.len() {
            0 => Ok(()),
            more => Err(Misfit::new(format!("expected the end of the message, got {more} more bytes"))),
        }
    }

    /// Reads a value; nobody wants it without a column.
    fn value(
        &self,
        node: usize,
        input: &mut Input<'_>,
        column: Option<&mut Column>,
        depth: usize,
    ) -> Result<(), Misfit> {
        if depth > DEPTH {
            return Err(Misfit::new(format!("expected at most {DEPTH} values inside of values, got more")));
        }
        let Some(node) = self.nodes.get(node) else {
            return Err(Misfit::new("a type that the schema lacks"));
        };
        match node {
            Node::Null => {
                if let Some(column) = column {
                    column.push_null();
                }
            }
            Node::Boolean => {
                let value = input.take(1)? != [0];
                return column.map_or(Ok(()), |column| column.push_bool(value));
            }
            Node::Int(meaning) | Node::Long(meaning) => {
                let value = input.long()?;
                return column.map_or(Ok(()), |column| push_integer(column, value, *meaning));
            }
            Node::Float => {
                let value = f32::from_le_bytes(input.array()?);
                return column.map_or(Ok(()), |column| column.push_float(f64::from(value)));
            }
            Node::Double => {
                let value = f64::from_le_bytes(input.array()?);
                return column.map_or(Ok(()), |column| column.push_float(value));
            }
            Node::Bytes(meaning) => {
                let length = input.length()?;
                let value = input.take(length)?;
                return column.map_or(Ok(()), |column| push_bytes(column, value, *meaning));
            }
            Node::Fixed(length, meaning) => {
                let value = input.take(*length)?;
                return column.map_or(Ok(()), |column| push_bytes(column, value, *meaning));
            }
            Node::String => {
                let length = input.length()?;
                let value = input.take(length)?;
                return column.map_or(Ok(()), |column| match std::str::from_utf8(value) {
                    Ok(text) if column.dtype() != &DataType::Binary => column.push_text(text),
                    _ => column.push_bytes(value),
                });
            }
            Node::Enum(symbols) => {
                let place = usize::try_from(input.long()?).ok();
                let symbol = place.and_then(|place| symbols.get(place));
                let symbol = symbol.ok_or_else(|| Misfit::new("an enum's number without a symbol"))?;
                return column.map_or(Ok(()), |column| column.push_text(symbol));
            }
            Node::Union(branches) => {
                let branch = usize::try_from(input.long()?).ok().and_then(|place| branches.get(place));
                let branch = branch.ok_or_else(|| Misfit::new("a union's number without a branch"))?;
                return self.value(*branch, input, column, depth + 1);
            }
            Node::Array(item) => {
                return self
                    .items(input, column, |input, column| self.value(*item, input, column, depth + 1));
            }
            Node::Map(value) => {
                return self
                    .items(input, column, |input, column| self.entry(*value, input, column, depth + 1));
            }
            Node::Record(fields) => return self.record(fields, input, column, depth),
        }
        Ok(())
    }

    fn record(
        &self,
        written: &[(String, usize)],
        input: &mut Input<'_>,
        column: Option<&mut Column>,
        depth: usize,
    ) -> Result<(), Misfit> {
        let mut fields = column.map(Column::fields).transpose()?;
        for (place, (name, node)) in written.iter().enumerate() {
            let wanted = fields.as_deref_mut().and_then(|fields| {
                let place = fields.find(name, place)?;
                fields.at(place).map(|(_, column)| column)
            });
            self.value(*node, input, wanted, depth + 1).map_err(|misfit| misfit.inside(name))?;
        }
        if let Some(fields) = fields {
            fields.end();
        }
        Ok(())
    }

    /// The blocks of an array or a map.
    fn items<'a>(
        &self,
        input: &mut Input<'a>,
        column: Option<&mut Column>,
        mut one: impl FnMut(&mut Input<'a>, Option<&mut Column>) -> Result<(), Misfit>,
    ) -> Result<(), Misfit> {
        let mut items = column.map(Column::list).transpose()?;
        loop {
            let mut count = input.long()?;
            if count < 0 {
                // A block that says how long it is.
                input.long()?;
                count = count.saturating_neg();
            }
            if count == 0 {
                break;
            }
            // An item takes a byte at least; lists of nothing but nulls are not worth a way to fill the memory.
            if usize::try_from(count).map_or(true, |count| count > input.bytes.len()) {
                return Err(Misfit::new(format!("a list of {count} items in {} bytes", input.bytes.len())));
            }
            for _ in 0..count {
                one(input, items.as_deref_mut().map(|items| items.item()))?;
            }
        }
        items.map_or(Ok(()), |items| items.end())
    }

    /// A pair of a map, as a struct of `key` and `value`.
    fn entry(
        &self,
        value: usize,
        input: &mut Input<'_>,
        column: Option<&mut Column>,
        depth: usize,
    ) -> Result<(), Misfit> {
        let mut fields = column.map(Column::fields).transpose()?;
        let length = input.length()?;
        let key = input.take(length)?;
        let field = |name: &str, fields: &Option<&mut Fields>| -> Option<usize> {
            fields.as_ref().and_then(|fields| fields.find(name, 0))
        };
        if let Some(place) = field("key", &fields)
            && let Some((_, column)) = fields.as_deref_mut().and_then(|fields| fields.at(place))
        {
            column.push_bytes(key).map_err(|misfit| misfit.inside("key"))?;
        }
        let place = field("value", &fields);
        let wanted = place.and_then(|place| fields.as_deref_mut()?.at(place)).map(|(_, column)| column);
        self.value(value, input, wanted, depth).map_err(|misfit| misfit.inside("value"))?;
        if let Some(fields) = fields {
            fields.end();
        }
        Ok(())
    }
}

fn push_integer(column: &mut Column, value: i64, meaning: Meaning) -> Result<(), Misfit> {
    match (meaning, column.dtype()) {
        (Meaning::Date, DataType::Datetime { .. }) => column.push_ticks(value.saturating_mul(86_400), 1),
        (Meaning::Ticks(per_second), _) => column.push_ticks(value, per_second),
        _ => column.push_integer(i128::from(value)),
    }
}

fn push_bytes(column: &mut Column, bytes: &[u8], meaning: Meaning) -> Result<(), Misfit> {
    let Meaning::Decimal(scale) = meaning else { return column.push_bytes(bytes) };
    if !matches!(column.dtype(), DataType::Decimal { .. }) {
        return Err(column.misfit("a decimal"));
    }
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let (extra, rest) = bytes.split_at(bytes.len().saturating_sub(16));
    let sign = if negative { 0xff } else { 0 };
    if extra.iter().any(|byte| *byte != sign) {
        return Err(column.misfit("a decimal of more than 128 bits"));
    }
    let value =
        rest.iter().fold(if negative { -1_i128 } else { 0 }, |value, byte| (value << 8) | i128::from(*byte));
    column.push_decimal(value, scale)
}

impl Parser {
    fn push(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn node(&mut self, schema: &Value, namespace: &str, depth: usize) -> Result<usize, String> {
        if depth > DEPTH {
            return Err(format!("more than {DEPTH} types inside of types"));
        }
        match schema {
            Value::String(name) => self.named(name, &Value::Null, namespace),
            Value::Array(branches) => {
                let branches = branches.iter().map(|branch| self.node(branch, namespace, depth + 1));
                let branches = branches.collect::<Result<_, _>>()?;
                Ok(self.push(Node::Union(branches)))
            }
            Value::Object(object) => match object.get("type") {
                Some(Value::String(kind)) => self.complex(kind, schema, namespace, depth),
                Some(inner) => self.node(inner, namespace, depth + 1),
                None => Err("an object without a type".to_string()),
            },
            _ => Err("a type that is neither a name, a list nor an object".to_string()),
        }
    }

    fn complex(
        &mut self,
        kind: &str,
        schema: &Value,
        namespace: &str,
        depth: usize,
    ) -> Result<usize, String> {
        let text = |name: &str| schema.get(name).and_then(Value::as_str);
        let part = |name: &str| schema.get(name).ok_or_else(|| format!("a type {kind} without {name}"));
        match kind {
            "array" => {
                let item = self.node(part("items")?, namespace, depth + 1)?;
                return Ok(self.push(Node::Array(item)));
            }
            "map" => {
                let value = self.node(part("values")?, namespace, depth + 1)?;
                return Ok(self.push(Node::Map(value)));
            }
            "record" | "error" | "enum" | "fixed" => {}
            _ => return self.named(kind, schema, namespace),
        }
        let name = text("name").ok_or_else(|| format!("a type {kind} without a name"))?;
        let full = match (name.contains('.'), text("namespace").unwrap_or(namespace)) {
            (true, _) | (_, "") => name.to_string(),
            (false, namespace) => format!("{namespace}.{name}"),
        };
        let inside = full.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_string();
        // Known before its fields are, which may be of this very type.
        let place = self.push(Node::Null);
        self.names.insert(full, place);
        let node = match kind {
            "enum" => {
                let symbols = part("symbols")?.as_array().ok_or("symbols that are no list")?;
                Node::Enum(symbols.iter().filter_map(Value::as_str).map(str::to_string).collect())
            }
            "fixed" => {
                let size = part("size")?.as_u64().and_then(|size| usize::try_from(size).ok());
                Node::Fixed(size.ok_or("a size that is no number")?, meaning(schema))
            }
            _ => {
                let mut fields = Vec::new();
                for field in part("fields")?.as_array().ok_or("fields that are no list")? {
                    let name = field.get("name").and_then(Value::as_str).ok_or("a field without a name")?;
                    let kind = field.get("type").ok_or_else(|| format!("a field {name} without a type"))?;
                    fields.push((name.to_string(), self.node(kind, &inside, depth + 1)?));
                }
                Node::Record(fields)
            }
        };
        if let Some(slot) = self.nodes.get_mut(place) {
            *slot = node;
        }
        Ok(place)
    }

    fn named(&mut self, name: &str, schema: &Value, namespace: &str) -> Result<usize, String> {
        let node = match name {
            "null" => Node::Null,
            "boolean" => Node::Boolean,
            "int" => Node::Int(meaning(schema)),
            "long" => Node::Long(meaning(schema)),
            "float" => Node::Float,
            "double" => Node::Double,
            "bytes" => Node::Bytes(meaning(schema)),
            "string" => Node::String,
            _ => {
                let inside = format!("{namespace}.{name}");
                let known = self.names.get(&inside).or_else(|| self.names.get(name));
                return known.copied().ok_or_else(|| format!("an unknown type {name}"));
            }
        };
        Ok(self.push(node))
    }
}

fn meaning(schema: &Value) -> Meaning {
    match schema.get("logicalType").and_then(Value::as_str) {
        Some("date") => Meaning::Date,
        Some("time-millis" | "timestamp-millis" | "local-timestamp-millis") => Meaning::Ticks(1_000),
        Some("time-micros" | "timestamp-micros" | "local-timestamp-micros") => Meaning::Ticks(1_000_000),
        Some("timestamp-nanos" | "local-timestamp-nanos") => Meaning::Ticks(1_000_000_000),
        Some("decimal") => {
            let scale = schema.get("scale").and_then(Value::as_u64).unwrap_or(0);
            Meaning::Decimal(u32::try_from(scale).unwrap_or(u32::MAX))
        }
        _ => Meaning::None,
    }
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

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Misfit> {
        let bytes = self.take(N)?;
        <[u8; N]>::try_from(bytes).map_err(|_| Misfit::new("fewer bytes than a number has"))
    }

    /// A zigzag number of variable length.
    fn long(&mut self) -> Result<i64, Misfit> {
        let (mut value, mut shift) = (0_u64, 0);
        loop {
            let byte = self.take(1)?.first().copied().unwrap_or(0);
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
            if shift > 63 {
                return Err(Misfit::new("a number of more than ten bytes"));
            }
        }
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    fn length(&mut self) -> Result<usize, Misfit> {
        usize::try_from(self.long()?).map_err(|_| Misfit::new("a negative length"))
    }
}

#[cfg(test)]
mod tests {
    use super::Writer;
    use crate::columns::Column;
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Decimal128Type, Int64Type};
    use dataflare_plan::{DataType, Field};

    fn field(name: &str, dtype: DataType) -> Field {
        Field { name: name.to_string(), dtype }
    }

    const BID: &str = r#"{"type": "record", "name": "Bid", "namespace": "n", "fields": [
        {"name": "old", "type": "string"},
        {"name": "price", "type": ["null", "int"]},
        {"name": "parts", "type": {"type": "array", "items": "long"}},
        {"name": "fee", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 1}},
        {"name": "next", "type": ["null", "Bid"]}]}"#;

    fn columns() -> Column {
        Column::of_message(&[
            field("price", DataType::Int64),
            field("fee", DataType::Decimal { precision: 12, scale: 2 }),
            field("new", DataType::String),
            field("parts", DataType::List(Box::new(DataType::Int64))),
        ])
        .unwrap()
    }

    /// "x", price -3, parts [1, 2] in a block with its length, fee -1.5, no next.
    const ROW: [u8; 14] = [2, b'x', 2, 5, 3, 4, 2, 4, 0, 2, 0xf1, 0, 0, 0];

    #[test]
    fn fields_are_matched_by_name_and_widen() {
        let writer = Writer::new(BID, &[]).unwrap();
        let mut column = columns();
        writer.read(&ROW[..12], &mut column).unwrap();
        let row = column.take().unwrap();
        let row = row.as_struct();
        assert_eq!(row.column(0).as_primitive::<Int64Type>().value(0), -3);
        assert_eq!(row.column(1).as_primitive::<Decimal128Type>().value(0), -150);
        assert!(row.column(2).is_null(0));
        assert_eq!(row.column(3).as_list::<i64>().value(0).as_primitive::<Int64Type>().values(), &[1, 2]);
    }

    #[test]
    fn damaged_messages_are_errors_at_every_length() {
        let writer = Writer::new(BID, &[]).unwrap();
        for length in (0..12).chain(13..15) {
            let mut column = columns();
            let bytes = ROW.get(..length.min(14)).unwrap();
            assert!(writer.read(bytes, &mut column).is_err(), "{length}");
            column.truncate(0);
            assert!(column.is_empty());
        }
        assert!(writer.read(&[2, b'x', 2, 5, 0xfe, 0xff, 0xff, 0xff, 0x0f], &mut columns()).is_err());
    }

    #[test]
    fn names_of_other_schemas_are_known() {
        let other = r#"{"type": "enum", "name": "Side", "namespace": "n", "symbols": ["buy", "sell"]}"#;
        let schema = r#"{"type": "record", "name": "n.Order", "fields": [{"name": "side", "type": "Side"}]}"#;
        let mut column = Column::of_message(&[field("side", DataType::String)]).unwrap();
        Writer::new(schema, &[other]).unwrap().read(&[2], &mut column).unwrap();
        assert_eq!(column.take().unwrap().as_struct().column(0).as_string_view().value(0), "sell");
        assert!(Writer::new(schema, &[]).unwrap_err().contains("Side"));
    }
}
