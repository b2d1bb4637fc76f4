//! Annotations: checked when they are pushed, and read from the manifest's own bytes when they are asked for.
//!
//! A manifest of 4 MB can hold hundreds of thousands of them. As a map they take ten times the memory, so they
//! stay the JSON that they are.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::strings::StringMap;

/// The annotations of a manifest, as the JSON object that it has.
#[derive(Clone)]
pub struct Annotations(Box<RawValue>);

#[derive(Deserialize)]
struct Annotated<'a> {
    #[serde(borrow, default)]
    annotations: Option<&'a RawValue>,
}

impl Annotations {
    /// The annotations of the manifest whose bytes are `content`. `None` if it has none, or cannot be read.
    pub fn of_manifest(content: &[u8]) -> Option<Self> {
        let json = serde_json::from_slice::<Annotated<'_>>(content).ok()?.annotations?;
        let StringMap { len } = serde_json::from_str(json.get()).ok()?;
        (len > 0).then(|| Self(json.to_owned()))
    }

    /// How many bytes they have.
    pub fn len(&self) -> usize {
        self.0.get().len()
    }

    /// Always `false`: no annotations are no value of this type.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The annotations as a map.
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
    fn annotations_are_served_as_the_manifest_has_them() {
        let json = r#"{ "b": "\u00e9", "a":"1" }"#;
        let content = format!(r#"{{"layers":[{{"annotations":{{"x":"y"}}}}],"annotations":{json}}}"#);
        let found = Annotations::of_manifest(content.as_bytes()).expect("some");
        assert_eq!(serde_json::to_string(&found).expect("serialises"), json);
        assert_eq!(found.to_map()["b"], "é");
        assert_eq!(found.len(), json.len());
    }

    #[test]
    fn a_manifest_without_annotations_has_none() {
        for content in
            ["{}", r#"{"annotations":null}"#, r#"{"annotations":{ }}"#, r#"{"annotations":{"a":1}}"#, "", "x"]
        {
            assert_eq!(Annotations::of_manifest(content.as_bytes()), None, "{content}");
        }
    }
}
