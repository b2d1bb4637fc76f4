//! The rules of an identity provider: which claims must match, and which roles and teams they then give.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;
use thiserror::Error;

use super::signed::Claims;
use crate::auth::scope::ScopedRole;
use crate::metadata::Team;
use crate::retention::{Globs, Mistake};

/// The settings of a rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleSettings {
    /// The required claims. Each name has a list of globs, one of which must match the claim's value.
    pub claims: BTreeMap<String, Vec<String>>,
    /// The roles that the rule gives to jobs.
    pub may: Vec<ScopedRole>,
    /// The teams that the rule adds people to.
    pub teams: Vec<Team>,
}

/// Why a rule is invalid.
#[derive(Debug, Error)]
pub enum RuleError {
    /// The rule has no claims and would match everybody at the provider.
    #[error(
        "a rule must name a claim, such as claims = {{ sub = \"…\" }}; \
         without one it matches everybody at the provider"
    )]
    NoClaims,
    /// A claim has no globs, or only exceptions (`!`).
    #[error("claims.{0}: at least one glob without ! is required")]
    NoGlob(String),
    /// A glob is invalid.
    #[error("claims.{0}")]
    Glob(String, #[source] Mistake),
}

/// A compiled rule.
#[derive(Debug, Clone)]
pub struct Rule {
    claims: Vec<(String, Globs)>,
    pub(super) may: Vec<ScopedRole>,
    pub(super) teams: Vec<Team>,
}

impl Rule {
    /// Compiles a rule.
    ///
    /// # Errors
    /// Fails if the rule has no claims or a glob is invalid.
    pub fn compile(settings: &RuleSettings) -> Result<Self, RuleError> {
        if settings.claims.is_empty() {
            return Err(RuleError::NoClaims);
        }
        let mut claims = Vec::new();
        for (name, patterns) in &settings.claims {
            if patterns.iter().all(|pattern| pattern.starts_with('!')) {
                return Err(RuleError::NoGlob(name.clone()));
            }
            let globs = Globs::of_names("claims", patterns);
            let globs = globs.map_err(|error| RuleError::Glob(name.clone(), error))?;
            claims.push((name.clone(), globs));
        }
        Ok(Self { claims, may: settings.may.clone(), teams: settings.teams.clone() })
    }

    /// Whether all claims of the rule are present and match.
    pub(super) fn matches(&self, claims: &Claims) -> bool {
        let mut required = self.claims.iter();
        required
            .all(|(name, globs)| find_claim(claims, name).is_some_and(|value| value_matches(value, globs)))
    }
}

/// Finds a claim by its name, or by a path through nested objects such as `kubernetes.io/namespace`.
fn find_claim<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let (object, rest) = name.split_once('/')?;
    find_claim(claims.get(object)?.as_object()?, rest)
}

/// Whether a value of the claim matches a glob, and no value matches an exception. A claim such as `groups` can have
/// several values.
fn value_matches(value: &Value, globs: &Globs) -> bool {
    let values = match value {
        Value::Array(values) => values.as_slice(),
        single => std::slice::from_ref(single),
    };
    let texts: Vec<_> = values.iter().filter_map(as_text).collect();
    globs.matches_any_of(texts.iter().map(AsRef::as_ref))
}

fn as_text(value: &Value) -> Option<Cow<'_, str>> {
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
        let owned = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect();
        let claims = claims.iter().map(|(name, patterns)| ((*name).to_owned(), owned(patterns))).collect();
        Rule::compile(&RuleSettings { claims, ..RuleSettings::default() })
    }

    fn matches(globs: &[(&str, &[&str])], claims: &Value) -> bool {
        rule(globs).expect("a rule").matches(claims.as_object().expect("claims"))
    }

    #[test]
    fn all_claims_of_rule_must_match() {
        let claims =
            json!({ "repository": "acme/app", "ref": "refs/heads/main", "run": 7, "protected": true });
        assert!(matches(&[("repository", &["acme/*"]), ("ref", &["refs/heads/main"])], &claims));
        assert!(matches(&[("run", &["7"]), ("protected", &["true"])], &claims));
        assert!(!matches(&[("repository", &["acme/*"]), ("ref", &["refs/tags/*"])], &claims));
        assert!(!matches(&[("repository", &["acme/*"]), ("actor", &["*"])], &claims), "missing claim");
        assert!(
            !matches(&[("repository", &["acm/*"])], &claims)
                && !matches(&[("repository", &["acme"])], &claims)
        );
        assert!(matches(&[("ref", &["refs/tags/v*", "refs/heads/main"])], &claims));
        assert!(!matches(&[("ref", &["**", "!refs/heads/main"])], &claims));
    }

    #[test]
    fn single_star_does_not_match_slash() {
        let claims = json!({ "ref": "refs/heads/fix/all" });
        assert!(
            !matches(&[("ref", &["refs/heads/*"])], &claims)
                && matches(&[("ref", &["refs/heads/**"])], &claims)
        );
    }

    #[test]
    fn matches_lists_and_nested_claims() {
        let claims = json!({
            "groups": ["ops", "devs"], "kubernetes.io": { "namespace": "ci", "pod": { "name": "x" } }, "odd": [{}, null],
        });
        assert!(!matches(&[("groups", &["devs", "!ops"])], &claims), "one of the groups is an exception");
        assert!(matches(&[("groups", &["devs"])], &claims) && !matches(&[("groups", &["dev"])], &claims));
        assert!(matches(
            &[("kubernetes.io/namespace", &["ci"]), ("kubernetes.io/pod/name", &["x"])],
            &claims
        ));
        assert!(!matches(&[("kubernetes.io", &["**"])], &claims) && !matches(&[("odd", &["**"])], &claims));
    }

    #[test]
    fn rejects_rule_without_claims_or_globs() {
        assert!(matches!(rule(&[]), Err(RuleError::NoClaims)));
        assert!(matches!(rule(&[("sub", &[])]), Err(RuleError::NoGlob(_))));
        assert!(matches!(rule(&[("sub", &["!x"])]), Err(RuleError::NoGlob(_))));
        assert!(matches!(rule(&[("sub", &["a["])]), Err(RuleError::Glob(..))));
    }
}
