//! Values that are written as text: read by one visitor, so that every refusal reads alike.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, Error, Visitor};

/// A value that is written as text.
pub(super) trait Text: Sized {
    /// What may be written, to end the sentence "… is not".
    const EXPECTED: &'static str;

    /// The value that `text` spells, if it spells one.
    fn parse(text: &str) -> Option<Self>;

    /// What to write in the place of `text`, where it is clear what was meant.
    fn suggest(text: &str) -> Option<String> {
        let _ = text;
        None
    }
}

struct TextVisitor<T>(PhantomData<T>);

fn refuse<T: Text, E: Error>(value: impl fmt::Display) -> E {
    E::custom(format_args!("{value} is not {}", T::EXPECTED))
}

impl<T: Text> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::parse(text).ok_or_else(|| match T::suggest(text) {
            Some(suggestion) => {
                E::custom(format_args!("{text:?} is not {}: write {suggestion}", T::EXPECTED))
            }
            None => refuse::<T, E>(format_args!("{text:?}")),
        })
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        Err(refuse::<T, E>(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        Err(refuse::<T, E>(number))
    }
}

/// Reads a [`Text`].
pub(super) fn deserialize<'de, T: Text, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    from.deserialize_str(TextVisitor(PhantomData))
}

/// Gives `$type` serde's traits by way of its [`Text`] and `Display`.
macro_rules! text_serde {
    ($($type:ty),*) => {$(
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                super::text::deserialize(from)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
    )*};
}
pub(super) use text_serde;
