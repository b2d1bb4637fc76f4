//! Parameters of statements.

use super::ToSql;

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
