//! Another authority that lets clients in to this registry, by tokens as Docker's protocol has them
//! (<https://distribution.github.io/distribution/spec/auth/jwt/>): what Harbor's or GitLab's registry is told to trust.

use std::sync::Arc;

use reqwest::Client;
use serde::Deserialize;
use serde_json::Value;

use super::keys::{KeySource, Keys};
use super::provider::subject;
use super::signed::{Claims, Flaw, Parties, verify};
use crate::auth::scope::Grant;
use crate::clock::{Clock, Timestamp};

/// The most repositories of a token that are looked at.
const MOST: usize = 100;

/// An authority as settings have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthoritySettings {
    /// Where clients get tokens.
    pub realm: String,
    /// What this registry is called there, and whom tokens must be for.
    pub service: String,
    /// Who tokens must be by.
    pub issuer: String,
    /// Where its keys are.
    pub keys: KeySource,
}

/// An authority.
pub struct Authority {
    /// Where clients get tokens.
    pub realm: String,
    /// What this registry is called there.
    pub service: String,
    issuer: [String; 1],
    keys: Keys,
}

/// What a token is for.
#[derive(Deserialize)]
struct Access {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    actions: Vec<String>,
}

impl Authority {
    /// The authority that settings mean.
    pub fn new(settings: AuthoritySettings, client: Client, clock: Arc<dyn Clock>) -> Self {
        let AuthoritySettings { realm, service, issuer, keys } = settings;
        Self { realm, service, issuer: [issuer], keys: Keys::new(keys, client, clock) }
    }

    /// How often its keys were changed; `None` if they may be now.
    pub(super) fn keys_generation(&self) -> Option<u64> {
        self.keys.generation()
    }

    /// Whether a token says that it is by this authority.
    pub(super) fn is(&self, issuer: &str) -> bool {
        self.issuer[0] == issuer
    }

    /// Whom a token is for, what it is good for, and until when, in seconds since the Unix epoch.
    pub(super) async fn admit(
        &self,
        token: &[u8],
        now: Timestamp,
    ) -> Result<(Arc<str>, Vec<Grant>, i64), Flaw> {
        let parties = Parties { issuers: &self.issuer, audience: &self.service };
        let (mut claims, until) = verify(token, &self.keys, parties, now).await?;
        let grants = grants(&mut claims);
        // Nobody's name is that of somebody who is known there without one.
        let name = subject(&claims).unwrap_or_default().to_owned();
        Ok((format!("{}:{name}", self.issuer[0]).into(), grants, until))
    }
}

fn grants(claims: &mut Claims) -> Vec<Grant> {
    let access = match claims.remove("access") {
        Some(Value::Array(access)) => access,
        _ => Vec::new(),
    };
    let known = access.into_iter().take(MOST).filter_map(|access| serde_json::from_value(access).ok());
    known
        .filter_map(|Access { kind, name, actions }| {
            Grant::asked(&format!("{kind}:{name}:{}", actions.join(",")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_is_good_for_what_it_names() {
        let mut claims = json!({ "access": [
            { "type": "repository", "name": "team/app", "actions": ["pull", "push"] },
            { "type": "repository", "name": "team/web", "actions": ["*"] },
            { "type": "registry", "name": "catalog", "actions": ["*"] },
            { "type": "repository", "name": "../x", "actions": ["pull"] },
            { "type": "repository", "name": "a:pull,repository:b", "actions": ["pull"] },
            { "type": "repository", "name": "team/db" },
            "nonsense",
        ]});
        let found = grants(claims.as_object_mut().expect("claims"));
        let asked = ["repository:team/app:pull,push", "repository:team/web:*", "registry:catalog:*"];
        assert_eq!(found, asked.map(|scope| Grant::asked(scope).expect("a scope")));
        for nothing in [json!({}), json!({ "access": null }), json!({ "access": {} })] {
            assert!(grants(nothing.clone().as_object_mut().expect("claims")).is_empty());
        }
    }
}
