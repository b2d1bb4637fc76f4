//! A descriptor, as a manifest that is pushed has it.

use serde_json::value::RawValue;

use super::InvalidManifest;
use super::base64;
use super::object::Object;
use super::strings::{StringList, StringMap};
use crate::oci::{Digest, Hasher};

const FIELDS: [&str; 6] = ["mediaType", "digest", "size", "urls", "annotations", "data"];

/// The largest size: what an int64 holds, which is how clients and databases read it.
const MAX_SIZE: u64 = i64::MAX.unsigned_abs();

/// A valid descriptor (image-spec, descriptor.md).
pub(super) struct PushedDescriptor {
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    /// Whether it says from where else its content can be had.
    pub has_urls: bool,
}

impl PushedDescriptor {
    /// Reads the descriptor that lies at `path`.
    pub fn parse(json: &RawValue, path: &str) -> Result<Self, InvalidManifest> {
        let object = Object::parse(json.get(), path, &FIELDS)?;
        let urls = object.get::<StringList>("urls")?.unwrap_or_default();
        object.get::<StringMap>("annotations")?;
        let descriptor = Self {
            media_type: media_type(&object)?,
            digest: digest(&object)?,
            size: size(&object)?,
            has_urls: urls.len > 0,
        };
        descriptor.check_data(&object)?;
        Ok(descriptor)
    }

    /// Embedded content has to be the content that the rest describes, for clients may take it instead.
    fn check_data(&self, object: &Object<'_>) -> Result<(), InvalidManifest> {
        let Some(data) = object.get::<String>("data")? else { return Ok(()) };
        let content = base64::decode(&data).ok_or_else(|| invalid(object, "data", "it is no base64"))?;
        if content.len() as u64 != self.size {
            return Err(invalid(object, "data", "it has not the descriptor's size"));
        }
        if Hasher::digest(self.digest.algorithm(), &content) != self.digest {
            return Err(invalid(object, "data", "it has not the descriptor's digest"));
        }
        Ok(())
    }
}

/// Any text: clients have always been free in what they call their layers.
fn media_type(object: &Object<'_>) -> Result<String, InvalidManifest> {
    let media_type: String = object.require("mediaType")?;
    if media_type.is_empty() { Err(invalid(object, "mediaType", "it is empty")) } else { Ok(media_type) }
}

fn digest(object: &Object<'_>) -> Result<Digest, InvalidManifest> {
    let digest: String = object.require("digest")?;
    digest.parse().map_err(|error| invalid(object, "digest", &error))
}

fn size(object: &Object<'_>) -> Result<u64, InvalidManifest> {
    let size = object.require("size")?;
    if size > MAX_SIZE { Err(invalid(object, "size", "it is too large")) } else { Ok(size) }
}

fn invalid(object: &Object<'_>, field: &str, reason: &(impl ToString + ?Sized)) -> InvalidManifest {
    InvalidManifest::Field { path: object.path_of(field), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::oci::Algorithm;

    fn parse(descriptor: &Value) -> Result<PushedDescriptor, InvalidManifest> {
        let raw = serde_json::value::to_raw_value(descriptor).expect("serialises");
        PushedDescriptor::parse(&raw, "layers[0]")
    }

    fn with(field: &str, value: Value) -> Value {
        let digest = Hasher::digest(Algorithm::Sha256, b"hello").to_string();
        let mut descriptor = json!({ "mediaType": "a/b", "digest": digest, "size": 5 });
        descriptor[field] = value;
        descriptor
    }

    #[test]
    fn what_may_be_there_may_be_there() {
        assert!(!parse(&with("urls", json!([]))).expect("valid").has_urls);
        assert!(parse(&with("urls", json!(["https://example.com"]))).expect("valid").has_urls);
        assert!(parse(&with("platform", json!({ "os": "linux" }))).is_ok());
        assert!(parse(&with("annotations", json!({ "a": "b" }))).is_ok());
        assert!(parse(&with("data", Value::Null)).is_ok());
        assert!(parse(&with("data", json!("aGVsbG8="))).is_ok());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = [
            ("mediaType", json!("")),
            ("digest", json!("sha256:12")),
            ("size", json!(-1)),
            ("size", json!(5.0)),
            ("size", json!("5")),
            ("size", json!(u64::MAX)),
            ("urls", json!("https://example.com")),
            ("annotations", json!({ "a": 1 })),
            ("data", json!("aGVsbG8")),
            ("data", json!("aGVsbA==")),
            ("data", json!("SGVsbG8=")),
            ("data", json!("")),
        ];
        for (field, value) in wrong {
            let error = parse(&with(field, value.clone())).err();
            let path = match &error {
                Some(InvalidManifest::Field { path, .. }) => path.as_str(),
                other => panic!("{field} {value}: {other:?}"),
            };
            assert_eq!(path, format!("layers[0].{field}"), "{value}");
        }
    }

    #[test]
    fn what_has_to_be_there_has_to_be_there() {
        for field in ["mediaType", "digest", "size"] {
            let path = format!("layers[0].{field}");
            assert_eq!(parse(&with(field, Value::Null)).err(), Some(InvalidManifest::Missing { path }));
        }
    }
}
