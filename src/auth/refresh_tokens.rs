//! Refresh tokens: clients store them in place of a password, and exchange them for bearer tokens until the password
//! changes (<https://distribution.github.io/distribution/spec/auth/oauth/>).

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::access_control::AccessControl;
use super::administration::Result;
use super::principal::{AuthError, FederatedIdentity, Principal};
use super::secret::{self, NewToken};
use crate::clock::Timestamp;
use crate::metadata::{AccountChange, Role, Scope, TokenRecord};
use crate::printable::is_unprintable;

/// The lifetime of a user's refresh token.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The maximum length of a client's name, in characters; longer names are truncated.
const MAX_CLIENT_NAME_CHARS: usize = 100;

impl AccessControl {
    /// Creates a refresh token for a client. `None` if the principal authenticated with neither a password nor a
    /// provider's token.
    ///
    /// # Errors
    /// Fails if the token can't be generated or recorded.
    pub async fn create_refresh_token(
        &self,
        principal: &Principal,
        client: &str,
        now: Timestamp,
    ) -> Result<Option<String>> {
        let user = match principal {
            Principal::User(user) => user,
            Principal::Federated(identity) => return Ok(self.create_federated_refresh_token(identity, now)?),
            Principal::LocalAdmin | Principal::Anonymous | Principal::Token(_) | Principal::Bearer(_) => {
                return Ok(None);
            }
        };
        let NewToken { id, text, hash } = NewToken::generate()?;
        let record = TokenRecord {
            id,
            account: user.name.to_string(),
            name: client
                .chars()
                .filter(|letter| !is_unprintable(*letter))
                .take(MAX_CLIENT_NAME_CHARS)
                .collect(),
            hash,
            role: Role::Admin,
            scope: Scope::All,
            bound: Some(user.credential_fingerprint.clone()),
            created_at: now,
            expires_at: Some(now.plus(LIFETIME)),
            used_at: None,
        };
        self.change(AccountChange::AddToken(record), || "token".to_owned()).await?;
        Ok(Some(text))
    }

    /// Creates a refresh token for an identity without an account. It is valid for the provider's session lifetime, so
    /// that a job can outlast the provider's own token. `None` if the provider is no longer trusted.
    fn create_federated_refresh_token(
        &self,
        identity: &FederatedIdentity,
        now: Timestamp,
    ) -> io::Result<Option<String>> {
        let Some(lifetime) = self.identities.session_lifetime(identity) else { return Ok(None) };
        Ok(Some(self.tokens().issue_federated_refresh_token(identity.clone(), lifetime, now)?.text))
    }

    /// Authenticates a refresh token of [`Self::create_refresh_token`]. The result is the same as for the password.
    ///
    /// # Errors
    /// Fails if the token is unknown, expired or bound to an old password, or if the check is throttled.
    pub fn authenticate_refresh_token(
        &self,
        refresh: &[u8],
        from: IpAddr,
        now: Timestamp,
    ) -> std::result::Result<Principal, AuthError> {
        if let Some(identity) = self.tokens().verify_federated_refresh_token(refresh, now) {
            let principal = Principal::Federated(Arc::new(identity));
            return if self.is_still_valid(&principal) {
                Ok(principal)
            } else {
                Err(AuthError::Unauthenticated)
            };
        }
        let token = secret::token_id(refresh).and_then(|id| self.access_token(id));
        let token = token.filter(|token| secret::hashes_equal(&token.hash, &secret::hash_token(refresh)));
        let found = token.and_then(|token| {
            let user = self.current_user(&token.account, None)?;
            (token.bound.as_ref() == Some(&user.credential_fingerprint)).then_some((token, user))
        });
        let Some((token, user)) = found else { return Err(self.reject_unknown_token(from)) };
        self.accounts().record_use(&token.id, token.used_at, now);
        Ok(Principal::User(Arc::new(user)))
    }
}
