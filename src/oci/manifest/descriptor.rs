//! Descriptors in a pushed manifest.

use serde_json::value::RawValue;

use super::InvalidManifest;
use super::base64;
use super::object::Object;
use super::strings::{StringList, StringMap};
use crate::oci::{Digest, Hasher};

const FIELDS: [&str; 6] = ["mediaType", "digest", "size", "urls", "annotations", "data"];

/// The maximum size: the largest int64, which is what clients and databases use.
const MAX_SIZE: u64 = i64::MAX.unsigned_abs();

/// A valid descriptor (image-spec, descriptor.md).
pub(super) struct PushedDescriptor {
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    /// Whether it lists other locations of the content.
    pub has_urls: bool,
}

impl PushedDescriptor {
    /// Parses the descriptor at `path`.
    pub(super) fn parse(json: &RawValue, path: &str) -> Result<Self, InvalidManifest> {
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

    /// Embedded content must match the digest and the size, because clients may use it instead of the blob.
    fn check_data(&self, object: &Object<'_>) -> Result<(), InvalidManifest> {
        let Some(data) = object.get::<String>("data")? else { return Ok(()) };
        let content =
            base64::decode(&data).ok_or_else(|| invalid(object, "data", "it is not valid base64"))?;
        if content.len() as u64 != self.size {
            return Err(invalid(object, "data", "it does not match the descriptor's size"));
        }
        if Hasher::digest(self.digest.algorithm(), &content) != self.digest {
            return Err(invalid(object, "data", "it does not match the descriptor's digest"));
        }
        Ok(())
    }
}

/// Returns the media type. Any text is allowed, because clients have always named the types of their layers freely.
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
    fn accepts_optional_fields() {
        assert!(!parse(&with("urls", json!([]))).expect("valid").has_urls);
        assert!(parse(&with("urls", json!(["https://example.com"]))).expect("valid").has_urls);
        assert!(parse(&with("platform", json!({ "os": "linux" }))).is_ok());
        assert!(parse(&with("annotations", json!({ "a": "b" }))).is_ok());
        assert!(parse(&with("data", Value::Null)).is_ok());
        assert!(parse(&with("data", json!("aGVsbG8="))).is_ok());
    }

    #[test]
    fn error_names_the_invalid_field() {
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
    fn rejects_missing_required_fields() {
        for field in ["mediaType", "digest", "size"] {
            let path = format!("layers[0].{field}");
            assert_eq!(parse(&with(field, Value::Null)).err(), Some(InvalidManifest::Missing { path }));
        }
    }
}
