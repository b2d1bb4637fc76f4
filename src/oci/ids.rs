//! Unguessable ids that never repeat: random UUIDs. One of them, with a digest, is the key of a blob.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::Digest;

macro_rules! random_id {
    ($(#[$description:meta])* $name:ident, formatted $form:ident) => {
        $(#[$description])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Creates a random id.
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }

            /// Returns the sixteen bytes of the id.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// Creates the id from the result of [`Self::as_bytes`].
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::try_parse(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.$form().fmt(f)
            }
        }
    };
}

random_id! {
    /// The id of an upload session (spec, "POST then PUT").
    UploadId, formatted hyphenated
}

random_id! {
    /// Identifies the upload that the content of a digest came from: 32 lower-case hex digits.
    Generation, formatted simple
}

/// The key of a stored blob.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobKey {
    /// The digest of the content.
    pub digest: Digest,
    /// The upload that the content came from.
    pub generation: Generation,
}
