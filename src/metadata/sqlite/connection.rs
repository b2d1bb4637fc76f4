//! Makes connections of SQLite usable through the traits of [`sql`].

use std::borrow::Cow;

use rusqlite::types::{ToSqlOutput, ValueRef as SqliteValueRef};
use rusqlite::{CachedStatement, params_from_iter};

use crate::metadata::sql::{self, Connection, RawRow, RawRows, RawStatement, ToSql, Value, ValueRef};

impl From<rusqlite::Error> for sql::Error {
    fn from(error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::QueryReturnedNoRows => Self::NoRows,
            other => Self::Engine(Box::new(other)),
        }
    }
}

/// Makes prepared statements keep their plan for all bound values. Otherwise SQLite parses and plans a statement
/// again for each value, which costs several times as much as the query itself.
pub(super) fn keep_plans(connection: &rusqlite::Connection) -> rusqlite::Result<()> {
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

impl Connection for rusqlite::Connection {
    fn prepare_raw(&self, sql: &str) -> sql::Result<Box<dyn RawStatement + '_>> {
        #[cfg(test)]
        super::tests::sql_recorder::record(sql);
        Ok(Box::new(Statement(self.prepare_cached(&apply_hints(sql))?)))
    }

    fn execute_batch(&self, sql: &str) -> sql::Result<()> {
        Ok(Self::execute_batch(self, sql)?)
    }
}

/// Turns index hints, which are comments to other engines, into clauses of SQLite.
pub(super) fn apply_hints(sql: &str) -> Cow<'_, str> {
    // This runs for every statement. Most have no slash, so the cheaper search for one byte comes first.
    if sql.contains('/') && sql.contains("/*") {
        sql.replace("/* INDEXED BY", "INDEXED BY").replace(" */", "").into()
    } else {
        sql.into()
    }
}

struct Statement<'c>(CachedStatement<'c>);

impl RawStatement for Statement<'_> {
    fn query(&mut self, params: &[&dyn ToSql]) -> sql::Result<Box<dyn RawRows + '_>> {
        Ok(Box::new(Rows(self.0.query(bound(params))?)))
    }

    fn execute(&mut self, params: &[&dyn ToSql]) -> sql::Result<usize> {
        Ok(self.0.execute(bound(params))?)
    }

    fn insert(&mut self, params: &[&dyn ToSql]) -> sql::Result<i64> {
        Ok(self.0.insert(bound(params))?)
    }
}

fn bound(params: &[&dyn ToSql]) -> impl rusqlite::Params {
    params_from_iter(params.iter().map(|param| Bound(param.to_sql())))
}

/// A value as SQLite takes it.
struct Bound<'a>(Value<'a>);

impl rusqlite::ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match &self.0 {
            Value::Null => SqliteValueRef::Null,
            Value::Integer(number) => SqliteValueRef::Integer(*number),
            Value::Text(text) => SqliteValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => SqliteValueRef::Blob(bytes),
        }))
    }
}

struct Rows<'s>(rusqlite::Rows<'s>);

impl RawRows for Rows<'_> {
    fn next(&mut self) -> sql::Result<Option<&dyn RawRow>> {
        Ok(self.0.next()?.map(|row| row as &dyn RawRow))
    }
}

impl RawRow for rusqlite::Row<'_> {
    fn columns(&self) -> usize {
        self.as_ref().column_count()
    }

    fn value(&self, index: usize) -> sql::Result<ValueRef<'_>> {
        Ok(match self.get_ref(index)? {
            SqliteValueRef::Null => ValueRef::Null,
            SqliteValueRef::Integer(number) => ValueRef::Integer(number),
            SqliteValueRef::Text(text) => ValueRef::Text(text),
            SqliteValueRef::Blob(bytes) => ValueRef::Blob(bytes),
            // No column holds such numbers.
            SqliteValueRef::Real(_) => {
                let source = Box::new(sql::FromSqlError::InvalidType);
                return Err(sql::Error::InvalidColumn { column: index, source });
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::apply_hints;

    #[test]
    fn hints_become_clauses() {
        let hinted = "SELECT t.name FROM tags t /* INDEXED BY tags_by_push */ WHERE t.repo = ?1";
        assert_eq!(
            apply_hints(hinted),
            "SELECT t.name FROM tags t INDEXED BY tags_by_push WHERE t.repo = ?1"
        );
        let plain = "SELECT ?1 / 2 * count(*) FROM tags";
        assert_eq!(apply_hints(plain), plain);
    }
}
