//! The protocol's errors, as clients read them.

use serde::{Serialize, Serializer};
use serde_json::Value;

/// An error's code (spec, "Error Codes"), with those few that only Docker's registry knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The repository has no such blob.
    BlobUnknown,
    /// The upload cannot be what it should become.
    BlobUploadInvalid,
    /// There is no such upload.
    BlobUploadUnknown,
    /// The digest is none, or not that of the content.
    DigestInvalid,
    /// The manifest refers to something that is not here.
    ManifestBlobUnknown,
    /// The manifest is none.
    ManifestInvalid,
    /// The repository has no such manifest.
    ManifestUnknown,
    /// The repository's name is none.
    NameInvalid,
    /// There is no such repository.
    NameUnknown,
    /// The length is not that of the content.
    SizeInvalid,
    /// Who are you?
    Unauthorized,
    /// You may not.
    Denied,
    /// It is not done here.
    Unsupported,
    /// Too much at once.
    TooManyRequests,
    /// Docker's: the tag is none.
    TagInvalid,
    /// Docker's: the chunk does not begin where the upload ends, or its range is none.
    RangeInvalid,
    /// Docker's: `n` is no number.
    PaginationNumberInvalid,
    /// Docker's: it cannot be done now.
    Unavailable,
    /// Docker's: the registry's own fault.
    Unknown,
}

impl ErrorCode {
    /// The code as the wire spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
            Self::TagInvalid => "TAG_INVALID",
            Self::RangeInvalid => "RANGE_INVALID",
            Self::PaginationNumberInvalid => "PAGINATION_NUMBER_INVALID",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unknown => "UNKNOWN",
        }
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Entry {
    code: ErrorCode,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Value>,
}

/// The body of an error's response: one error or more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorBody {
    errors: Vec<Entry>,
}

impl ErrorBody {
    /// One error, with a message for people.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { errors: vec![Entry { code, message: message.into(), detail: None }] }
    }

    /// One error, with a detail for programs.
    pub fn with_detail(code: ErrorCode, message: impl Into<String>, detail: Value) -> Self {
        Self { errors: vec![Entry { code, message: message.into(), detail: Some(detail) }] }
    }

    /// These errors and those of `other`: a manifest names everything that is missing at once.
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
    fn the_body_has_the_spec_s_form() {
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
