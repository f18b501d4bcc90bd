//! The calls that a task wants.

use serde_json::{Map, Value};

use super::given::Call;

/// More calls are no reference answer.
const MAX_CALLS: usize = 64;

/// A call that is wanted.
pub(super) struct Expected {
    pub(super) name: String,
    arguments: Arguments,
}

enum Arguments {
    /// Each must have this value.
    Equal(Map<String, Value>),
    /// Each must have one of these values.
    Acceptable(Map<String, Value>),
}

/// The calls in a column; else what the column must hold.
pub(super) fn calls(column: &Value) -> Result<Vec<Expected>, String> {
    const MUST: &str = "calls: a list of {\"name\", \"arguments\"} or {name: {argument: [values]}}";
    let parsed: Value;
    let value = match column {
        Value::String(text) => {
            parsed = serde_json::from_str(text).map_err(|error| format!("{MUST} ({error})"))?;
            &parsed
        }
        other => other,
    };
    let items = match value {
        Value::Array(items) if items.len() <= MAX_CALLS => &items[..],
        Value::Array(items) => {
            return Err(format!("at most {MAX_CALLS} calls, there are {}", items.len()));
        }
        one => std::slice::from_ref(one),
    };
    items.iter().map(|item| call(item).ok_or_else(|| MUST.to_owned())).collect()
}

fn call(item: &Value) -> Option<Expected> {
    let item = item.as_object()?;
    if let Some(Value::String(name)) = item.get("name") {
        let acceptable = item.get("acceptable").map(|values| lists(values).ok_or(()));
        let arguments = match acceptable {
            Some(lists) => Arguments::Acceptable(lists.ok()?),
            None => Arguments::Equal(match item.get("arguments") {
                Some(Value::Object(arguments)) => arguments.clone(),
                Some(Value::String(text)) => serde_json::from_str(text).ok()?,
                None => Map::new(),
                Some(_) => return None,
            }),
        };
        return Some(Expected { name: name.clone(), arguments });
    }
    let mut entries = item.iter();
    let (Some((name, values)), None) = (entries.next(), entries.next()) else { return None };
    Some(Expected { name: name.clone(), arguments: Arguments::Acceptable(lists(values)?) })
}

/// Lists of values by argument.
fn lists(values: &Value) -> Option<Map<String, Value>> {
    let lists = values.as_object()?;
    lists.values().all(Value::is_array).then(|| lists.clone())
}

impl Expected {
    /// What is wrong with a call; nothing where it fits.
    pub(super) fn mistake(&self, call: &Call, loose: bool) -> Option<String> {
        if self.name != call.name {
            return Some(format!("`{}` is called, not `{}`", call.name, self.name));
        }
        let name = &self.name;
        let (Arguments::Equal(wanted) | Arguments::Acceptable(wanted)) = &self.arguments;
        for (argument, value) in &call.arguments {
            let Some(wanted) = wanted.get(argument) else {
                return Some(format!("`{name}` has no argument `{argument}`"));
            };
            let right = match &self.arguments {
                Arguments::Equal(_) => same(wanted, value, loose),
                Arguments::Acceptable(_) => acceptable(wanted, value, loose),
            };
            if !right {
                let (value, wanted) = (short(value), short(wanted));
                return Some(format!("`{argument}` of `{name}` is {value}, not {wanted}"));
            }
        }
        let missing = wanted.iter().find(|(argument, values)| {
            let optional = matches!(self.arguments, Arguments::Acceptable(_)) && may_lack(values);
            !optional && !call.arguments.contains_key(*argument)
        });
        missing.map(|(argument, _)| format!("`{name}` lacks the argument `{argument}`"))
    }
}

/// Whether an argument with these acceptable values may be left out.
fn may_lack(values: &Value) -> bool {
    values.as_array().is_some_and(|values| values.iter().any(|value| value.as_str() == Some("")))
}

/// Whether a value is one of a list. Objects in the list hold lists of values themselves.
fn acceptable(list: &Value, value: &Value, loose: bool) -> bool {
    let Some(list) = list.as_array() else { return same(list, value, loose) };
    list.iter().any(|wanted| same(wanted, value, loose) || fits(wanted, value, loose))
}

fn fits(wanted: &Value, value: &Value, loose: bool) -> bool {
    match (wanted, value) {
        (Value::Object(wanted), Value::Object(value)) => {
            let known = value.iter().all(|(key, value)| {
                wanted.get(key).is_some_and(|wanted| acceptable(wanted, value, loose))
            });
            known && wanted.iter().all(|(key, list)| value.contains_key(key) || may_lack(list))
        }
        (Value::Array(wanted), Value::Array(value)) => {
            let each = |(wanted, value)| same(wanted, value, loose) || fits(wanted, value, loose);
            wanted.len() == value.len() && wanted.iter().zip(value).all(each)
        }
        _ => false,
    }
}

fn same(a: &Value, b: &Value, loose: bool) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || a.as_i128().is_none_or(|x| b.as_i128() != Some(x)) && same_number(a, b)
        }
        (Value::String(a), Value::String(b)) => a == b || loose && plain(a) == plain(b),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b, loose))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b, loose)))
        }
        _ => a == b,
    }
}

/// A float and an integer may be the same; two integers are compared as such.
fn same_number(a: &serde_json::Number, b: &serde_json::Number) -> bool {
    let both_whole = a.as_i128().is_some() && b.as_i128().is_some();
    !both_whole && a.as_f64() == b.as_f64()
}

fn plain(text: &str) -> String {
    let left_out = |c: char| c.is_whitespace() || ",./-_*^'\"".contains(c);
    text.chars().filter(|c| !left_out(*c)).flat_map(char::to_lowercase).collect()
}

fn short(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST).chain(['…']).collect()
}
