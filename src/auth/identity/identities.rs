//! Identifies the client of a signed token: finds the provider or authority that issued it, and caches the result.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::authority::Authority;
use super::provider::Provider;
use super::signed::{TokenError, unverified_issuer};
use crate::auth::expiring_cache::ExpiringCache;
use crate::auth::jws::looks_signed;
use crate::auth::principal::{AuthError, Bearer, FederatedIdentity, Principal, TokenSubject};
use crate::clock::Timestamp;
use crate::errors::Chain;

/// The trusted identity providers and the token authority.
#[derive(Default)]
pub struct Identities {
    /// The OpenID Connect providers.
    pub providers: Vec<Provider>,
    /// The external authority that issues tokens for this registry.
    pub authority: Option<Authority>,
    /// Caches the principal of each verified token, and the generation of the keys that verified it. The key is the
    /// hash of the token. Expiry is in seconds since the Unix epoch.
    verified: ExpiringCache<[u8; 32], (Principal, u64), i64>,
}

impl Identities {
    /// Creates the set of trusted issuers from these providers and this authority.
    pub fn new(providers: Vec<Provider>, authority: Option<Authority>) -> Self {
        Self { providers, authority, verified: ExpiringCache::default() }
    }

    /// Whether there are OpenID Connect providers.
    pub(in crate::auth) fn has_identity_providers(&self) -> bool {
        !self.providers.is_empty()
    }

    /// Whether the provider of an identity is still configured with the same settings.
    pub(in crate::auth) fn is_still_trusted(&self, identity: &FederatedIdentity) -> bool {
        self.providers.iter().any(|provider| provider.is_provider_of(identity))
    }

    /// The names of the providers that people can sign in with.
    pub(in crate::auth) fn sign_in_providers(&self) -> impl Iterator<Item = &str> {
        self.providers.iter().filter(|provider| provider.sign_in.is_some()).map(|provider| &*provider.name)
    }

    /// The provider of this name.
    pub(in crate::auth) fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.name == name)
    }

    /// How long an identity may keep getting new bearer tokens with a refresh token.
    pub(in crate::auth) fn session_lifetime(&self, identity: &FederatedIdentity) -> Option<Duration> {
        self.providers
            .iter()
            .find(|provider| provider.is_provider_of(identity))
            .map(|provider| provider.session_lifetime)
    }

    /// Identifies the client of a token. `None` if the text is not a signed token, or names no trusted issuer.
    ///
    /// # Errors
    /// [`AuthError::Unauthenticated`] if the token names a trusted issuer but is invalid.
    pub(in crate::auth) async fn identify(
        &self,
        token: &[u8],
        from: IpAddr,
        now: Timestamp,
    ) -> Result<Option<Principal>, AuthError> {
        if (self.providers.is_empty() && self.authority.is_none()) || !looks_signed(token) {
            return Ok(None);
        }
        let hash = Sha256::digest(token).into();
        let seconds = now.0.div_euclid(1000);
        if let Some((principal, generation)) = self.verified.get(&hash, &seconds)
            && self.generation() == Some(generation)
        {
            return Ok(Some(principal));
        }
        let Some(issuer) = unverified_issuer(token) else { return Ok(None) };
        let generation_before = self.generation();
        match self.verify_by_issuer(&issuer, token, now).await {
            None => Ok(None),
            Some(Ok((principal, until))) => {
                // The token was verified with the keys of this generation or newer ones.
                if let Some(generation) = generation_before.or_else(|| self.generation()) {
                    self.verified.put(hash, (principal.clone(), generation), until, &seconds);
                }
                Ok(Some(principal))
            }
            Some(Err((by, error))) => {
                tracing::warn!(remote = %from, by, "token rejected: {}", Chain(&error));
                Err(AuthError::Unauthenticated)
            }
        }
    }

    /// How often the keys of any issuer were replaced; `None` if some have to be checked again.
    fn generation(&self) -> Option<u64> {
        let of_providers = self.providers.iter().map(|provider| provider.keys.generation());
        of_providers.chain(self.authority.as_ref().map(|authority| authority.keys.generation())).sum()
    }

    /// Verifies a token with each provider that has this issuer, and then with the authority if it has. `None` if no
    /// provider or authority has this issuer. The error names the provider, or `authority`.
    async fn verify_by_issuer(
        &self,
        issuer: &str,
        token: &[u8],
        now: Timestamp,
    ) -> Option<Result<(Principal, i64), (&str, TokenError)>> {
        let mut last_error = None;
        for provider in self.providers.iter().filter(|provider| provider.is_issuer(issuer)) {
            match provider.verify_identity(token, now).await {
                Ok((identity, until)) => return Some(Ok((Principal::Federated(Arc::new(identity)), until))),
                Err(error) => last_error = Some(Err((&*provider.name, error))),
            }
        }
        let Some(authority) = self.authority.as_ref().filter(|authority| authority.is_issuer(issuer)) else {
            return last_error;
        };
        Some(match authority.verify_token(token, now).await {
            Ok((name, grants, until)) => {
                let bearer = Bearer { subject: TokenSubject::AuthorityClient(name), grants };
                Ok((Principal::Bearer(Arc::new(bearer)), until))
            }
            Err(error) => Err(("authority", error)),
        })
    }
}
