//! Values of Python as JSON. What JSON lacks is an object with one key, its kind: `tuple`, `set`, `dict` (a list of
//! pairs), `int` (beyond 64 bits, hexadecimal), `float` (not finite), `bytes`, `complex`, `object`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// A value of JSON as the driver takes it.
pub(super) fn encode(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(encode).collect(),
        Value::Object(map) => json!({ "dict": encode_pairs(map) }),
        other => other.clone(),
    }
}

/// The pairs of an object, with encoded values.
pub(super) fn encode_pairs(map: &Map<String, Value>) -> Vec<Value> {
    map.iter().map(|(key, value)| json!([key, encode(value)])).collect()
}

/// Whether a result of the driver is an expected value of JSON. Numbers are equal by value, as in Python; a tuple is a
/// list; keys that are not texts are equal to the texts that JSON writes for them.
pub(super) fn same(expected: &Value, result: &Value, tolerance: f64) -> bool {
    if let Some(expected) = Number::of(expected) {
        return Number::of(result).is_some_and(|result| expected.near(result, tolerance));
    }
    match expected {
        Value::Array(items) => list(result).is_some_and(|results| {
            let each = |(item, result)| same(item, result, tolerance);
            items.len() == results.len() && items.iter().zip(results).all(each)
        }),
        Value::Object(map) => dictionary(result).is_some_and(|results| {
            let each = |(key, item): (&String, &Value)| {
                results.get(key).is_some_and(|result| same(item, result, tolerance))
            };
            map.len() == results.len() && map.iter().all(each)
        }),
        _ => expected == result,
    }
}

fn list(value: &Value) -> Option<&Vec<Value>> {
    value.as_array().or_else(|| tagged(value, "tuple")?.as_array())
}

/// Texts of keys and their values; none if two keys have one text.
fn dictionary(value: &Value) -> Option<BTreeMap<String, &Value>> {
    let mut found = BTreeMap::new();
    for pair in tagged(value, "dict")?.as_array()? {
        let key = match pair.get(0)? {
            Value::String(text) => text.clone(),
            plain @ (Value::Null | Value::Bool(_) | Value::Number(_)) => plain.to_string(),
            _ => return None,
        };
        if found.insert(key, pair.get(1)?).is_some() {
            return None;
        }
    }
    Some(found)
}

fn tagged<'a>(value: &'a Value, tag: &str) -> Option<&'a Value> {
    value.as_object().filter(|object| object.len() == 1)?.get(tag)
}

/// What is not plain in a result, for a reason that a person reads.
pub(super) fn strange(result: &Value) -> Option<String> {
    match result {
        Value::Array(items) => items.iter().find_map(strange),
        Value::Object(map) => {
            let (tag, inside) = map.iter().next()?;
            match tag.as_str() {
                "object" => Some(format!("a {}", inside.get(0)?.as_str()?)),
                "set" | "frozenset" | "bytes" | "complex" => Some(format!("a {tag}")),
                "float" => Some(inside.as_str()?.to_owned()),
                _ => strange(inside),
            }
        }
        _ => None,
    }
}

#[derive(Clone, Copy)]
enum Number {
    Integer(i128),
    Float(f64),
}

impl Number {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(truth) => Some(Self::Integer(i128::from(*truth))),
            Value::Number(number) => match number.as_i128() {
                Some(integer) => Some(Self::Integer(integer)),
                None => number.as_f64().map(Self::Float),
            },
            _ => hexadecimal(tagged(value, "int")?.as_str()?),
        }
    }

    fn near(self, result: Self, tolerance: f64) -> bool {
        if let (Self::Integer(expected), Self::Integer(result)) = (self, result) {
            return expected == result;
        }
        let (expected, result) = (self.float(), result.float());
        expected == result || (expected - result).abs() <= tolerance * expected.abs().max(1.0)
    }

    fn float(self) -> f64 {
        match self {
            Self::Integer(integer) => integer as f64,
            Self::Float(float) => float,
        }
    }
}

fn hexadecimal(text: &str) -> Option<Number> {
    let (sign, digits) = match text.strip_prefix("-0x") {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix("0x")?),
    };
    i128::from_str_radix(digits, 16).ok().map(|number| Number::Integer(sign * number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_equal_as_in_python() {
        let check = |expected: Value, result: Value, equal: bool| {
            assert_eq!(same(&expected, &result, 1e-6), equal, "{expected} {result}");
        };
        check(json!(1), json!(1.0), true);
        check(json!(1), json!(true), true);
        check(json!(1), json!(2), false);
        check(json!(1_000_000_007), json!(1_000_000_008), false);
        check(json!(0.1), json!(0.1 + 1e-9), true);
        check(json!(0.1), json!(0.1 + 1e-3), false);
        check(json!(1e30), json!({"int": format!("{:#x}", 10_i128.pow(30))}), true);
        check(json!(u64::MAX), json!({"int": "0xffffffffffffffff"}), true);
        check(json!(1), json!({"int": "0x"}), false);
        check(json!(0), json!({"float": "nan"}), false);
        check(json!("a"), json!("a"), true);
        check(json!(null), json!(null), true);
        check(json!(null), json!(0), false);
        check(json!("1"), json!(1), false);
        check(json!([1, [2]]), json!({"tuple": [1, {"tuple": [2]}]}), true);
        check(json!([1]), json!([1, 1]), false);
        check(json!([1]), json!({"set": [1]}), false);
        check(json!({"a": 1}), json!({"dict": [["a", 1]]}), true);
        check(json!({"1": [1]}), json!({"dict": [[1, [1]]]}), true);
        check(json!({"1": 1}), json!({"dict": [[1, 1], ["1", 1]]}), false);
        check(json!({"a": 1}), json!({"dict": [["a", 1], ["a", 1]]}), false);
        check(json!({"a": 1}), json!({"a": 1}), false);
        check(json!({}), json!({"object": ["Always", 0]}), false);
    }
}
