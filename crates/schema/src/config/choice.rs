//! Keys that hold one of several kinds, each with parameters of its own: `data = "sst2"` and `[data.sst2]` both
//! choose a kind, and the latter sets its parameters.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor, value::MapAccessDeserializer},
};
use toml::{Table, Value};

/// The names of these keys, wherever they stand. A file that names another kind than the files below it starts that
/// key afresh: parameters of the kind that was there do not linger.
const CHOICES: [&str; 9] =
    ["data", "start", "encoder", "positions", "routing", "budget", "policy", "new_expert", "labels"];

/// Whether a key holds one of several kinds.
pub(super) fn is_choice(key: &str) -> bool {
    CHOICES.contains(&key)
}

/// Whether no choice on the way to a key was made for another kind in this table.
pub(super) fn leaves_open(table: &Table, key: &str) -> bool {
    let mut table = Some(table);
    let parts: Vec<&str> = key.split('.').collect();
    parts.windows(2).all(|pair| {
        table = table.and_then(|table| table.get(pair[0])).and_then(Value::as_table);
        !is_choice(pair[0]) || table.is_none_or(|chosen| chosen.contains_key(pair[1]))
    })
}

/// Lays a choice over the one that was there: the same kind keeps the parameters that are not set again.
pub(super) fn lay_over(base: Option<Value>, over: Value) -> (Option<Value>, Value) {
    let over = as_table(over);
    let kind = |value: &Value| value.as_table().and_then(|table| table.keys().next().cloned());
    let base = base.map(as_table).filter(|base| kind(base) == kind(&over));
    (base, over)
}

/// `"rule"` is the table of the kind `rule` without a parameter.
fn as_table(value: Value) -> Value {
    match value {
        Value::String(kind) => Value::Table(Table::from_iter([(kind, Value::Table(Table::new()))])),
        value => value,
    }
}

/// Reads a choice: the name of a kind, or a table with that name as its one key.
pub(super) fn choice<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(Kind(PhantomData))
}

struct Kind<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Kind<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a kind, or a table with that name as its only key")
    }

    fn visit_str<E: Error>(self, kind: &str) -> Result<T, E> {
        T::deserialize(as_table(Value::String(kind.to_owned()))).map_err(|error| E::custom(error.message()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let value = T::deserialize(MapAccessDeserializer::new(&mut map))?;
        match map.next_key::<String>()? {
            None => Ok(value),
            Some(second) => {
                map.next_value::<IgnoredAny>()?;
                Err(A::Error::custom(format!("names `{second}` beside another kind; keep one of them")))
            }
        }
    }
}
