//! An external authority, such as Harbor or GitLab, that issues tokens of Docker's protocol for this registry
//! (<https://distribution.github.io/distribution/spec/auth/jwt/>).

use std::sync::Arc;

use reqwest::Client;
use serde::Deserialize;
use serde_json::Value;

use super::keys::{KeySource, Keys};
use super::provider::subject;
use super::signed::{Claims, ExpectedParties, TokenError, verify};
use crate::auth::scope::Grant;
use crate::clock::{Clock, Timestamp};

/// How many entries of a token's `access` claim are considered; the rest is ignored.
const MAX_ACCESS_ENTRIES: usize = 100;

/// The settings of a token authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthoritySettings {
    /// The address where clients get tokens.
    pub realm: String,
    /// The name of this registry at the authority, which must be the audience of tokens.
    pub service: String,
    /// The issuer of tokens.
    pub issuer: String,
    /// Where the keys of the authority are published.
    pub keys: KeySource,
}

/// A token authority.
pub struct Authority {
    /// The address where clients get tokens.
    pub realm: String,
    /// The name of this registry at the authority.
    pub service: String,
    issuer: [String; 1],
    keys: Keys,
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

    /// The generation of the keys; `None` if they may have changed.
    pub(super) fn keys_generation(&self) -> Option<u64> {
        self.keys.generation()
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

/// Removes the `access` claim and parses its entries. Skips invalid ones.
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
        for nothing in [json!({}), json!({ "access": null }), json!({ "access": {} })] {
            assert!(take_grants(nothing.clone().as_object_mut().expect("claims")).is_empty());
        }
    }
}
