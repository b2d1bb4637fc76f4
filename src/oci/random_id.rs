//! Ids that nobody can guess and that never come twice: random UUIDs.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

macro_rules! random_id {
    ($(#[$description:meta])* $name:ident, written $form:ident) => {
        $(#[$description])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A new one.
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }

            /// Its sixteen bytes.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The one whose [`Self::as_bytes`] these are.
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
    /// An upload's session id (spec, "POST then PUT").
    UploadId, written hyphenated
}

random_id! {
    /// Which of a digest's uploads some bytes came from: 32 lower-case hex digits.
    Generation, written simple
}
