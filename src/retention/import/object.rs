//! Reads objects with case-insensitive keys, as viper reads zot's files.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::duration::{format, parse_go};

/// An object that is read key by key. Problems are collected.
#[derive(Debug)]
pub(super) struct Object<'a> {
    /// The original keys and the values, by the key in lower case. `null` values are left out.
    fields: BTreeMap<String, (&'a str, &'a Value)>,
    unclear: Vec<String>,
}

impl<'a> Object<'a> {
    /// Creates the object from `value`. If `value` is not an object, the result is empty and has a problem.
    pub(super) fn of(value: &'a Value) -> Self {
        let mut object = Self { fields: BTreeMap::new(), unclear: Vec::new() };
        let Value::Object(map) = value else {
            object.unclear.push("expected an object".to_owned());
            return object;
        };
        for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
            if let Some((other, _)) = object.fields.insert(key.to_lowercase(), (key, value)) {
                object.unclear.push(format!("`{other}` and `{key}` are the same key"));
            }
        }
        object
    }

    /// Removes and returns the value of a key, given in lower case.
    pub(super) fn take(&mut self, key: &str) -> Option<&'a Value> {
        self.fields.remove(key).map(|(_, value)| value)
    }

    fn read<T>(&mut self, key: &str, what: &str, read: impl FnOnce(&'a Value) -> Option<T>) -> Option<T> {
        let (written, value) = self.fields.remove(key)?;
        let read = read(value);
        if read.is_none() {
            self.unclear.push(format!("`{written}` is not {what}"));
        }
        read
    }

    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        self.read(key, "true or false", Value::as_bool)
    }

    /// Reads a count; zero counts as absent.
    pub(super) fn count(&mut self, key: &str) -> Option<u32> {
        let count = |value: &Value| u32::try_from(value.as_u64()?).ok();
        self.read(key, "a count", count).filter(|count| *count > 0)
    }

    /// Reads a duration, also in the format of policies.
    pub(super) fn duration(&mut self, key: &str) -> Option<(Duration, String)> {
        self.read(key, "a duration such as \"168h\"", |value| {
            let text = value.as_str()?;
            let duration = parse_go(text)?;
            Some((duration, format(text, duration)))
        })
    }

    pub(super) fn list(&mut self, key: &str) -> Option<&'a [Value]> {
        self.read(key, "a list", |value| value.as_array().map(Vec::as_slice))
    }

    pub(super) fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        self.read(key, "a list of strings", |value| value.as_array()?.iter().map(text).collect())
    }

    /// Records a problem.
    pub(super) fn add_unclear(&mut self, why: impl Into<String>) {
        self.unclear.push(why.into());
    }

    /// Returns all problems, including all keys that were not read.
    pub(super) fn finish(mut self) -> Vec<String> {
        let unknown = self.fields.into_values().map(|(key, _)| format!("`{key}` is unknown"));
        self.unclear.extend(unknown);
        self.unclear
    }
}
