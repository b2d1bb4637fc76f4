//! Engine-independent SQL: connections, statements, rows and values.
//!
//! The metadata store uses only these types, and only the subset of SQL that SQLite and PostgreSQL 15 share. A database
//! engine implements [`Connection`], [`RawStatement`], [`RawRows`] and [`RawRow`].
//!
//! Each engine translates what it writes differently:
//!
//! - Parameters are written `?1`; PostgreSQL's are `$1`.
//! - The comment `/* INDEXED BY edges_by_target */` after a table is a hint for SQLite. There are no other comments.
//! - [`RawStatement::insert`] needs `RETURNING id` on PostgreSQL.
//! - Flags are the numbers 0 and 1. What is a number here may have the type `integer`, `numeric` (sums) or `boolean`
//!   (conditions) on PostgreSQL, in parameters and in results; the engine converts it.
//!
//! `tests/postgres/check.py` prepares every statement of the store on PostgreSQL.
//!
//! The names follow those of the crate `rusqlite`.

mod codec;
mod error;
mod value;

use crate::errors::Chain;

pub(crate) use codec::{SqlAlgorithm, SqlDigest, algorithm, as_text, digest, limit_plus_one};
pub(crate) use error::{Error, FromSqlError, OptionalExtension, Result};
pub(crate) use value::{FromSql, ToSql, Value, ValueRef};

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
        params.bind(|params| self.0.query(params)).map(Rows)
    }

    /// Runs the statement and returns the result of `read` for each row.
    pub(crate) fn query_map<T, F>(&mut self, params: impl Params, read: F) -> Result<MappedRows<'_, F>>
    where
        F: FnMut(Row<'_>) -> Result<T>,
    {
        Ok(MappedRows { rows: self.query(params)?, read })
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

/// Rows of an engine.
pub(crate) trait RawRows {
    /// The next row; `None` after the last one.
    fn next(&mut self) -> Result<Option<&dyn RawRow>>;
}

/// A row of an engine.
pub(crate) trait RawRow {
    /// The value in the column `index`, counted from 0.
    fn value(&self, index: usize) -> Result<ValueRef<'_>>;

    /// Number of columns.
    fn columns(&self) -> usize;
}

/// The rows of a result.
pub(crate) struct Rows<'s>(Box<dyn RawRows + 's>);

impl Rows<'_> {
    /// The next row; `None` after the last one.
    pub(crate) fn next(&mut self) -> Result<Option<Row<'_>>> {
        Ok(self.0.next()?.map(Row))
    }
}

/// A row of a result.
#[derive(Clone, Copy)]
pub(crate) struct Row<'r>(&'r dyn RawRow);

impl<'r> Row<'r> {
    /// Decodes the value in the column `index`, counted from 0.
    pub(crate) fn get<T: FromSql>(self, index: usize) -> Result<T> {
        self.decode(index, T::column_result)
    }

    /// The text in the column `index`.
    pub(crate) fn text(self, index: usize) -> Result<&'r str> {
        self.decode(index, ValueRef::as_str)
    }

    /// The text in the column `index`; `None` for `NULL`.
    pub(crate) fn text_or_null(self, index: usize) -> Result<Option<&'r str>> {
        self.decode(index, ValueRef::as_str_or_null)
    }

    /// The bytes in the column `index`.
    pub(crate) fn blob(self, index: usize) -> Result<&'r [u8]> {
        self.decode(index, ValueRef::as_blob)
    }

    /// The bytes in the column `index`; `None` for `NULL`.
    pub(crate) fn blob_or_null(self, index: usize) -> Result<Option<&'r [u8]>> {
        self.decode(index, ValueRef::as_blob_or_null)
    }

    /// Joins the values of all columns to a text, with hexadecimal digits for bytes.
    pub(crate) fn describe(self) -> Result<String> {
        (0..self.0.columns()).map(|column| self.decode(column, ValueRef::describe)).collect()
    }

    fn decode<T>(
        self,
        column: usize,
        decode: impl FnOnce(ValueRef<'r>) -> std::result::Result<T, FromSqlError>,
    ) -> Result<T> {
        decode(self.0.value(column)?)
            .map_err(|error| Error::InvalidColumn { column, source: Box::new(error) })
    }
}

/// The rows of a result, each read by a function.
pub(crate) struct MappedRows<'s, F> {
    rows: Rows<'s>,
    read: F,
}

impl<T, F> Iterator for MappedRows<'_, F>
where
    F: FnMut(Row<'_>) -> Result<T>,
{
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        let row = self.rows.next().transpose()?;
        Some(row.and_then(&mut self.read))
    }
}

/// Values for the parameters `?1`, `?2` … of a statement.
pub(crate) trait Params {
    /// Calls `run` with the values.
    fn bind<T>(self, run: impl FnOnce(&[&dyn ToSql]) -> T) -> T;
}

impl Params for [&dyn ToSql; 0] {
    fn bind<T>(self, run: impl FnOnce(&[&dyn ToSql]) -> T) -> T {
        run(&[])
    }
}

macro_rules! params_of_arrays {
    ($($len:literal),*) => { $(
        impl<V: ToSql> Params for [V; $len] {
            fn bind<T>(self, run: impl FnOnce(&[&dyn ToSql]) -> T) -> T {
                run(&self.each_ref().map(|value| value as &dyn ToSql))
            }
        }
    )* };
}

// An implementation for arrays of any length would leave the type of `[]` open.
params_of_arrays!(1, 2, 3, 4, 5, 6);

impl Params for &[&dyn ToSql] {
    fn bind<T>(self, run: impl FnOnce(&[&dyn ToSql]) -> T) -> T {
        run(self)
    }
}

impl<V: ToSql> Params for &Vec<V> {
    fn bind<T>(self, run: impl FnOnce(&[&dyn ToSql]) -> T) -> T {
        let values: Vec<_> = self.iter().map(|value| value as &dyn ToSql).collect();
        run(&values)
    }
}

/// Parameters of different types.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$(&$value as &dyn $crate::metadata::sql::ToSql),*] as &[&dyn $crate::metadata::sql::ToSql]
    };
}

pub(crate) use params;
