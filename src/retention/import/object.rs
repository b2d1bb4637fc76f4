//! An object whose keys are read in any case, as viper reads zot's files.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::duration::{parse_go, written};

/// An object that is read key by key. What is not understood is collected.
#[derive(Debug)]
pub(super) struct Object<'a> {
    /// By the key in lower case: the key as it is written, and the value. `null` is left out.
    fields: BTreeMap<String, (&'a str, &'a Value)>,
    unclear: Vec<String>,
}

impl<'a> Object<'a> {
    /// The object that `value` is. Anything else is empty and not understood.
    pub(super) fn of(value: &'a Value) -> Self {
        let mut object = Self { fields: BTreeMap::new(), unclear: Vec::new() };
        let Value::Object(map) = value else {
            object.unclear.push("an object is expected".to_owned());
            return object;
        };
        for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
            if let Some((other, _)) = object.fields.insert(key.to_lowercase(), (key, value)) {
                object.unclear.push(format!("`{other}` and `{key}` are one key"));
            }
        }
        object
    }

    /// The value of a key, which is given in lower case.
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

    /// A count; zero is none.
    pub(super) fn count(&mut self, key: &str) -> Option<u32> {
        let count = |value: &Value| u32::try_from(value.as_u64()?).ok();
        self.read(key, "a count", count).filter(|count| *count > 0)
    }

    /// A duration, and how policies write it.
    pub(super) fn duration(&mut self, key: &str) -> Option<(Duration, String)> {
        self.read(key, "a duration such as \"168h\"", |value| {
            let text = value.as_str()?;
            let duration = parse_go(text)?;
            Some((duration, written(text, duration)))
        })
    }

    pub(super) fn list(&mut self, key: &str) -> Option<&'a [Value]> {
        self.read(key, "a list", |value| value.as_array().map(Vec::as_slice))
    }

    pub(super) fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        self.read(key, "a list of texts", |value| value.as_array()?.iter().map(text).collect())
    }

    /// Notes something that is not understood.
    pub(super) fn is_unclear(&mut self, why: impl Into<String>) {
        self.unclear.push(why.into());
    }

    /// What is not understood, every key that was not read among it.
    pub(super) fn finish(mut self) -> Vec<String> {
        let unknown = self.fields.into_values().map(|(key, _)| format!("`{key}` is not known"));
        self.unclear.extend(unknown);
        self.unclear
    }
}
