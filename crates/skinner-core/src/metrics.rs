//! Named numbers that a trainer hands back and a logger writes.

use std::borrow::Cow;

use serde::{Serialize, Serializer, ser::SerializeMap};

/// Named numbers in the order in which they were set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics(Vec<(Cow<'static, str>, f64)>);

impl Metrics {
    /// No numbers yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `name`, replacing what it was.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<f64>) {
        let (name, value) = (name.into(), value.into());
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some(entry) => entry.1 = value,
            None => self.0.push((name, value)),
        }
    }

    /// The number called `name`.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(known, _)| known == name).map(|&(_, value)| value)
    }

    /// Names and numbers in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), *value))
    }

    /// Sets every number of `other` here too.
    pub fn extend(&mut self, other: &Self) {
        for (name, value) in &other.0 {
            self.set(name.clone(), *value);
        }
    }
}

/// A JSON object; numbers that JSON cannot hold become `null`.
impl Serialize for Metrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name.as_ref(), value)?;
        }
        map.end()
    }
}
