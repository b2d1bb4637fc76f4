//! ACME errors.

use std::fmt;
use std::io;
use std::path::PathBuf;

use instant_acme::{Error, Problem};
use thiserror::Error as ThisError;

use crate::errors::BoxError;
use crate::printable::is_unprintable;

/// The common prefix of ACME problem types (RFC 8555, 6.7).
const PROBLEM_PREFIX: &str = "urn:ietf:params:acme:error:";

/// The maximum length of a quoted message of the authority, in characters.
const MAX_QUOTED_CHARS: usize = 1000;

/// Why no certificate was obtained.
#[derive(Debug, ThisError)]
pub enum AcmeError {
    /// The authority rejected the request.
    #[error("the authority rejected the request: {}", describe_problem(.0))]
    Rejected(Problem),
    /// The authority sent an invalid response.
    #[error("the authority sent an invalid ACME response")]
    InvalidResponse(#[source] serde_json::Error),
    /// The authority couldn't be reached, or a request couldn't be made.
    #[error(transparent)]
    Failed(Error),
    /// The authority couldn't validate that a name belongs to this server.
    #[error("the authority could not validate {name}: {}", describe_problem(.problem))]
    NotValidated {
        /// The DNS name.
        name: String,
        /// The reason that the authority gives.
        problem: Problem,
    },
    /// The authority requires another challenge type.
    #[error("the authority does not offer TLS-ALPN-01 for {0}")]
    ChallengeNotOffered(String),
    /// The authority cancelled the order.
    #[error("the authority cancelled the order without a reason")]
    OrderCancelled,
    /// The issued certificate is not usable.
    #[error("the issued certificate cannot be used")]
    UnusableCertificate(#[source] BoxError),
    /// The authority didn't respond in time.
    #[error("the authority took too long")]
    TimedOut,
    /// A file couldn't be read or written.
    #[error("{path}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        error: io::Error,
    },
}

impl AcmeError {
    /// Whether the authority rejected the request because it doesn't know the account (RFC 8555, 6.7).
    pub(super) fn is_unknown_account(&self) -> bool {
        let Self::Rejected(problem) = self else {
            return false;
        };
        problem.r#type.as_deref().and_then(|kind| kind.strip_prefix(PROBLEM_PREFIX))
            == Some("accountDoesNotExist")
    }
}

impl From<Error> for AcmeError {
    fn from(error: Error) -> Self {
        match error {
            Error::Api(problem) => Self::Rejected(problem),
            Error::Json(error) => Self::InvalidResponse(error),
            error => Self::Failed(error),
        }
    }
}

/// The authority's message, followed by its messages about individual names.
fn describe_problem(problem: &Problem) -> String {
    let mut text = detail_with_type(problem.detail.as_deref(), problem.r#type.as_deref());
    for subproblem in &problem.subproblems {
        let name = subproblem.identifier.as_ref().map(|identifier| match identifier {
            instant_acme::Identifier::Dns(name) => format!("{name}: "),
            _ => String::new(),
        });
        text += "; ";
        text += &name.unwrap_or_default();
        text += &detail_with_type(subproblem.detail.as_deref(), subproblem.r#type.as_deref());
    }
    single_line(text)
}

fn detail_with_type(detail: Option<&str>, kind: Option<&str>) -> String {
    let kind = kind.map(|kind| kind.strip_prefix(PROBLEM_PREFIX).unwrap_or(kind));
    match (detail, kind) {
        (Some(detail), Some(kind)) => format!("{detail} ({kind})"),
        (Some(text), None) | (None, Some(text)) => text.to_owned(),
        (None, None) => "no reason given".to_owned(),
    }
}

/// Makes untrusted text safe to quote: one line of at most [`MAX_QUOTED_CHARS`].
pub(super) fn single_line(text: impl fmt::Display) -> String {
    let text = text.to_string();
    text.chars().take(MAX_QUOTED_CHARS).map(|c| if is_unprintable(c) { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> Problem {
        serde_json::from_str(text).expect("a problem")
    }

    #[test]
    fn message_of_authority_is_limited_to_one_line() {
        let text = r#"{"type": "urn:ietf:params:acme:error:rejectedIdentifier", "detail": "No\nsuch\u001b[1m names",
            "subproblems": [{"identifier": {"type": "dns", "value": "a.example"}, "detail": "blocked"}]}"#;
        let error = AcmeError::from(Error::from(problem(text)));
        let expected =
            "the authority rejected the request: No such [1m names (rejectedIdentifier); a.example: blocked";
        assert_eq!(error.to_string(), expected);
        let long = AcmeError::NotValidated {
            name: "a.example".into(),
            problem: problem(&format!(r#"{{"detail": "{}"}}"#, "x".repeat(1 << 20))),
        };
        assert!(long.to_string().len() < 2 * MAX_QUOTED_CHARS);
        let bare = AcmeError::from(Error::from(problem("{}")));
        assert_eq!(bare.to_string(), "the authority rejected the request: no reason given");
    }

    #[test]
    fn recognises_unknown_account() {
        let is_unknown_account = |kind: &str| {
            let text = format!(r#"{{"type": "urn:ietf:params:acme:error:{kind}"}}"#);
            AcmeError::from(Error::from(problem(&text))).is_unknown_account()
        };
        assert!(is_unknown_account("accountDoesNotExist") && !is_unknown_account("unauthorized"));
        assert!(!AcmeError::TimedOut.is_unknown_account());
    }
}
