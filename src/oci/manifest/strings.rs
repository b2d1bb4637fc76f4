//! Maps and lists of strings that are validated and counted but not kept: a manifest of 4 MB can have a million.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

/// An object whose values are strings.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StringMap {
    pub(super) len: usize,
}

/// An array of strings.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct StringList {
    pub(super) len: usize,
}

impl<'de> Deserialize<'de> for StringMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MapVisitor)
    }
}

impl<'de> Deserialize<'de> for StringList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor)
    }
}

struct MapVisitor;

impl<'de> Visitor<'de> for MapVisitor {
    type Value = StringMap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<StringMap, A::Error> {
        let mut len = 0;
        while map.next_entry::<IgnoredString, IgnoredString>()?.is_some() {
            len += 1;
        }
        Ok(StringMap { len })
    }
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = StringList;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of strings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<StringList, A::Error> {
        let mut len = 0;
        while list.next_element::<IgnoredString>()?.is_some() {
            len += 1;
        }
        Ok(StringList { len })
    }
}

/// A string that is not kept.
struct IgnoredString;

impl<'de> Deserialize<'de> for IgnoredString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Self)
    }
}

impl Visitor<'_> for IgnoredString {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_pairs_of_a_map() {
        let read = |json: &str| serde_json::from_str::<StringMap>(json);
        assert_eq!(read(r#"{"a":"1","b":"\n"}"#).expect("valid"), StringMap { len: 2 });
        for json in [r#"{"a":1}"#, r#"{"a":null}"#, r#"{"a":["b"]}"#, "[]", r#""a""#, r#"{"a":"b""#] {
            assert!(read(json).is_err(), "{json}");
        }
    }

    #[test]
    fn counts_the_strings_of_a_list() {
        let read = |json: &str| serde_json::from_str::<StringList>(json);
        assert_eq!(read(r#"["","a"]"#).expect("valid"), StringList { len: 2 });
        for json in [r#"["a",1]"#, r#"["a",null]"#, "{}", r#"["a""#] {
            assert!(read(json).is_err(), "{json}");
        }
    }
}
