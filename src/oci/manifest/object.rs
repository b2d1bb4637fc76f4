//! A JSON object's fields, read so that no other reader can see another value than we do.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::InvalidManifest;

/// The most characters of a message that quotes the client.
const MAX_REASON_LEN: usize = 200;

/// Those fields of an object that matter, each there at most once.
pub(super) struct Object<'a> {
    path: &'a str,
    fields: Vec<(&'static str, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// Reads the `known` fields of the object that lies at `path` (empty for the outermost one).
    pub fn parse(
        json: &'a str,
        path: &'a str,
        known: &'static [&'static str],
    ) -> Result<Self, InvalidManifest> {
        let reader = &mut serde_json::Deserializer::from_str(json);
        let found = reader.deserialize_map(Known(known)).and_then(|found| reader.end().map(|()| found));
        let found = found.map_err(|error| match path {
            "" => InvalidManifest::NotJson(brief(&error.to_string())),
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

    /// The field's value. `None` if it is not there or null, which Go's clients write for what is empty.
    pub fn get<T: Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, InvalidManifest> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        serde_json::from_str(raw.get()).map_err(|error| invalid(self.path_of(name), &error))
    }

    /// The field's value, which has to be there.
    pub fn require<T: Deserialize<'a>>(&self, name: &str) -> Result<T, InvalidManifest> {
        self.get(name)?.ok_or_else(|| InvalidManifest::Missing { path: self.path_of(name) })
    }

    /// Calls `each` with the elements of the array `name` and their indexes, up to the first that it rejects. A field
    /// that is not there, or null, has none.
    pub fn for_each(
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

    /// Whether the field is there and not null.
    pub fn has(&self, name: &str) -> bool {
        self.raw(name).is_some_and(|raw| raw.get() != "null")
    }

    /// The field's place, from the outermost object on.
    pub fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, raw)| *raw)
    }
}

fn invalid(path: impl Into<String>, error: &serde_json::Error) -> InvalidManifest {
    let reason = error.to_string();
    // The position counts from the field's own beginning, which helps nobody.
    let reason = reason.rsplit_once(" at line ").map_or(&*reason, |(reason, _)| reason);
    InvalidManifest::Field { path: path.into(), reason: brief(reason) }
}

/// serde quotes the value that it did not expect, however long it is.
fn brief(reason: &str) -> String {
    reason.chars().take(MAX_REASON_LEN).collect()
}

/// Finds the known fields, however they are spelled.
struct Known(&'static [&'static str]);

impl<'de> Visitor<'de> for Known {
    type Value = Vec<(&'static str, String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found: Self::Value = Vec::new();
        let mut is_ambiguous = false;
        while let Some(key) = map.next_key::<String>()? {
            match self.0.iter().find(|name| is_read_as(&key, name)) {
                // One that makes the object ambiguous is enough: what follows is only read to its end.
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

/// Reads an array element by element: as a list, a manifest's worth of numbers takes eight times its length.
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

/// Whether Go's JSON reader, which all the clients have, takes `key` for the field `name`: it folds case, and
/// `ſ` and the Kelvin sign too.
fn is_read_as(key: &str, name: &str) -> bool {
    let fold = |letter: char| match letter {
        'ſ' => 's',
        '\u{212a}' => 'k',
        letter => letter.to_ascii_lowercase(),
    };
    key.chars().map(fold).eq(name.chars().map(fold))
}

/// How deeply brackets are nested in what is, or may be, JSON.
pub(super) fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
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
    fn fields_are_found_and_the_unknown_ignored() {
        let object = parse(r#"{"x":[{}],"size":3,"x":1,"digest":null}"#).expect("valid");
        assert_eq!(object.get("size"), Ok(Some(3)));
        assert_eq!(object.get::<String>("digest"), Ok(None));
        assert!(object.has("size") && !object.has("digest"));
        assert_eq!(object.path_of("size"), "config.size");
    }

    #[test]
    fn what_another_reader_would_see_otherwise_is_refused() {
        for json in [r#"{"size":1,"size":1}"#, r#"{"Size":1}"#, r#"{"ſize":1}"#, r#"{"\u0053ize":1}"#] {
            assert!(matches!(parse(json), Err(InvalidManifest::AmbiguousField { .. })), "{json}");
        }
    }

    #[test]
    fn messages_stay_short_and_to_the_point() {
        let reason = |json: &str| match parse(json).and_then(|object| object.get::<u64>("size")) {
            Err(InvalidManifest::Field { path, reason }) => format!("{path}: {reason}"),
            other => panic!("{other:?}"),
        };
        let message = "config.size: invalid type: boolean `true`, expected u64";
        assert_eq!(reason(r#"{"size":true}"#), message);
        assert!(reason(&format!(r#"{{"size":"{}"}}"#, "a".repeat(5000))).len() < 250);
    }

    #[test]
    fn an_array_is_read_up_to_what_is_rejected() {
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
