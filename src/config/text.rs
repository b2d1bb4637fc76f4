//! Settings that are written as text, with uniform error messages.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, Error, Visitor};

/// A setting that is written as text.
pub(super) trait Text: Sized {
    /// The allowed values, to complete the error message "… is not".
    const EXPECTED: &'static str;

    /// Parses `text`.
    fn parse(text: &str) -> Option<Self>;

    /// Suggests a replacement for invalid `text`, if the intention is clear.
    fn suggest(text: &str) -> Option<String> {
        let _ = text;
        None
    }
}

struct TextVisitor<T>(PhantomData<T>);

fn invalid<T: Text, E: Error>(value: impl fmt::Display) -> E {
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
            None => invalid::<T, E>(format_args!("{text:?}")),
        })
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        Err(invalid::<T, E>(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        Err(invalid::<T, E>(number))
    }
}

/// Deserialises a [`Text`].
pub(super) fn deserialize<'de, T: Text, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    from.deserialize_str(TextVisitor(PhantomData))
}

/// Implements serde's traits for `$type` with its [`Text`] and `Display`.
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

/// Implements `Display` for `$type` as that of its only field.
macro_rules! display_inner {
    ($($type:ty),*) => {$(
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

pub(super) use {display_inner, text_serde};
