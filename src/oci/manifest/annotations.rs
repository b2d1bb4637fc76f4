//! Annotations: validated when a manifest is pushed, and read from the manifest's content when needed.
//!
//! A manifest of 4 MB can have hundreds of thousands of annotations. As a map they take ten times the memory, so they
//! are kept as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::strings::StringMap;
use crate::oci::string_map;

/// The annotations of a manifest, as the JSON object in its content.
#[derive(Clone)]
pub struct Annotations(Box<RawValue>);

#[derive(Deserialize)]
struct Annotated<'a> {
    #[serde(borrow, default)]
    annotations: Option<&'a RawValue>,
}

impl Annotations {
    /// Reads the annotations of a manifest. Returns `None` if it has none or can't be read.
    pub fn of_manifest(content: &[u8]) -> Option<Self> {
        let json = serde_json::from_slice::<Annotated<'_>>(content).ok()?.annotations?;
        let StringMap { len } = serde_json::from_str(json.get()).ok()?;
        (len > 0).then(|| Self(json.to_owned()))
    }

    /// Reads the annotations with these keys of a manifest. Returns `None` if they can't be read or one is larger than
    /// 16 KiB.
    pub fn with_keys(content: &[u8], keys: &BTreeSet<String>) -> Option<BTreeMap<String, String>> {
        let Annotated { annotations } = serde_json::from_slice(content).ok()?;
        let Some(json) = annotations else {
            return Some(BTreeMap::new());
        };
        let found = string_map::with_keys(json.get(), keys).ok()?;
        (!found.incomplete).then_some(found.pairs)
    }

    /// Returns the size of the annotations as JSON.
    pub fn json_len(&self) -> usize {
        self.0.get().len()
    }

    /// Converts the annotations to a map.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        serde_json::from_str(self.0.get()).unwrap_or_default()
    }
}

impl fmt::Debug for Annotations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get())
    }
}

impl PartialEq for Annotations {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl Eq for Annotations {}

impl Serialize for Annotations {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_keep_their_json_form() {
        let json = r#"{ "b": "\u00e9", "a":"1" }"#;
        let content = format!(r#"{{"layers":[{{"annotations":{{"x":"y"}}}}],"annotations":{json}}}"#);
        let found = Annotations::of_manifest(content.as_bytes()).expect("some");
        assert_eq!(serde_json::to_string(&found).expect("serialises"), json);
        assert_eq!(found.to_map()["b"], "é");
        assert_eq!(found.json_len(), json.len());
    }

    #[test]
    fn manifest_without_annotations_has_none() {
        for content in
            ["{}", r#"{"annotations":null}"#, r#"{"annotations":{ }}"#, r#"{"annotations":{"a":1}}"#, "", "x"]
        {
            assert_eq!(Annotations::of_manifest(content.as_bytes()), None, "{content}");
        }
    }

    #[test]
    fn reads_selected_annotations() {
        let keys = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let read = |annotations: &str| {
            let content = format!(r#"{{"annotations":{annotations}}}"#);
            Annotations::with_keys(content.as_bytes(), &keys)
        };
        assert_eq!(read(r#"{"a":"1","c":"2"}"#), Some(BTreeMap::from([("a".into(), "1".into())])));
        assert_eq!(read("null"), Some(BTreeMap::new()));
        assert_eq!(read(&format!(r#"{{"a":"{}"}}"#, "x".repeat(20_000))), None);
        assert_eq!(Annotations::with_keys(b"{}", &keys), Some(BTreeMap::new()));
        assert_eq!((Annotations::with_keys(b"{", &keys), read("[]")), (None, None));
    }
}
