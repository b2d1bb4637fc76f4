//! Encodes values for columns and decodes them.

use std::net::IpAddr;

use super::FromSqlError;
use super::value::{FromSql, ToSql, Value, ValueRef};
use crate::clock::Timestamp;
use crate::metadata::{AccountKind, ChangeKind, EdgeKind, Grantee, Role, RunCause, Scope};
use crate::oci::{Algorithm, Digest, Generation, RepoName, Tag, UploadId};

/// A digest read from its column: one byte for the algorithm, then the hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SqlDigest(pub(crate) Digest);

/// Encodes a digest.
pub(crate) fn digest(digest: &Digest) -> Vec<u8> {
    let mut bytes = vec![algorithm(digest.algorithm())];
    bytes.extend(digest.hash());
    bytes
}

impl FromSql for SqlDigest {
    fn column_result(value: ValueRef<'_>) -> Decoded<Self> {
        let (&tag, hash) = value.as_blob()?.split_first().ok_or(FromSqlError::InvalidType)?;
        Digest::from_hash(decode_algorithm(tag)?, hash).map(Self).ok_or(FromSqlError::InvalidType)
    }
}

/// Encodes an algorithm as a number.
pub(crate) fn algorithm(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::Sha256 => 1,
        Algorithm::Sha512 => 2,
    }
}

fn decode_algorithm(tag: u8) -> Decoded<Algorithm> {
    match tag {
        1 => Ok(Algorithm::Sha256),
        2 => Ok(Algorithm::Sha512),
        other => Err(FromSqlError::OutOfRange(other.into())),
    }
}

/// An algorithm read from its column.
pub(crate) struct SqlAlgorithm(pub(crate) Algorithm);

impl FromSql for SqlAlgorithm {
    fn column_result(value: ValueRef<'_>) -> Decoded<Self> {
        let tag = value.as_i64()?;
        u8::try_from(tag).map_err(|_| FromSqlError::OutOfRange(tag)).and_then(decode_algorithm).map(Self)
    }
}

type Decoded<T> = Result<T, FromSqlError>;

impl ToSql for Timestamp {
    fn to_sql(&self) -> Value<'_> {
        Value::Integer(self.0)
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> Decoded<Self> {
        value.as_i64().map(Self)
    }
}

/// Stores random ids as their 16 bytes.
macro_rules! as_16_bytes {
    ($($type:ty),*) => { $(
        impl ToSql for $type {
            fn to_sql(&self) -> Value<'_> {
                Value::Blob(self.as_bytes().as_slice().into())
            }
        }

        impl FromSql for $type {
            fn column_result(value: ValueRef<'_>) -> Decoded<Self> {
                <[u8; 16]>::column_result(value).map(Self::from_bytes)
            }
        }
    )* };
}

as_16_bytes!(Generation, UploadId);

/// Stores the values of an enum as numbers.
macro_rules! as_number {
    ($type:ty { $($value:ident = $number:literal),* }) => {
        impl ToSql for $type {
            fn to_sql(&self) -> Value<'_> {
                Value::Integer(match self {
                    $(Self::$value => $number),*
                })
            }
        }

        impl FromSql for $type {
            fn column_result(value: ValueRef<'_>) -> Decoded<Self> {
                match value.as_i64()? {
                    $($number => Ok(Self::$value),)*
                    other => Err(FromSqlError::OutOfRange(other)),
                }
            }
        }
    };
}

as_number!(EdgeKind { Blob = 0, Child = 1, Subject = 2 });
as_number!(ChangeKind { Push = 0, Move = 1, Delete = 2, Expiry = 3, Restore = 4, Rollback = 5, Rename = 6 });
as_number!(RunCause { Interval = 0, Request = 1, Pressure = 2 });

/// Stores types as text that they format and parse themselves.
macro_rules! as_text {
    ($($type:ty),*) => { $(
        impl $crate::metadata::sql::ToSql for $type {
            fn to_sql(&self) -> $crate::metadata::sql::Value<'_> {
                $crate::metadata::sql::Value::Text(self.to_string().into())
            }
        }

        impl $crate::metadata::sql::FromSql for $type {
            fn column_result(
                value: $crate::metadata::sql::ValueRef<'_>,
            ) -> std::result::Result<Self, $crate::metadata::sql::FromSqlError> {
                value.as_str()?.parse().map_err($crate::metadata::sql::FromSqlError::other)
            }
        }
    )* };
}

pub(crate) use as_text;

as_text!(Role, Scope, Grantee, RepoName, Tag, IpAddr);

impl ToSql for AccountKind {
    fn to_sql(&self) -> Value<'_> {
        let text = match self {
            Self::Bootstrap => "bootstrap",
            Self::Person => "person",
            Self::Robot => "robot",
        };
        text.to_sql()
    }
}

impl FromSql for AccountKind {
    fn column_result(value: ValueRef<'_>) -> Decoded<Self> {
        match value.as_str()? {
            "bootstrap" => Ok(Self::Bootstrap),
            "person" => Ok(Self::Person),
            "robot" => Ok(Self::Robot),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

/// Number of rows to read for a page: one more than its limit, to find out whether more follow.
pub(crate) fn limit_plus_one(limit: usize) -> usize {
    limit.saturating_add(1)
}
