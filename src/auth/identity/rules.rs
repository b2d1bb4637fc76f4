//! What the claims of a token give: patterns, and what they are good for.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;
use thiserror::Error;

use super::signed::Claims;
use crate::metadata::{May, Team};
use crate::retention::Globs;

/// A rule as settings have it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleSettings {
    /// What must be claimed, by name: globs, one of which must match.
    pub claims: BTreeMap<String, Vec<String>>,
    /// What those may do who claim it.
    pub may: Vec<May>,
    /// The teams that people are in who claim it.
    pub teams: Vec<Team>,
}

/// Why a rule is none.
#[derive(Debug, Error)]
pub enum RuleError {
    /// It would be for everybody whom the provider knows.
    #[error(
        "a rule must name a claim, such as claims = {{ sub = \"…\" }}: without it is for everybody there"
    )]
    Everybody,
    /// A claim without a glob, or with exceptions alone.
    #[error("claims.{0}: there must be a glob that is no exception")]
    NoGlob(String),
    /// A glob that is none.
    #[error("claims.{0}: {1}")]
    Glob(String, String),
}

/// A rule.
#[derive(Debug, Clone)]
pub struct Rule {
    claims: Vec<(String, Globs)>,
    pub(super) may: Vec<May>,
    pub(super) teams: Vec<Team>,
}

impl Rule {
    /// The rule that settings mean.
    ///
    /// # Errors
    /// [`RuleError`].
    pub fn of(settings: &RuleSettings) -> Result<Self, RuleError> {
        if settings.claims.is_empty() {
            return Err(RuleError::Everybody);
        }
        let mut claims = Vec::new();
        for (name, patterns) in &settings.claims {
            if patterns.iter().all(|pattern| pattern.starts_with('!')) {
                return Err(RuleError::NoGlob(name.clone()));
            }
            let globs = Globs::of_names("claims", patterns);
            let globs = globs.map_err(|error| RuleError::Glob(name.clone(), error.to_string()))?;
            claims.push((name.clone(), globs));
        }
        Ok(Self { claims, may: settings.may.clone(), teams: settings.teams.clone() })
    }

    /// Whether it is for those who claim this.
    pub(super) fn matches(&self, claims: &Claims) -> bool {
        self.claims.iter().all(|(name, globs)| claim(claims, name).is_some_and(|value| any(value, globs)))
    }
}

/// A claim by its name, or by those of the objects that it is in with slashes between: `kubernetes.io/namespace`.
fn claim<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let (object, rest) = name.split_once('/')?;
    claim(claims.get(object)?.as_object()?, rest)
}

/// Whether a claim has a value that matches, and none that is an exception: people are in many groups.
fn any(value: &Value, globs: &Globs) -> bool {
    let values = match value {
        Value::Array(values) => values.as_slice(),
        one => std::slice::from_ref(one),
    };
    let texts: Vec<_> = values.iter().filter_map(text).collect();
    globs.match_some(texts.iter().map(AsRef::as_ref))
}

fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Bool(_) | Value::Number(_) => Some(Cow::Owned(value.to_string())),
        Value::Null | Value::Object(_) | Value::Array(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(claims: &[(&str, &[&str])]) -> Result<Rule, RuleError> {
        let globs = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect();
        let claims = claims.iter().map(|(name, patterns)| ((*name).to_owned(), globs(patterns))).collect();
        Rule::of(&RuleSettings { claims, ..RuleSettings::default() })
    }

    fn matches(claims: &[(&str, &[&str])], told: &Value) -> bool {
        rule(claims).expect("a rule").matches(told.as_object().expect("claims"))
    }

    #[test]
    fn every_claim_of_a_rule_must_be_there_and_match() {
        let told = json!({ "repository": "acme/app", "ref": "refs/heads/main", "run": 7, "protected": true });
        assert!(matches(&[("repository", &["acme/*"]), ("ref", &["refs/heads/main"])], &told));
        assert!(matches(&[("run", &["7"]), ("protected", &["true"])], &told));
        assert!(!matches(&[("repository", &["acme/*"]), ("ref", &["refs/tags/*"])], &told));
        assert!(!matches(&[("repository", &["acme/*"]), ("actor", &["*"])], &told), "it is not claimed");
        assert!(
            !matches(&[("repository", &["acm/*"])], &told) && !matches(&[("repository", &["acme"])], &told)
        );
        assert!(matches(&[("ref", &["refs/tags/v*", "refs/heads/main"])], &told));
        assert!(!matches(&[("ref", &["**", "!refs/heads/main"])], &told));
    }

    #[test]
    fn a_star_stops_at_a_slash() {
        let told = json!({ "ref": "refs/heads/fix/all" });
        assert!(
            !matches(&[("ref", &["refs/heads/*"])], &told) && matches(&[("ref", &["refs/heads/**"])], &told)
        );
    }

    #[test]
    fn claims_are_lists_and_within_others_too() {
        let told = json!({
            "groups": ["ops", "devs"], "kubernetes.io": { "namespace": "ci", "pod": { "name": "x" } }, "odd": [{}, null],
        });
        assert!(!matches(&[("groups", &["devs", "!ops"])], &told), "who is in both is an exception");
        assert!(matches(&[("groups", &["devs"])], &told) && !matches(&[("groups", &["dev"])], &told));
        assert!(matches(&[("kubernetes.io/namespace", &["ci"]), ("kubernetes.io/pod/name", &["x"])], &told));
        assert!(!matches(&[("kubernetes.io", &["**"])], &told) && !matches(&[("odd", &["**"])], &told));
    }

    #[test]
    fn a_rule_for_everybody_is_none() {
        assert!(matches!(rule(&[]), Err(RuleError::Everybody)));
        assert!(matches!(rule(&[("sub", &[])]), Err(RuleError::NoGlob(_))));
        assert!(matches!(rule(&[("sub", &["!x"])]), Err(RuleError::NoGlob(_))));
        assert!(matches!(rule(&[("sub", &["a["])]), Err(RuleError::Glob(..))));
    }
}
