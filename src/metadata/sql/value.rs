//! Values, and the types that can be stored as values.

use std::borrow::Cow;

use super::FromSqlError;

/// A value that is bound to a parameter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    /// `NULL`.
    Null,
    /// A 64-bit number.
    Integer(i64),
    /// Text.
    Text(Cow<'a, str>),
    /// Bytes.
    Blob(Cow<'a, [u8]>),
}

/// A value of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum ValueRef<'a> {
    /// `NULL`.
    Null,
    /// A 64-bit number.
    Integer(i64),
    /// Text, not yet checked to be UTF-8.
    Text(&'a [u8]),
    /// Bytes.
    Blob(&'a [u8]),
}

type Decoded<T> = Result<T, FromSqlError>;

impl<'a> ValueRef<'a> {
    /// The number.
    pub(crate) fn as_i64(self) -> Decoded<i64> {
        match self {
            Self::Integer(number) => Ok(number),
            Self::Null | Self::Text(_) | Self::Blob(_) => Err(FromSqlError::InvalidType),
        }
    }

    /// The text.
    pub(crate) fn as_str(self) -> Decoded<&'a str> {
        self.as_str_or_null()?.ok_or(FromSqlError::InvalidType)
    }

    /// The text; `None` for `NULL`.
    pub(crate) fn as_str_or_null(self) -> Decoded<Option<&'a str>> {
        match self {
            Self::Null => Ok(None),
            Self::Text(text) => str::from_utf8(text).map(Some).map_err(FromSqlError::other),
            Self::Integer(_) | Self::Blob(_) => Err(FromSqlError::InvalidType),
        }
    }

    /// The bytes.
    pub(crate) fn as_blob(self) -> Decoded<&'a [u8]> {
        self.as_blob_or_null()?.ok_or(FromSqlError::InvalidType)
    }

    /// The value as a text for people.
    pub(crate) fn describe(self) -> Decoded<String> {
        match self {
            Self::Null => Ok(String::new()),
            Self::Integer(number) => Ok(number.to_string()),
            Self::Text(_) => self.as_str().map(str::to_owned),
            Self::Blob(bytes) => Ok(hex::encode(bytes)),
        }
    }

    /// The bytes; `None` for `NULL`.
    pub(crate) fn as_blob_or_null(self) -> Decoded<Option<&'a [u8]>> {
        match self {
            Self::Null => Ok(None),
            Self::Blob(bytes) => Ok(Some(bytes)),
            Self::Integer(_) | Self::Text(_) => Err(FromSqlError::InvalidType),
        }
    }
}

/// A type that can be stored.
pub(crate) trait ToSql {
    /// The value that stands for it.
    fn to_sql(&self) -> Value<'_>;
}

/// A type that can be read from a column.
pub(crate) trait FromSql: Sized {
    /// Decodes a value.
    fn column_result(value: ValueRef<'_>) -> Decoded<Self>;
}

macro_rules! numbers {
    ($($number:ty),*) => { $(
        impl ToSql for $number {
            fn to_sql(&self) -> Value<'_> {
                Value::Integer(i64::from(*self))
            }
        }

        impl FromSql for $number {
            fn column_result(value: ValueRef<'_>) -> Decoded<Self> {
                let number = value.as_i64()?;
                Self::try_from(number).map_err(|_| FromSqlError::OutOfRange(number))
            }
        }
    )* };
}

numbers!(u8, u16, u32, i64);

/// Unsigned numbers of 64 bits are stored as the signed number of the same bits. Sizes and counts never need the highest
/// bit.
impl ToSql for u64 {
    fn to_sql(&self) -> Value<'_> {
        Value::Integer(self.cast_signed())
    }
}

impl FromSql for u64 {
    fn column_result(value: ValueRef<'_>) -> Decoded<Self> {
        value.as_i64().map(i64::cast_unsigned)
    }
}

impl ToSql for usize {
    fn to_sql(&self) -> Value<'_> {
        Value::Integer(self.cast_signed() as i64)
    }
}

impl FromSql for usize {
    fn column_result(value: ValueRef<'_>) -> Decoded<Self> {
        let number = value.as_i64()?;
        Self::try_from(number).map_err(|_| FromSqlError::OutOfRange(number))
    }
}

impl ToSql for bool {
    fn to_sql(&self) -> Value<'_> {
        Value::Integer(i64::from(*self))
    }
}

impl FromSql for bool {
    fn column_result(value: ValueRef<'_>) -> Decoded<Self> {
        value.as_i64().map(|number| number != 0)
    }
}

impl ToSql for str {
    fn to_sql(&self) -> Value<'_> {
        Value::Text(self.into())
    }
}

impl ToSql for String {
    fn to_sql(&self) -> Value<'_> {
        self.as_str().to_sql()
    }
}

impl FromSql for String {
    fn column_result(value: ValueRef<'_>) -> Decoded<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl ToSql for [u8] {
    fn to_sql(&self) -> Value<'_> {
        Value::Blob(self.into())
    }
}

impl ToSql for Vec<u8> {
    fn to_sql(&self) -> Value<'_> {
        self.as_slice().to_sql()
    }
}

impl FromSql for Vec<u8> {
    fn column_result(value: ValueRef<'_>) -> Decoded<Self> {
        value.as_blob().map(<[u8]>::to_vec)
    }
}

impl<const N: usize> ToSql for [u8; N] {
    fn to_sql(&self) -> Value<'_> {
        self.as_slice().to_sql()
    }
}

impl<const N: usize> FromSql for [u8; N] {
    fn column_result(value: ValueRef<'_>) -> Decoded<Self> {
        value.as_blob()?.try_into().map_err(|_| FromSqlError::InvalidType)
    }
}

impl<T: ToSql + ?Sized> ToSql for &T {
    fn to_sql(&self) -> Value<'_> {
        (**self).to_sql()
    }
}

impl ToSql for Cow<'_, str> {
    fn to_sql(&self) -> Value<'_> {
        (**self).to_sql()
    }
}

impl ToSql for std::sync::Arc<str> {
    fn to_sql(&self) -> Value<'_> {
        (**self).to_sql()
    }
}

impl<T: ToSql> ToSql for Option<T> {
    fn to_sql(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, ToSql::to_sql)
    }
}

impl<T: FromSql> FromSql for Option<T> {
    fn column_result(value: ValueRef<'_>) -> Decoded<Self> {
        match value {
            ValueRef::Null => Ok(None),
            value => T::column_result(value).map(Some),
        }
    }
}
