//! Engine-independent SQL: connections, statements, rows and values.
//!
//! The metadata store uses only these types, and only the subset of SQL that SQLite and PostgreSQL 15 share. A database
//! engine implements [`Connection`], [`RawStatement`], [`RawRows`] and [`RawRow`].
//!
//! What the engines write differently, they translate:
//!
//! - Parameters are written `?1`; PostgreSQL's are `$1`.
//! - The comment `/* INDEXED BY edges_by_target */` after a table is a hint for SQLite. There are no other comments.
//! - [`RawStatement::insert`] needs `RETURNING id` on PostgreSQL.
//! - Flags are the numbers 0 and 1. On PostgreSQL a number may also be an `integer`, a `numeric` (a sum) or a `boolean` (a
//!   condition), as a parameter and as a result.
//!
//! `tests/postgres/check.py` prepares every text on PostgreSQL.
//!
//! The names follow those of the crate `rusqlite`.

mod codec;
mod error;
mod params;
mod row;
mod value;

pub(crate) use codec::{SqlAlgorithm, SqlDigest, algorithm, as_text, digest, limit_plus_one};
pub(crate) use error::{Error, FromSqlError, OptionalExtension, Result};
pub(crate) use params::{Params, params};
pub(crate) use row::{RawRow, RawRows, Row, Rows};
pub(crate) use value::{FromSql, ToSql, Value, ValueRef};

use crate::errors::Chain;
use row::MappedRows;

/// A connection to a database.
pub(crate) trait Connection {
    /// Prepares a statement, or takes it from the connection's cache. Engines implement this;
    /// callers use [`Connection::prepare_cached`].
    fn prepare_raw(&self, sql: &str) -> Result<Box<dyn RawStatement + '_>>;

    /// Runs statements without parameters and ignores their results.
    fn execute_batch(&self, sql: &str) -> Result<()>;
}

/// A prepared statement of an engine.
pub(crate) trait RawStatement {
    /// Runs the statement and returns its rows.
    fn query(&mut self, params: &[&dyn ToSql]) -> Result<Box<dyn RawRows + '_>>;

    /// Runs the statement and returns the number of changed rows.
    fn execute(&mut self, params: &[&dyn ToSql]) -> Result<usize>;

    /// Runs an `INSERT` and returns the id of the new row.
    fn insert(&mut self, params: &[&dyn ToSql]) -> Result<i64>;
}

impl dyn Connection + '_ {
    /// Prepares a statement, and keeps it prepared for later calls with the same text.
    pub(crate) fn prepare_cached(&self, sql: &str) -> Result<Statement<'_>> {
        self.prepare_raw(sql).map(Statement)
    }

    /// Runs a statement once and returns the number of changed rows.
    pub(crate) fn execute(&self, sql: &str, params: impl Params) -> Result<usize> {
        self.prepare_cached(sql)?.execute(params)
    }

    /// Runs a query once and reads its first row. Fails with [`Error::NoRows`] if there is none.
    pub(crate) fn query_row<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(Row<'_>) -> Result<T>,
    ) -> Result<T> {
        self.prepare_cached(sql)?.query_row(params, read)
    }
}

/// A prepared statement.
pub(crate) struct Statement<'c>(Box<dyn RawStatement + 'c>);

impl Statement<'_> {
    /// Runs the statement and returns its rows.
    pub(crate) fn query(&mut self, params: impl Params) -> Result<Rows<'_>> {
        params.bind(|params| self.0.query(params)).map(Rows::new)
    }

    /// Runs the statement and returns the result of `read` for each row.
    pub(crate) fn query_map<T, F>(&mut self, params: impl Params, read: F) -> Result<MappedRows<'_, F>>
    where
        F: FnMut(Row<'_>) -> Result<T>,
    {
        Ok(MappedRows::new(self.query(params)?, read))
    }

    /// Reads the first row. Fails with [`Error::NoRows`] if there is none.
    pub(crate) fn query_row<T>(
        &mut self,
        params: impl Params,
        read: impl FnOnce(Row<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut rows = self.query(params)?;
        match rows.next()? {
            Some(row) => read(row),
            None => Err(Error::NoRows),
        }
    }

    /// Whether the query returns any row.
    pub(crate) fn exists(&mut self, params: impl Params) -> Result<bool> {
        Ok(self.query(params)?.next()?.is_some())
    }

    /// Runs the statement and returns the number of changed rows.
    pub(crate) fn execute(&mut self, params: impl Params) -> Result<usize> {
        params.bind(|params| self.0.execute(params))
    }

    /// Runs an `INSERT` and returns the id of the new row.
    pub(crate) fn insert(&mut self, params: impl Params) -> Result<i64> {
        params.bind(|params| self.0.insert(params))
    }
}

/// A read transaction. It ends when this value is dropped.
pub(crate) struct Snapshot<'c>(&'c dyn Connection);

impl<'c> Snapshot<'c> {
    /// Begins a transaction, in which all queries on `connection` see the same state of the database.
    pub(crate) fn begin(connection: &'c dyn Connection) -> Result<Self> {
        connection.execute_batch("BEGIN")?;
        Ok(Self(connection))
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.execute_batch("COMMIT") {
            tracing::warn!(error = %Chain(&error), "failed to end a read transaction");
        }
    }
}
