//! All whose word counts here.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::authority::Authority;
use super::federated::FederatedIdentity;
use super::provider::Provider;
use super::signed::{Flaw, issuer, looks_signed};
use crate::auth::bearer::{Bearer, TokenSubject};
use crate::auth::fresh::Fresh;
use crate::auth::principal::{AuthError, Principal};
use crate::clock::Timestamp;

/// Those whose word counts.
#[derive(Default)]
pub struct Identities {
    /// Providers of OpenID Connect.
    pub providers: Vec<Provider>,
    /// Another authority that issues tokens for this registry.
    pub authority: Option<Authority>,
    /// By the hashes of their tokens, with the generation of the keys; until when they are good, in seconds since the
    /// Unix epoch.
    found: Fresh<[u8; 32], (Principal, u64), i64>,
}

impl Identities {
    /// These.
    pub fn new(providers: Vec<Provider>, authority: Option<Authority>) -> Self {
        Self { providers, authority, found: Fresh::default() }
    }

    /// Whether somebody who has no account may come.
    pub(in crate::auth) fn has_identity_providers(&self) -> bool {
        !self.providers.is_empty()
    }

    /// Whether somebody would be let in still by who let them in.
    pub(in crate::auth) fn vouch_for(&self, identity: &FederatedIdentity) -> bool {
        self.providers.iter().any(|provider| provider.vouches_for(identity))
    }

    /// The names of those by which people sign in.
    pub(in crate::auth) fn sign_ins(&self) -> impl Iterator<Item = &str> {
        self.providers.iter().filter(|provider| provider.has_sign_in()).map(Provider::name)
    }

    /// The provider of this name.
    pub(in crate::auth) fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.name() == name)
    }

    /// For how long somebody who comes by one of them may stay.
    pub(in crate::auth) fn visit_of(&self, identity: &FederatedIdentity) -> Option<Duration> {
        self.providers.iter().find(|provider| provider.vouches_for(identity)).map(Provider::visit)
    }

    /// Whom a token is for that one of them signed; `None` for anything else.
    ///
    /// # Errors
    /// [`AuthError::Unauthenticated`] for one that one of them could have signed, and that is worth nothing.
    pub(in crate::auth) async fn who(
        &self,
        token: &[u8],
        from: IpAddr,
        now: Timestamp,
    ) -> Result<Option<Principal>, AuthError> {
        if (self.providers.is_empty() && self.authority.is_none()) || !looks_signed(token) {
            return Ok(None);
        }
        let (hash, seconds) = (Sha256::digest(token).into(), now.0.div_euclid(1000));
        if let Some((principal, generation)) = self.found.get(&hash, &seconds)
            && self.generation() == Some(generation)
        {
            return Ok(Some(principal));
        }
        let Some(issuer) = issuer(token) else { return Ok(None) };
        let before = self.generation();
        match self.verified(&issuer, token, now).await {
            None => Ok(None),
            Some(Ok((principal, until))) => {
                // It was verified by the keys of then, or by newer ones.
                if let Some(generation) = before.or_else(|| self.generation()) {
                    self.found.put(hash, (principal.clone(), generation), until, &seconds);
                }
                Ok(Some(principal))
            }
            Some(Err((by, flaw))) => {
                tracing::warn!(remote = %from, by, "a token is worth nothing here: {flaw}");
                Err(AuthError::Unauthenticated)
            }
        }
    }

    /// How often somebody's keys were changed; `None` if some may be now.
    fn generation(&self) -> Option<u64> {
        let of_providers = self.providers.iter().map(Provider::keys_generation);
        of_providers.chain(self.authority.as_ref().map(Authority::keys_generation)).sum()
    }

    /// `None` if nobody here is called so.
    async fn verified(
        &self,
        issuer: &str,
        token: &[u8],
        now: Timestamp,
    ) -> Option<Result<(Principal, i64), (&str, Flaw)>> {
        let mut last = None;
        for provider in self.providers.iter().filter(|provider| provider.is(issuer)) {
            match provider.identity(token, now).await {
                Ok((identity, until)) => return Some(Ok((Principal::Federated(Arc::new(identity)), until))),
                Err(flaw) => last = Some(Err((provider.name(), flaw))),
            }
        }
        let Some(authority) = self.authority.as_ref().filter(|authority| authority.is(issuer)) else {
            return last;
        };
        let admitted = authority.admit(token, now).await;
        Some(match admitted {
            Ok((name, grants, until)) => {
                Ok((Principal::Bearer(Arc::new(Bearer { of: TokenSubject::Delegated(name), grants })), until))
            }
            Err(flaw) => Err(("authority", flaw)),
        })
    }
}
