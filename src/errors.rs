//! Chains of errors: the message of an error says what failed, and its source says why.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// An error of any type.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// An error of any type that several owners keep.
pub type SharedError = Arc<dyn Error + Send + Sync>;

/// Formats an error with its sources, as in `a: b: c`, for the log and the terminal. Clients of the HTTP server must
/// not see the sources of a failure of the server.
pub struct Chain<'a>(pub &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.0.to_string();
        for source in std::iter::successors(self.0.source(), |&error| error.source()) {
            let cause = source.to_string();
            // The errors of some libraries repeat their source.
            if !text.ends_with(&cause) {
                text = format!("{text}: {cause}");
            }
        }
        f.write_str(&text)
    }
}

/// An error with the name of what failed, such as a file.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Context {
    what: String,
    source: BoxError,
}

impl Context {
    /// Says that `what` failed because of `source`.
    pub fn new(what: impl fmt::Display, source: impl Into<BoxError>) -> Self {
        Self { what: what.to_string(), source: source.into() }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn shows_all_sources() {
        let error = Context::new("/data/lock", io::Error::from(io::ErrorKind::NotFound));
        let error = Context::new("cannot open the store", error);
        assert_eq!(Chain(&error).to_string(), "cannot open the store: /data/lock: entity not found");
        assert_eq!(error.to_string(), "cannot open the store");
    }

    #[test]
    fn shows_a_repeated_source_once() {
        let error = Context::new("reading: entity not found", io::Error::from(io::ErrorKind::NotFound));
        assert_eq!(Chain(&error).to_string(), "reading: entity not found");
    }
}
