//! Rows of results.

use super::{Error, FromSql, FromSqlError, Result, ValueRef};

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

impl<'s> Rows<'s> {
    pub(super) fn new(rows: Box<dyn RawRows + 's>) -> Self {
        Self(rows)
    }

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

impl<'s, F> MappedRows<'s, F> {
    pub(super) fn new(rows: Rows<'s>, read: F) -> Self {
        Self { rows, read }
    }
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
