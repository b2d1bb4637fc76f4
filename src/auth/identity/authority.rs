//! An external authority, such as Harbor or GitLab, that issues tokens for this registry in Docker's token protocol
//! (<https://distribution.github.io/distribution/spec/auth/jwt/>).

use std::sync::Arc;

use reqwest::Client;
use serde::Deserialize;
use serde_json::Value;

use super::keys::{KeySource, Keys};
use super::signed::{Claims, ExpectedParties, TokenError, subject, verify};
use crate::auth::scope::Grant;
use crate::clock::{Clock, Timestamp};

/// The maximum number of entries in a token's `access` claim; further ones are ignored.
const MAX_ACCESS_ENTRIES: usize = 100;

/// The settings of a token authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthoritySettings {
    /// The URL where clients request tokens.
    pub realm: String,
    /// The name by which the authority knows this registry. Tokens must have it as their audience.
    pub service: String,
    /// The issuer that tokens must name.
    pub issuer: String,
    /// Where the keys of the authority are published.
    pub keys: KeySource,
}

/// A token authority.
pub struct Authority {
    /// The URL where clients request tokens.
    pub realm: String,
    /// The name by which the authority knows this registry.
    pub service: String,
    /// A single issuer, in an array because [`ExpectedParties`] takes a slice.
    issuer: [String; 1],
    pub(super) keys: Keys,
}

/// An entry of the `access` claim.
#[derive(Deserialize)]
struct Access {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    actions: Vec<String>,
}

impl Authority {
    /// Creates an authority from its settings.
    pub fn new(settings: AuthoritySettings, client: Client, clock: Arc<dyn Clock>) -> Self {
        let AuthoritySettings { realm, service, issuer, keys } = settings;
        Self { realm, service, issuer: [issuer], keys: Keys::new(keys, client, clock) }
    }

    /// Whether this authority is the issuer that a token names.
    pub(super) fn is_issuer(&self, issuer: &str) -> bool {
        self.issuer[0] == issuer
    }

    /// Verifies a token. Returns the name of its subject, its grants, and its expiry in seconds since the Unix epoch.
    pub(super) async fn verify_token(
        &self,
        token: &[u8],
        now: Timestamp,
    ) -> Result<(Arc<str>, Vec<Grant>, i64), TokenError> {
        let parties = ExpectedParties { issuers: &self.issuer, audience: &self.service };
        let (mut claims, until) = verify(token, &self.keys, parties, now).await?;
        let grants = take_grants(&mut claims);
        // The name is empty for anonymous clients of the authority.
        let name = subject(&claims).unwrap_or_default().to_owned();
        Ok((format!("{}:{name}", self.issuer[0]).into(), grants, until))
    }
}

/// Removes the `access` claim and returns its entries as grants. Skips invalid entries.
fn take_grants(claims: &mut Claims) -> Vec<Grant> {
    let access = match claims.remove("access") {
        Some(Value::Array(access)) => access,
        _ => Vec::new(),
    };
    let entries =
        access.into_iter().take(MAX_ACCESS_ENTRIES).filter_map(|entry| serde_json::from_value(entry).ok());
    entries
        .filter_map(|Access { kind, name, actions }| {
            Grant::parse(&format!("{kind}:{name}:{}", actions.join(",")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parses_access_claim() {
        let mut claims = json!({ "access": [
            { "type": "repository", "name": "team/app", "actions": ["pull", "push"] },
            { "type": "repository", "name": "team/web", "actions": ["*"] },
            { "type": "registry", "name": "catalog", "actions": ["*"] },
            { "type": "repository", "name": "../x", "actions": ["pull"] },
            { "type": "repository", "name": "a:pull,repository:b", "actions": ["pull"] },
            { "type": "repository", "name": "team/db" },
            "nonsense",
        ]});
        let found = take_grants(claims.as_object_mut().expect("claims"));
        let scopes = ["repository:team/app:pull,push", "repository:team/web:*", "registry:catalog:*"];
        assert_eq!(found, scopes.map(|scope| Grant::parse(scope).expect("a scope")));
        for without_grants in [json!({}), json!({ "access": null }), json!({ "access": {} })] {
            assert!(take_grants(without_grants.clone().as_object_mut().expect("claims")).is_empty());
        }
    }
}
