//! Errors of statements.

use std::error::Error as StdError;

use thiserror::Error;

/// The result of a statement.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Why a statement failed.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// The query has no row.
    #[error("the query returned no rows")]
    NoRows,
    /// A column has a value that can't be decoded.
    #[error("column {column} has an invalid value")]
    InvalidColumn {
        /// Its index in the row.
        column: usize,
        /// What is wrong with it.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A value can't be encoded.
    #[error("a value can't be stored")]
    InvalidValue(#[source] Box<dyn StdError + Send + Sync>),
    /// The engine failed.
    #[error(transparent)]
    Engine(Box<dyn StdError + Send + Sync>),
}

impl Error {
    /// The error of an engine whose errors have this type.
    pub(crate) fn engine<E: StdError + 'static>(&self) -> Option<&E> {
        match self {
            Self::Engine(error) => error.downcast_ref(),
            Self::NoRows | Self::InvalidColumn { .. } | Self::InvalidValue(_) => None,
        }
    }
}

/// Why a value can't be decoded.
#[derive(Debug, Error)]
pub(crate) enum FromSqlError {
    /// It has another type.
    #[error("the value has an unexpected type")]
    InvalidType,
    /// It is a number outside of the valid range.
    #[error("{0} is out of range")]
    OutOfRange(i64),
    /// It is invalid.
    #[error(transparent)]
    Other(Box<dyn StdError + Send + Sync>),
}

impl FromSqlError {
    /// An error of the type that the value is decoded to.
    pub(crate) fn other(error: impl StdError + Send + Sync + 'static) -> Self {
        Self::Other(Box::new(error))
    }
}

/// Turns the absence of a row into `None`.
pub(crate) trait OptionalExtension<T> {
    /// `None` if the query has no row.
    fn optional(self) -> Result<Option<T>>;
}

impl<T> OptionalExtension<T> for Result<T> {
    fn optional(self) -> Result<Option<T>> {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(Error::NoRows) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
