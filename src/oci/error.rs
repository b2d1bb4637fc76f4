//! The protocol's errors, in the format clients receive.

use serde::Serialize;
use serde_json::Value;

/// An error code (spec, "Error Codes"), including those of Docker's registry that are not in the spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// The repository has no such blob.
    BlobUnknown,
    /// The upload can't be completed.
    BlobUploadInvalid,
    /// There is no such upload.
    BlobUploadUnknown,
    /// The digest is malformed, or does not match the content.
    DigestInvalid,
    /// The manifest refers to a blob or manifest that is missing.
    ManifestBlobUnknown,
    /// The manifest is invalid.
    ManifestInvalid,
    /// The repository has no such manifest.
    ManifestUnknown,
    /// The repository's name is invalid.
    NameInvalid,
    /// There is no such repository.
    NameUnknown,
    /// The length does not match the content.
    SizeInvalid,
    /// Authentication is required.
    Unauthorized,
    /// The client lacks the permission.
    Denied,
    /// The operation is not supported.
    Unsupported,
    /// The client sent too many requests.
    #[serde(rename = "TOOMANYREQUESTS")]
    TooManyRequests,
    /// Docker's: the tag is invalid.
    TagInvalid,
    /// Docker's: `n` is not a number.
    PaginationNumberInvalid,
    /// Docker's: the operation is unavailable at the moment.
    Unavailable,
    /// Docker's: an internal error of the registry.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Entry {
    code: ErrorCode,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Value>,
}

/// The body of an error response: one or more errors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorBody {
    errors: Vec<Entry>,
}

impl ErrorBody {
    /// Creates one error with a message for people.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { errors: vec![Entry { code, message: message.into(), detail: None }] }
    }

    /// Creates one error with a detail for programs.
    pub fn with_detail(code: ErrorCode, message: impl Into<String>, detail: Value) -> Self {
        Self { errors: vec![Entry { code, message: message.into(), detail: Some(detail) }] }
    }

    /// Appends the errors of `other`, so that a response can list everything that is missing from a manifest.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.errors.extend(other.errors);
        self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn body_has_the_format_of_the_spec() {
        let missing = |digest: &str| {
            ErrorBody::with_detail(ErrorCode::ManifestBlobUnknown, "missing", json!({ "digest": digest }))
        };
        let body = missing("sha256:1").and(ErrorBody::new(ErrorCode::TooManyRequests, "slow down"));
        let expected = json!({ "errors": [
            { "code": "MANIFEST_BLOB_UNKNOWN", "message": "missing", "detail": { "digest": "sha256:1" } },
            { "code": "TOOMANYREQUESTS", "message": "slow down" },
        ] });
        assert_eq!(serde_json::to_value(body).expect("serialises"), expected);
    }
}
