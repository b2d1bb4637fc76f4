//! Encodes values for columns and decodes them.

use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};

use crate::clock::Timestamp;
use crate::metadata::{AccountKind, ChangeKind, EdgeKind, Grantee, Role, RunCause, Scope};
use crate::oci::{Algorithm, Digest, Generation, UploadId};

/// A digest read from its column: one byte for the algorithm, then the hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SqlDigest(pub(super) Digest);

/// Encodes a digest.
pub(super) fn digest(digest: &Digest) -> Vec<u8> {
    let mut bytes = vec![algorithm(digest.algorithm())];
    bytes.extend(digest.hash());
    bytes
}

impl FromSql for SqlDigest {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let (&tag, hash) = value.as_blob()?.split_first().ok_or(FromSqlError::InvalidType)?;
        Digest::from_hash(decode_algorithm(tag)?, hash).map(Self).ok_or(FromSqlError::InvalidType)
    }
}

/// Encodes an algorithm as a number.
pub(super) fn algorithm(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::Sha256 => 1,
        Algorithm::Sha512 => 2,
    }
}

fn decode_algorithm(tag: u8) -> FromSqlResult<Algorithm> {
    match tag {
        1 => Ok(Algorithm::Sha256),
        2 => Ok(Algorithm::Sha512),
        other => Err(FromSqlError::OutOfRange(other.into())),
    }
}

/// An algorithm read from its column.
pub(super) struct SqlAlgorithm(pub(super) Algorithm);

impl FromSql for SqlAlgorithm {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let tag = value.as_i64()?;
        u8::try_from(tag).map_err(|_| FromSqlError::OutOfRange(tag)).and_then(decode_algorithm).map(Self)
    }
}

impl ToSql for Timestamp {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.into())
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Self)
    }
}

fn read_16_bytes(value: ValueRef<'_>) -> FromSqlResult<[u8; 16]> {
    value.as_blob()?.try_into().map_err(|_| FromSqlError::InvalidType)
}

impl ToSql for Generation {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_bytes().as_slice().into())
    }
}

impl FromSql for Generation {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        read_16_bytes(value).map(Self::from_bytes)
    }
}

impl ToSql for UploadId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_bytes().as_slice().into())
    }
}

impl FromSql for UploadId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        read_16_bytes(value).map(Self::from_bytes)
    }
}

impl ToSql for EdgeKind {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let tag: u8 = match self {
            Self::Blob => 0,
            Self::Child => 1,
            Self::Subject => 2,
        };
        Ok(tag.into())
    }
}

impl FromSql for EdgeKind {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_i64()? {
            0 => Ok(Self::Blob),
            1 => Ok(Self::Child),
            2 => Ok(Self::Subject),
            other => Err(FromSqlError::OutOfRange(other)),
        }
    }
}

impl ToSql for ChangeKind {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let tag: u8 = match self {
            Self::Push => 0,
            Self::Move => 1,
            Self::Delete => 2,
            Self::Expiry => 3,
            Self::Restore => 4,
            Self::Rollback => 5,
            Self::Rename => 6,
        };
        Ok(tag.into())
    }
}

impl FromSql for ChangeKind {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_i64()? {
            0 => Ok(Self::Push),
            1 => Ok(Self::Move),
            2 => Ok(Self::Delete),
            3 => Ok(Self::Expiry),
            4 => Ok(Self::Restore),
            5 => Ok(Self::Rollback),
            6 => Ok(Self::Rename),
            other => Err(FromSqlError::OutOfRange(other)),
        }
    }
}

impl ToSql for RunCause {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let tag: u8 = match self {
            Self::Interval => 0,
            Self::Request => 1,
            Self::Pressure => 2,
        };
        Ok(tag.into())
    }
}

impl FromSql for RunCause {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_i64()? {
            0 => Ok(Self::Interval),
            1 => Ok(Self::Request),
            2 => Ok(Self::Pressure),
            other => Err(FromSqlError::OutOfRange(other)),
        }
    }
}

/// Stores types as text that they format and parse themselves.
macro_rules! as_text {
    ($($type:ty),*) => { $(
        impl ToSql for $type {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.to_string().into())
            }
        }

        impl FromSql for $type {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                value.as_str()?.parse().map_err(FromSqlError::other)
            }
        }
    )* };
}

pub(super) use as_text;

as_text!(Role, Scope, Grantee);

impl ToSql for AccountKind {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Bootstrap => "bootstrap",
            Self::Person => "person",
            Self::Robot => "robot",
        }
        .into())
    }
}

impl FromSql for AccountKind {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_str()? {
            "bootstrap" => Ok(Self::Bootstrap),
            "person" => Ok(Self::Person),
            "robot" => Ok(Self::Robot),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}
