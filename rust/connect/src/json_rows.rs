//! JSON objects, one at a time, into columns of a schema that is known at run time: sonic-rs, without a tree between.
//!
//! The rules: a missing field is null, others are passed over, the first of two equal names counts; numbers, texts and
//! booleans stay what they are (`1.0` is no Int64, `"1"` is no number, `1` is no String). Times are ISO 8601 texts or
//! ticks. Called by the Kafka connector. Not here: files of lines (`files/ndjson/`), writing (`json.rs`).

use crate::columns::{Column, Fields, Items, Misfit};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::cell::RefCell;
use std::fmt;

/// Passing over a value takes a stack frame per bracket: with more brackets it goes by a bounded way.
const BRACKETS: usize = 512;

/// Adds a row to `column`, which holds structs. After an error the row has to be taken back ([`Column::truncate`]).
///
/// # Errors
/// It is not one JSON object, or a field does not fit.
pub fn read_object(text: &[u8], column: &mut Column) -> Result<(), Misfit> {
    let text = std::str::from_utf8(text).map_err(|_| Misfit::new("expected UTF-8 text, got other bytes"))?;
    let trouble = RefCell::new(None);
    let deep = text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count() > BRACKETS;
    let mut deserializer = sonic_rs::Deserializer::from_str(text);
    let read = Cell { column, trouble: &trouble, deep, is_root: true }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    read.map_err(|error| trouble.into_inner().unwrap_or_else(|| syntax(&error)))
}

/// What sonic-rs says, without the piece of the message that it quotes.
fn syntax(error: &sonic_rs::Error) -> Misfit {
    let text = error.to_string();
    let what = text.split(" at line ").next().and_then(|text| text.lines().next()).unwrap_or_default();
    Misfit::new(format!("its value is not one JSON object: {what} at byte {}", error.offset()))
}

/// One value of a column.
struct Cell<'a> {
    column: &'a mut Column,
    /// Where the reason goes: errors of serde are texts without a place.
    trouble: &'a RefCell<Option<Misfit>>,
    deep: bool,
    is_root: bool,
}

impl Cell<'_> {
    fn take<E: serde::de::Error>(&self, result: Result<(), Misfit>) -> Result<(), E> {
        result.map_err(|misfit| refuse(self.trouble, misfit))
    }

    fn not_an_object<E: serde::de::Error>(&self, found: &str) -> E {
        refuse(self.trouble, Misfit::new(format!("its value is not one JSON object: got {found}")))
    }
}

fn refuse<E: serde::de::Error>(trouble: &RefCell<Option<Misfit>>, misfit: Misfit) -> E {
    // The innermost reason is the cause.
    trouble.borrow_mut().get_or_insert(misfit);
    E::custom("")
}

fn wrap<E>(trouble: &RefCell<Option<Misfit>>, error: E, field: &str) -> E {
    if let Some(misfit) = trouble.borrow_mut().as_mut() {
        *misfit = std::mem::replace(misfit, Misfit::new("")).inside(field);
    }
    error
}

impl<'de> DeserializeSeed<'de> for Cell<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Cell<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.column.dtype())
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        if self.is_root {
            return Err(self.not_an_object("null"));
        }
        self.column.push_null();
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        if self.is_root {
            return Err(self.not_an_object("a boolean"));
        }
        let pushed = self.column.push_bool(value);
        self.take(pushed)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        if self.is_root {
            return Err(self.not_an_object("a number"));
        }
        let pushed = self.column.push_integer(i128::from(value));
        self.take(pushed)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        if self.is_root {
            return Err(self.not_an_object("a number"));
        }
        let pushed = self.column.push_integer(i128::from(value));
        self.take(pushed)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        if self.is_root {
            return Err(self.not_an_object("a number"));
        }
        let pushed = self.column.push_float(value);
        self.take(pushed)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        if self.is_root {
            return Err(self.not_an_object("a text"));
        }
        let pushed = self.column.push_text(text);
        self.take(pushed)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, values: A) -> Result<(), A::Error> {
        if self.is_root {
            return Err(self.not_an_object("a list"));
        }
        let (trouble, deep) = (self.trouble, self.deep);
        match self.column.list() {
            Ok(items) => read_items(values, items, trouble, deep),
            Err(misfit) => Err(refuse(trouble, misfit)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let (trouble, deep) = (self.trouble, self.deep);
        match self.column.fields() {
            Ok(fields) => read_fields(map, fields, trouble, deep),
            Err(misfit) => Err(refuse(trouble, misfit)),
        }
    }
}

fn read_items<'de, A: SeqAccess<'de>>(
    mut values: A,
    items: &mut Items,
    trouble: &RefCell<Option<Misfit>>,
    deep: bool,
) -> Result<(), A::Error> {
    while let Some(()) =
        values.next_element_seed(Cell { column: items.item(), trouble, deep, is_root: false })?
    {}
    items.end().map_err(|misfit| refuse(trouble, misfit))
}

fn read_fields<'de, A: MapAccess<'de>>(
    mut map: A,
    fields: &mut Fields,
    trouble: &RefCell<Option<Misfit>>,
    deep: bool,
) -> Result<(), A::Error> {
    let mut next = 0;
    while let Some(place) = map.next_key_seed(Key { fields, hint: next })? {
        let wanted = place.filter(|place| !fields.is_filled(*place));
        match wanted.and_then(|place| fields.at(place)) {
            Some((name, column)) => {
                let value = Cell { column, trouble, deep, is_root: false };
                map.next_value_seed(value).map_err(|error| wrap(trouble, error, name))?;
            }
            None if deep => map.next_value_seed(Passed)?,
            None => {
                map.next_value::<IgnoredAny>()?;
            }
        }
        next = place.map_or(next, |place| place + 1);
    }
    fields.end();
    Ok(())
}

/// The name of a field, as its place.
struct Key<'a> {
    fields: &'a Fields,
    hint: usize,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.fields.find(name, self.hint))
    }
}

/// A value that nobody wants, within the deserializer's own limit of depth.
struct Passed;

impl<'de> DeserializeSeed<'de> for Passed {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Passed {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, _value: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: serde::de::Error>(self, _value: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, _value: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: serde::de::Error>(self, _value: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, _text: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        while let Some(()) = values.next_element_seed(Passed)? {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(()) = map.next_key_seed(Passed)? {
            map.next_value_seed(Passed)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::read_object;
    use crate::columns::Column;
    use crate::files::ndjson::columns::{CATEGORIES, PolarsRules};
    use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
    use arrow::datatypes::{DataType as Arrow, Field as ArrowField, FieldRef, Schema};
    use arrow_json::ReaderBuilder;
    use dataflare_engine::types::arrow_schema;
    use dataflare_plan::{DataType, Field, TimeUnit};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn field(name: &str, dtype: DataType) -> Field {
        Field { name: name.to_string(), dtype }
    }

    fn read(fields: &[Field], text: &str) -> Result<ArrayRef, String> {
        let mut column = Column::of_message(fields).unwrap();
        read_object(text.as_bytes(), &mut column).map_err(|misfit| misfit.to_string())?;
        Ok(column.take().unwrap())
    }

    fn schema() -> Vec<Field> {
        let pair = vec![field("a", DataType::Int64), field("b", DataType::String)];
        vec![
            field("i", DataType::Int64),
            field("small", DataType::Int8),
            field("u", DataType::UInt64),
            field("f", DataType::Float64),
            field("b", DataType::Boolean),
            field("t", DataType::String),
            field("s", DataType::Struct(pair.clone())),
            field("l", DataType::List(Box::new(DataType::Int64))),
            field("ls", DataType::List(Box::new(DataType::Struct(pair)))),
            field("at", DataType::Datetime { unit: TimeUnit::Microseconds, zone: None }),
        ]
    }

    /// Texts that are texts only, as here.
    fn strict(field: &FieldRef) -> FieldRef {
        let dtype = match field.data_type() {
            Arrow::Struct(fields) => Arrow::Struct(fields.iter().map(strict).collect()),
            Arrow::LargeList(item) => Arrow::LargeList(strict(item)),
            other => other.clone(),
        };
        let metadata = [(CATEGORIES.to_string(), "null".to_string())];
        let plain = ArrowField::new(field.name(), dtype, true);
        Arc::new(if field.data_type() == &Arrow::Utf8View {
            plain.with_metadata(std::collections::HashMap::from(metadata))
        } else {
            plain
        })
    }

    /// The answer of arrow-json under the rules of Polars, which its own tests hold against Polars.
    fn oracle(fields: &[Field], text: &str) -> Result<RecordBatch, String> {
        let schema = arrow_schema(fields);
        let schema = Arc::new(Schema::new(schema.fields().iter().map(strict).collect::<Vec<_>>()));
        let mut decoder = ReaderBuilder::new(schema)
            .with_batch_size(2)
            .with_decoder_factory(Arc::new(PolarsRules))
            .build_decoder()
            .unwrap();
        let read = decoder.decode(text.as_bytes()).map_err(|error| error.to_string())?;
        if read != text.len() || decoder.has_partial_record() || decoder.len() != 1 {
            return Err("not one object".to_string());
        }
        decoder.flush().map_err(|error| error.to_string())?.ok_or_else(|| "no row".to_string())
    }

    fn same(ours: &ArrayRef, theirs: &RecordBatch) -> bool {
        let ours = ours.as_struct();
        ours.columns()
            .iter()
            .zip(theirs.columns())
            .all(|(ours, theirs)| format!("{ours:?}") == format!("{theirs:?}"))
    }

    fn agrees(text: &str) -> Result<(), TestCaseError> {
        let fields = schema();
        match (read(&fields, text), oracle(&fields, text)) {
            (Ok(ours), Ok(theirs)) => {
                prop_assert!(same(&ours, &theirs), "{text}\n{ours:?}\n{theirs:?}");
            }
            (Err(_), Err(_)) => {}
            (ours, theirs) => prop_assert!(false, "{text}\nours: {ours:?}\narrow-json: {theirs:?}"),
        }
        Ok(())
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z]{0,20}".prop_map(|text| format!("\"{text}\"")),
            "\\PC{0,12}".prop_map(|text| serde_json::to_string(&text).unwrap()),
            Just(r#""\u00e9\ud83d\ude00\n\t\"\\\/""#.to_string()),
            Just(r#""2015-07-15T00:00:00.0004""#.to_string()),
            Just(r#""2015-07-15 02:00:00+02:00""#.to_string()),
            Just(r#""2015-02-29T00:00:00""#.to_string()),
        ]
    }

    fn number() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<i64>().prop_map(|number| number.to_string()),
            (-200_i64..200).prop_map(|number| number.to_string()),
            any::<u64>().prop_map(|number| number.to_string()),
            any::<f64>()
                .prop_filter("finite", |number| number.is_finite())
                .prop_map(|number| (number + 0.0).to_string()),
            any::<f64>()
                .prop_filter("finite", |number| number.is_finite())
                .prop_map(|number| format!("{:e}", number + 0.0)),
            prop::sample::select(vec![
                "0",
                // No negative zero, whose sign the parser drops, nor "01", which arrow-json sometimes takes.
                "1.0",
                "1e3",
                "18446744073709551615",
                "18446744073709551616",
                "-9223372036854775808",
                "-9223372036854775809",
                "123456789012345678901234567890",
                "1e-400",
                "9007199254740993",
                "1.",
                ".5",
                "+1",
                "-",
            ])
            .prop_map(str::to_string),
        ]
    }

    fn value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_string()),
            Just("true".to_string()),
            Just("false".to_string()),
            number(),
            text()
        ];
        leaf.prop_recursive(3, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4)
                    .prop_map(|items| format!("[{}]", items.join(", "))),
                prop::collection::vec((prop::sample::select(vec!["a", "b", "c"]), inner), 0..4).prop_map(
                    |pairs| {
                        let pairs: Vec<String> =
                            pairs.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                        format!("{{{}}}", pairs.join(","))
                    }
                ),
            ]
        })
    }

    /// Mostly of the right type.
    fn pair() -> impl Strategy<Value = String> {
        let integers = prop_oneof![(-200_i64..200).prop_map(|number| number.to_string()), number()];
        prop_oneof![
            integers.prop_map(|value| format!("\"i\": {value}")),
            number().prop_map(|value| format!("\"small\":{value}")),
            number().prop_map(|value| format!("\"u\":{value}")),
            number().prop_map(|value| format!("\"f\" :{value}")),
            text().prop_map(|value| format!("\"t\":{value}")),
            text().prop_map(|value| format!("\"at\":{value}")),
            prop::collection::vec(-5_i64..5, 0..4).prop_map(|items| format!("\"l\":{items:?}")),
            (-5_i64..5, text()).prop_map(|(a, b)| format!("\"s\":{{\"a\":{a},\"b\":{b}}}")),
            (-5_i64..5, text()).prop_map(|(a, b)| format!("\"ls\":[{{\"b\":{b}}},null,{{\"a\":{a}}}]")),
            value().prop_map(|value| format!("\"not wanted\":{value}")),
            (prop::sample::select(vec!["i", "f", "b", "t", "s", "l", "ls"]), value())
                .prop_map(|(name, value)| format!("\"{name}\":{value}")),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn objects_become_what_arrow_json_makes_of_them(pairs in prop::collection::vec(pair(), 0..6)) {
            let text = format!("{{{}}}", pairs.join(", "));
            if serde_json::from_str::<serde_json::Value>(&text).is_err() {
                // arrow-json takes numbers such as `1.` where a later value of the same name replaces them.
                prop_assert!(read(&schema(), &text).is_err());
                return Ok(());
            }
            agrees(&text)?;
        }

        #[test]
        fn cut_objects_are_refused(pairs in prop::collection::vec(pair(), 0..4), at in any::<prop::sample::Index>()) {
            let whole = format!("{{{}}}", pairs.join(","));
            let places: Vec<usize> = whole.char_indices().map(|(place, _)| place).collect();
            prop_assert!(read(&schema(), &whole[..places[at.index(places.len())]]).is_err());
        }

        #[test]
        fn a_bad_row_leaves_no_trace(good in prop::collection::vec(pair(), 0..4), bad in prop::collection::vec(value(), 1..4)) {
            let fields = schema();
            let good = format!("{{{}}}", good.join(","));
            let Ok(alone) = read(&fields, &good) else { return Ok(()) };
            let mut column = Column::of_message(&fields).unwrap();
            for (name, value) in ["ls", "s", "t"].into_iter().zip(&bad) {
                let text = format!("{{\"l\": [1, 2], \"t\": \"a text that is not inlined\", \"{name}\": {value}, \"i\": \"x\"}}");
                let rows = column.len();
                prop_assert!(read_object(text.as_bytes(), &mut column).is_err());
                column.truncate(rows);
            }
            prop_assert!(read_object(good.as_bytes(), &mut column).is_ok());
            let after = column.take().unwrap();
            prop_assert_eq!(format!("{:?}", after), format!("{:?}", alone));
        }
    }

    #[test]
    fn a_field_that_does_not_fit_is_named() {
        let fields = schema();
        for (text, expected) in [
            (r#"{"i": "x"}"#, "field i: expected Int64, got \"x\""),
            (r#"{"s": {"a": 1.5}}"#, "field s.a: expected Int64, got 1.5"),
            (r#"{"ls": [{"a": 1}, {"b": 2}]}"#, "field ls.b: expected String, got 2"),
            (r#"{"small": 300}"#, "field small: expected Int8, got 300"),
            (r#"{"l": {}}"#, "field l: expected List(Int64), got an object"),
            (r#"[1]"#, "its value is not one JSON object: got a list"),
        ] {
            assert_eq!(read(&fields, text).unwrap_err(), expected);
        }
        let error = read(&fields, r#"{"i": 1,, "f": 2}"#).unwrap_err();
        assert!(error.starts_with("its value is not one JSON object: ") && error.contains("byte"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn a_tower_of_brackets_is_an_error_and_no_crash() {
        for text in
            [format!("{{\"x\": {}", "[".repeat(1_000_000)), format!("{{\"l\": {}", "[".repeat(1_000_000))]
        {
            assert!(read(&schema(), &text).is_err());
        }
    }

    #[test]
    fn ticks_are_times_too() {
        let row = read(&schema(), r#"{"at": 1436918400000400}"#).unwrap();
        let times = row.as_struct().column_by_name("at").unwrap().clone();
        assert_eq!(
            times.as_primitive::<arrow::datatypes::TimestampMicrosecondType>().value(0),
            1_436_918_400_000_400
        );
    }

    #[test]
    fn decimals_are_numbers_or_texts() {
        let fields = [field("d", DataType::Decimal { precision: 10, scale: 2 })];
        for (text, expected) in [("12.34", 1_234), ("\"-12.3\"", -1_230), ("7", 700), ("0.1", 10)] {
            let row = read(&fields, &format!("{{\"d\": {text}}}")).unwrap();
            let column = row.as_struct().column(0).clone();
            assert_eq!(
                column.as_primitive::<arrow::datatypes::Decimal128Type>().value(0),
                expected,
                "{text}"
            );
            assert!(column.is_valid(0));
        }
        assert!(read(&fields, r#"{"d": 0.001}"#).is_err());
        assert!(read(&fields, r#"{"d": 123456789.5}"#).is_err());
    }
}
