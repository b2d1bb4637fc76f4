//! What went wrong, in a line.

use std::fmt;
use std::io;
use std::path::PathBuf;

use instant_acme::{Error, Problem};
use thiserror::Error as ThisError;

use crate::printable::is_unprintable;

/// What the types of all problems begin with (RFC 8555, 6.7).
const PROBLEMS: &str = "urn:ietf:params:acme:error:";

/// No more of what an authority says is repeated.
const MOST: usize = 1000;

/// Why there is no certificate.
#[derive(Debug, ThisError)]
pub enum AcmeError {
    /// The authority was not reached, refused, or said something odd.
    #[error("{}", told(.0))]
    Authority(#[from] Error),
    /// The authority does not take a name for this server's.
    #[error("{name} was not found to be this server's: {}", of_problem(.problem))]
    NotOurs {
        /// Which.
        name: String,
        /// Why.
        problem: Problem,
    },
    /// The authority wants another proof.
    #[error("the authority does not offer TLS-ALPN-01 for {0}")]
    NotOffered(String),
    /// The authority has ended the order.
    #[error("the authority has ended the order, and does not tell why")]
    Ended,
    /// What the authority gave is no good.
    #[error("what the authority gave cannot be used: {0}")]
    Unfit(String),
    /// The authority takes its time.
    #[error("the authority took too long")]
    Slow,
    /// A file could not be written.
    #[error("{path}: {error}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl AcmeError {
    /// Whether the authority says that it has no such account (RFC 8555, 6.7).
    pub(super) fn is_of_no_account(&self) -> bool {
        let Self::Authority(Error::Api(problem)) = self else {
            return false;
        };
        problem.r#type.as_deref().and_then(|kind| kind.strip_prefix(PROBLEMS)) == Some("accountDoesNotExist")
    }
}

fn told(error: &Error) -> String {
    match error {
        Error::Api(problem) => format!("the authority refuses: {}", of_problem(problem)),
        Error::Json(error) => format!("the authority's answer is not one of ACME: {error}"),
        error => plain(error),
    }
}

/// What the authority says, with what it says of each name.
fn of_problem(problem: &Problem) -> String {
    let mut text = detail(problem.detail.as_deref(), problem.r#type.as_deref());
    for part in &problem.subproblems {
        let name = part.identifier.as_ref().map(|identifier| match identifier {
            instant_acme::Identifier::Dns(name) => format!("{name}: "),
            _ => String::new(),
        });
        text += "; ";
        text += &name.unwrap_or_default();
        text += &detail(part.detail.as_deref(), part.r#type.as_deref());
    }
    plain(text)
}

fn detail(detail: Option<&str>, kind: Option<&str>) -> String {
    let kind = kind.map(|kind| kind.strip_prefix(PROBLEMS).unwrap_or(kind));
    match (detail, kind) {
        (Some(detail), Some(kind)) => format!("{detail} ({kind})"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => "it does not tell why".to_owned(),
    }
}

/// Others' words in one line that ends.
fn plain(text: impl fmt::Display) -> String {
    let text = text.to_string();
    text.chars().take(MOST).map(|c| if is_unprintable(c) { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> Problem {
        serde_json::from_str(text).expect("a problem")
    }

    #[test]
    fn an_authority_s_words_are_one_line() {
        let text = r#"{"type": "urn:ietf:params:acme:error:rejectedIdentifier", "detail": "No\nsuch\u001b[1m names",
            "subproblems": [{"identifier": {"type": "dns", "value": "a.example"}, "detail": "blocked"}]}"#;
        let error = AcmeError::from(Error::from(problem(text)));
        let expected = "the authority refuses: No such [1m names (rejectedIdentifier); a.example: blocked";
        assert_eq!(error.to_string(), expected);
        let long = AcmeError::NotOurs {
            name: "a.example".into(),
            problem: problem(&format!(r#"{{"detail": "{}"}}"#, "x".repeat(1 << 20))),
        };
        assert!(long.to_string().len() < 2 * MOST);
        let bare = AcmeError::from(Error::from(problem("{}")));
        assert_eq!(bare.to_string(), "the authority refuses: it does not tell why");
    }

    #[test]
    fn an_account_that_is_none_is_noticed() {
        let of = |kind: &str| {
            let text = format!(r#"{{"type": "urn:ietf:params:acme:error:{kind}"}}"#);
            AcmeError::from(Error::from(problem(&text))).is_of_no_account()
        };
        assert!(of("accountDoesNotExist") && !of("unauthorized"));
        assert!(!AcmeError::Slow.is_of_no_account());
    }
}
