//! Reads the fields of a JSON object, and rejects objects that other JSON parsers would read differently: with
//! duplicate or differently spelled fields.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::InvalidManifest;

/// The maximum length of an error message that quotes the client, in characters.
const MAX_REASON_LEN: usize = 200;

/// The known fields of an object, each at most once.
pub(super) struct Object<'a> {
    path: &'a str,
    fields: Vec<(&'static str, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// Parses the `known` fields of the object at `path` (empty for the outermost one).
    pub(super) fn parse(
        json: &'a str,
        path: &'a str,
        known: &'static [&'static str],
    ) -> Result<Self, InvalidManifest> {
        let reader = &mut serde_json::Deserializer::from_str(json);
        let found =
            reader.deserialize_map(KnownFieldsVisitor(known)).and_then(|found| reader.end().map(|()| found));
        let found = found.map_err(|error| match path {
            "" => InvalidManifest::NotJson(truncate(&error.to_string())),
            path => invalid(path, &error),
        })?;
        let mut object = Self { path, fields: Vec::with_capacity(found.len()) };
        for (name, spelling, value) in found {
            if name != spelling || object.raw(name).is_some() {
                return Err(InvalidManifest::AmbiguousField { path: object.path_of(name), spelling });
            }
            object.fields.push((name, value));
        }
        Ok(object)
    }

    /// Returns the value of a field. `None` if it is missing, or null, which Go's clients write for empty values.
    pub(super) fn get<T: Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, InvalidManifest> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        serde_json::from_str(raw.get()).map_err(|error| invalid(self.path_of(name), &error))
    }

    /// Returns the value of a required field.
    pub(super) fn require<T: Deserialize<'a>>(&self, name: &str) -> Result<T, InvalidManifest> {
        self.get(name)?.ok_or_else(|| InvalidManifest::Missing { path: self.path_of(name) })
    }

    /// Calls `each` with the elements of the array `name` and their indexes, and stops at the first error. A missing or
    /// null field has no elements.
    pub(super) fn for_each(
        &self,
        name: &str,
        each: impl FnMut(usize, &'a RawValue) -> Result<(), InvalidManifest>,
    ) -> Result<(), InvalidManifest> {
        let Some(raw) = self.raw(name).filter(|raw| raw.get() != "null") else { return Ok(()) };
        let mut rejected = None;
        let elements = Elements { each, rejected: &mut rejected };
        let read = serde_json::Deserializer::from_str(raw.get()).deserialize_seq(elements);
        match rejected {
            Some(error) => Err(error),
            None => read.map_err(|error| invalid(self.path_of(name), &error)),
        }
    }

    /// Whether the field exists and is not null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.raw(name).is_some_and(|raw| raw.get() != "null")
    }

    /// Returns the path of the field, starting at the outermost object.
    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, raw)| *raw)
    }
}

fn invalid(path: impl Into<String>, error: &serde_json::Error) -> InvalidManifest {
    let reason = error.to_string();
    // The position is relative to the field, so it would mislead.
    let reason = reason.rsplit_once(" at line ").map_or(&*reason, |(reason, _)| reason);
    InvalidManifest::Field { path: path.into(), reason: truncate(reason) }
}

/// Truncates a reason, because serde quotes unexpected values in full.
fn truncate(reason: &str) -> String {
    reason.chars().take(MAX_REASON_LEN).collect()
}

/// Finds the known fields in any spelling.
struct KnownFieldsVisitor(&'static [&'static str]);

impl<'de> Visitor<'de> for KnownFieldsVisitor {
    type Value = Vec<(&'static str, String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found: Self::Value = Vec::new();
        let mut is_ambiguous = false;
        while let Some(key) = map.next_key::<String>()? {
            match self.0.iter().find(|name| is_read_as(&key, name)) {
                // One ambiguous field is enough. The rest is only read to its end.
                Some(name) if !is_ambiguous => {
                    let seen = found.iter().any(|(other, ..)| other == name);
                    is_ambiguous = seen || key != *name;
                    found.push((*name, key, map.next_value()?));
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

/// Reads an array element by element. Collected into a list, an array of small numbers would take eight times the
/// memory of its text.
struct Elements<'r, F> {
    each: F,
    rejected: &'r mut Option<InvalidManifest>,
}

impl<'de, F: FnMut(usize, &'de RawValue) -> Result<(), InvalidManifest>> Visitor<'de> for Elements<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        let mut index = 0;
        while let Some(element) = list.next_element()? {
            if let Err(error) = (self.each)(index, element) {
                *self.rejected = Some(error);
                return Err(A::Error::custom("rejected"));
            }
            index += 1;
        }
        Ok(())
    }
}

/// Whether Go's JSON reader, which most clients use, accepts `key` for the field `name`: it ignores case, and also
/// folds `ſ` and the Kelvin sign.
fn is_read_as(key: &str, name: &str) -> bool {
    let fold = |letter: char| match letter {
        'ſ' => 's',
        '\u{212a}' => 'k',
        letter => letter.to_ascii_lowercase(),
    };
    key.chars().map(fold).eq(name.chars().map(fold))
}

/// Returns how deeply brackets are nested in a text that may be JSON.
pub(super) fn depth(json: &str) -> usize {
    let mut depth = 0_usize;
    let mut deepest = 0;
    let mut quoted = false;
    let mut escaped = false;
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Object<'_>, InvalidManifest> {
        Object::parse(json, "config", &["size", "digest"])
    }

    #[test]
    fn finds_known_fields_and_ignores_others() {
        let object = parse(r#"{"x":[{}],"size":3,"x":1,"digest":null}"#).expect("valid");
        assert_eq!(object.get("size"), Ok(Some(3)));
        assert_eq!(object.get::<String>("digest"), Ok(None));
        assert!(object.has("size") && !object.has("digest"));
        assert_eq!(object.path_of("size"), "config.size");
    }

    #[test]
    fn rejects_fields_that_other_readers_see_differently() {
        for json in [r#"{"size":1,"size":1}"#, r#"{"Size":1}"#, r#"{"ſize":1}"#, r#"{"\u0053ize":1}"#] {
            assert!(matches!(parse(json), Err(InvalidManifest::AmbiguousField { .. })), "{json}");
        }
    }

    #[test]
    fn messages_are_short_and_precise() {
        let reason = |json: &str| match parse(json).and_then(|object| object.get::<u64>("size")) {
            Err(InvalidManifest::Field { path, reason }) => format!("{path}: {reason}"),
            other => panic!("{other:?}"),
        };
        let message = "config.size: invalid type: boolean `true`, expected u64";
        assert_eq!(reason(r#"{"size":true}"#), message);
        assert!(reason(&format!(r#"{{"size":"{}"}}"#, "a".repeat(5000))).len() < 250);
    }

    #[test]
    fn array_is_read_up_to_the_first_error() {
        let read = |json: &str| {
            let mut seen = Vec::new();
            let object = parse(json).expect("an object");
            let outcome = object.for_each("size", |index, element| {
                seen.push((index, element.get().to_owned()));
                if element.get() == "2" { Err(InvalidManifest::UnknownKind) } else { Ok(()) }
            });
            (outcome, seen.len())
        };
        assert_eq!(read(r#"{"size":[1,{"a":[2]},3]}"#), (Ok(()), 3));
        assert_eq!(read(r#"{"size":[1,2,3]}"#), (Err(InvalidManifest::UnknownKind), 2));
        assert_eq!(read(r#"{"size":null}"#), (Ok(()), 0));
        assert_eq!(read("{}"), (Ok(()), 0));
        assert!(matches!(read(r#"{"size":{}}"#), (Err(InvalidManifest::Field { .. }), 0)));
    }

    #[test]
    fn depth_counts_brackets_outside_of_strings() {
        assert_eq!(depth(r#"{"a\"[[[":["\\",[]]}"#), 3);
        assert_eq!(depth("]]}}"), 0);
    }
}
