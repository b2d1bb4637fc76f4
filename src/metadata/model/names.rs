//! Enums whose values have names.

/// Defines an enum whose values are displayed, parsed and serialised by name. Any other text is the error `$error`.
macro_rules! named {
    (
        $(#[$attribute:meta])*
        pub enum $type:ident or $error:ident {
            $( $(#[$doc:meta])* $value:ident = $name:literal, )*
        }
    ) => {
        $(#[$attribute])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
        )]
        pub enum $type {
            $( $(#[$doc])* #[serde(rename = $name)] $value, )*
        }

        impl $type {
            /// All values, in the order of their definition.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$value),*];

            /// Returns its name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $name,)*
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                Self::ALL.into_iter().find(|value| value.name() == text).ok_or($error)
            }
        }
    };
}

pub(super) use named;
