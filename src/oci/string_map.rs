//! Reads JSON objects with string values, such as labels and annotations, without keeping more than needed: clients
//! push megabytes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

/// The maximum length of a value that is read for a rule, in bytes.
pub(super) const MAX_VALUE_LEN: usize = 16 << 10;

/// Pairs of an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Pairs {
    /// The selected pairs.
    pub(super) pairs: BTreeMap<String, String>,
    /// Whether pairs that match the selection were left out.
    pub(super) incomplete: bool,
}

/// Selects whole pairs of the object `json`, shortest first, up to `max_bytes` of JSON.
pub(super) fn shortest(json: &str, max_bytes: usize) -> Result<Pairs, serde_json::Error> {
    let shortest = Shortest { max_bytes, bytes: 0, by_len: BTreeSet::new(), found: Pairs::default() };
    serde_json::Deserializer::from_str(json).deserialize_map(shortest)
}

/// Selects the pairs of the object `json` with these keys. Values longer than [`MAX_VALUE_LEN`] are left out.
pub(super) fn with_keys(json: &str, keys: &BTreeSet<String>) -> Result<Pairs, serde_json::Error> {
    serde_json::Deserializer::from_str(json).deserialize_map(WithKeys(keys))
}

struct Shortest {
    max_bytes: usize,
    bytes: usize,
    by_len: BTreeSet<(usize, String)>,
    found: Pairs,
}

impl Shortest {
    /// Adds a pair. If a key occurs twice the later pair wins, as in Go's JSON reader.
    fn add(&mut self, key: String, value: String) {
        if let Some(earlier) = self.found.pairs.remove(&key) {
            let len = pair_len(&key, &earlier);
            self.by_len.remove(&(len, key.clone()));
            self.bytes -= len;
        }
        let len = pair_len(&key, &value);
        self.bytes += len;
        self.by_len.insert((len, key.clone()));
        self.found.pairs.insert(key, value);
        while self.bytes > self.max_bytes
            && let Some((len, key)) = self.by_len.pop_last()
        {
            self.bytes -= len;
            self.found.pairs.remove(&key);
            self.found.incomplete = true;
        }
    }
}

impl<'de> Visitor<'de> for Shortest {
    type Value = Pairs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of strings")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Pairs, A::Error> {
        // Docker's configs use null for empty values.
        while let Some((key, value)) = map.next_entry::<String, Option<String>>()? {
            self.add(key, value.unwrap_or_default());
        }
        Ok(self.found)
    }
}

/// Returns the length of a pair in JSON: `"key":"value",`.
fn pair_len(key: &str, value: &str) -> usize {
    string_len(key) + string_len(value) + 2
}

fn string_len(text: &str) -> usize {
    let byte_len = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(byte_len).sum::<usize>() + 2
}

struct WithKeys<'k>(&'k BTreeSet<String>);

impl<'de> Visitor<'de> for WithKeys<'_> {
    type Value = Pairs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
        let mut pairs = BTreeMap::new();
        let mut too_long = BTreeSet::new();
        while let Some(known) = map.next_key_seed(KnownKey(self.0))? {
            let Some(key) = known else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = map.next_value::<Option<String>>()?.unwrap_or_default();
            if value.len() > MAX_VALUE_LEN {
                pairs.remove(key);
                too_long.insert(key);
            } else {
                too_long.remove(key);
                pairs.insert(key.clone(), value);
            }
        }
        Ok(Pairs { pairs, incomplete: !too_long.is_empty() })
    }
}

/// Looks up a key among the selected ones.
struct KnownKey<'k>(&'k BTreeSet<String>);

impl<'de, 'k> DeserializeSeed<'de> for KnownKey<'k> {
    type Value = Option<&'k String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'k> Visitor<'_> for KnownKey<'k> {
    type Value = Option<&'k String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.get(key))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(keys: &[&str]) -> BTreeSet<String> {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }

    fn found(pairs: &[(&str, &str)], incomplete: bool) -> Pairs {
        let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Pairs { pairs, incomplete }
    }

    #[test]
    fn selects_the_shortest_pairs_as_a_whole() {
        let json = r#"{"long":"0123456789","a":"1","b":null,"c":"22"}"#;
        assert_eq!(
            shortest(json, 1000).expect("read"),
            found(&[("long", "0123456789"), ("a", "1"), ("b", ""), ("c", "22")], false)
        );
        // `"b":"",` takes 7 bytes, `"a":"1",` takes 8 and `"c":"22",` takes 9.
        assert_eq!(shortest(json, 24).expect("read"), found(&[("b", ""), ("a", "1"), ("c", "22")], true));
        assert_eq!(shortest(json, 23).expect("read"), found(&[("b", ""), ("a", "1")], true));
        assert_eq!(shortest(json, 0).expect("read"), found(&[], true));
        assert_eq!(shortest("{}", 0).expect("read"), found(&[], false));
    }

    #[test]
    fn last_pair_wins_for_duplicate_keys() {
        let short = r#""a":"1""#;
        let long = r#""a":"0123456789""#;
        assert_eq!(shortest(&format!("{{{long},{short}}}"), 10).expect("read"), found(&[("a", "1")], true));
        assert_eq!(shortest(&format!("{{{short},{long}}}"), 10).expect("read"), found(&[], true));
        let json = format!("{{{long},{short}}}");
        assert_eq!(with_keys(&json, &keys(&["a"])).expect("read"), found(&[("a", "1")], false));
    }

    #[test]
    fn reads_only_pairs_with_selected_keys() {
        let json = r#"{"a":"1","\u0062":"2","c":"3","d":null}"#;
        let selected = keys(&["b", "d", "x"]);
        assert_eq!(with_keys(json, &selected).expect("read"), found(&[("b", "2"), ("d", "")], false));
        let long = format!(r#"{{"a":"{}","b":"2"}}"#, "x".repeat(MAX_VALUE_LEN + 1));
        assert_eq!(with_keys(&long, &keys(&["a", "b"])).expect("read"), found(&[("b", "2")], true));
    }

    #[test]
    fn rejects_anything_but_a_map_of_strings() {
        for json in [r#"{"a":1}"#, r#"{"a":["b"]}"#, "[]", "null", r#"{"a":"b""#] {
            assert!(shortest(json, 100).is_err(), "{json}");
            assert!(with_keys(json, &keys(&["a"])).is_err(), "{json}");
        }
    }

    proptest! {
        /// Gives the same result as sorting all pairs and taking them while they fit.
        #[test]
        fn the_shortest_pairs_are_selected(
            pairs in prop::collection::btree_map("[a-c\"\n]{0,4}", "[x\\\\\u{1}]{0,6}", 0..9),
            max_bytes in 0_usize..80,
        ) {
            let json = serde_json::to_string(&pairs).expect("serialises");
            let mut sorted: Vec<_> = pairs.iter().map(|(key, value)| (pair_len(key, value), key, value)).collect();
            sorted.sort();
            let mut bytes = 0;
            let fits = |(len, ..): &&(usize, &String, &String)| {
                bytes += len;
                bytes <= max_bytes
            };
            let expected: BTreeMap<_, _> =
                sorted.iter().take_while(fits).map(|(_, key, value)| ((*key).clone(), (*value).clone())).collect();
            let incomplete = expected.len() < pairs.len();
            let found = shortest(&json, max_bytes).expect("read");
            let stored = serde_json::to_string(&found.pairs).expect("serialises");
            prop_assert!(found.pairs.is_empty() || stored.len() <= max_bytes + 1);
            prop_assert_eq!(found, Pairs { pairs: expected, incomplete });
        }
    }
}
