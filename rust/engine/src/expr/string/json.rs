//! `json_path_match` of a constant path of names and positions: `$.a.b[0]`.
//!
//! The whole text is read, so that one broken behind the place is null as in Polars; objects keep their order.
//! Not here: other paths (`*`, `..`, filters): Polars does those. Called by the table in `string/mod.rs`.

use super::{of_strings, over_first, text};
use crate::error::Result;
use crate::expr::text_builder::TextBuilder;
use crate::expr::value::{Call, Kernel};
use arrow::array::Array;
use arrow::buffer::NullBuffer;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value as Scalar};
use std::fmt::{self, Write};

pub(super) fn json_path_match(call: &Call<'_>) -> Result<Kernel> {
    of_strings(call)?;
    let path = text(call, 1)?.as_deref().and_then(read_path).ok_or_else(|| call.no_kernel())?;
    Ok(over_first(move |texts| {
        let mut answers = TextBuilder::with_capacity(texts.len());
        let mut valid = Vec::with_capacity(texts.len());
        for text in texts {
            let document: Option<Document> = text.and_then(|text| serde_json::from_str(text).ok());
            let found = document.as_ref().and_then(|document| document.at(&path));
            let found = found.filter(|found| !matches!(found, Document::Scalar(Scalar::Null)));
            valid.push(found.is_some());
            answers.append(|into| match found {
                None => {}
                Some(Document::Scalar(Scalar::String(text))) => into.push_str(text),
                Some(found) => found.write(into),
            });
        }
        answers.finish(Some(NullBuffer::from(valid)).filter(|nulls| nulls.null_count() > 0))
    }))
}

/// One step of a path.
enum Step {
    Name(String),
    Position(usize),
}

/// Reads `$`, then `.name`, `['name']` or `[0]`, any number of times.
fn read_path(text: &str) -> Option<Vec<Step>> {
    let mut rest = text.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix("['") {
            let (name, tail) = tail.split_once("']")?;
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ' ') {
                return None;
            }
            steps.push(Step::Name(name.to_owned()));
            rest = tail;
        } else if let Some(tail) = rest.strip_prefix('[') {
            let (number, tail) = tail.split_once(']')?;
            if !number.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            steps.push(Step::Position(number.parse().ok()?));
            rest = tail;
        } else {
            let tail = rest.strip_prefix('.')?;
            let end = tail.find(['.', '[']).unwrap_or(tail.len());
            let (name, tail) = tail.split_at(end);
            let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            if !starts || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return None;
            }
            steps.push(Step::Name(name.to_owned()));
            rest = tail;
        }
    }
    Some(steps)
}

/// A JSON value whose objects keep the order of their names; of two equal names the last value counts.
enum Document {
    Scalar(Scalar),
    List(Vec<Document>),
    Object(Vec<(String, Document)>),
}

impl Document {
    fn at(&self, path: &[Step]) -> Option<&Self> {
        path.iter().try_fold(self, |document, step| match (document, step) {
            (Self::Object(fields), Step::Name(name)) => {
                fields.iter().find(|(known, _)| known == name).map(|(_, value)| value)
            }
            (Self::List(items), Step::Position(position)) => items.get(*position),
            _ => None,
        })
    }

    /// Without spaces. Writing into a string cannot fail.
    fn write(&self, into: &mut String) {
        match self {
            Self::Scalar(scalar) => {
                let _ = write!(into, "{scalar}");
            }
            Self::List(items) => {
                into.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        into.push(',');
                    }
                    item.write(into);
                }
                into.push(']');
            }
            Self::Object(fields) => {
                into.push('{');
                for (index, (name, value)) in fields.iter().enumerate() {
                    if index > 0 {
                        into.push(',');
                    }
                    let _ = write!(into, "{}:", Scalar::String(name.clone()));
                    value.write(into);
                }
                into.push('}');
            }
        }
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Document, E> {
        Ok(Document::Scalar(Scalar::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Document, E> {
        Ok(Document::Scalar(Scalar::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Document, E> {
        Ok(Document::Scalar(Scalar::Number(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Document, E> {
        Ok(Document::Scalar(Scalar::Number(value.into())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Document, E> {
        Ok(Document::Scalar(Number::from_f64(value).map_or(Scalar::Null, Scalar::Number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Document, E> {
        Ok(Document::Scalar(Scalar::String(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Document, E> {
        Ok(Document::Scalar(Scalar::String(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Document, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Document::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let mut fields: Vec<(String, Document)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Document>()? {
            match fields.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = value,
                None => fields.push((name, value)),
            }
        }
        Ok(Document::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use crate::expr::testing::{call, col, frame, lit};
    use arrow::array::StringViewArray;
    use dataflare_plan::DataType::String;
    use std::sync::Arc;

    #[test]
    fn path_of_names_and_positions_finds_its_value() {
        let documents =
            vec![r#"{"a":{"z":1,"b":["x",2.0]}}"#, r#"{"a":null}"#, r#"{"a":1"#, r#"{"a":1,"a":"s"}"#];
        let frame = frame([("j", String, Arc::new(StringViewArray::from(documents)))]);
        let at = |path: &str| call("str.json_path_match", [col("j"), lit(path, String)], String);
        assert_eq!(frame.answer(at("$.a")), r#"{"z":1,"b":["x",2.0]} - - s"#);
        assert_eq!(frame.answer(at("$.a.b[0]")), "x - - -");
        assert_eq!(frame.answer(at("$['a']['b'][1]")), "2.0 - - -");
        for other in ["$..a", "$.a[*]", "$.a[-1]", "a"] {
            assert!(!crate::expr::is_compiled(&at(other), &frame.schema()), "{other}");
        }
    }
}
