//! Refresh tokens: what clients keep in the place of a password, to get tokens with for as long as the password is the
//! same (<https://distribution.github.io/distribution/spec/auth/oauth/>).

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::access_control::AccessControl;
use super::administration::Result;
use super::identity::FederatedIdentity;
use super::principal::{AuthError, Principal};
use super::secret::{self, NewToken};
use crate::clock::Timestamp;
use crate::metadata::{AccountChange, Role, Scope, TokenRecord};
use crate::printable::is_unprintable;

/// For how long one is good.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The longest name of a client that is kept.
const LONGEST: usize = 100;

impl AccessControl {
    /// A token for a client that goes on without its user's password. `None` to whoever showed none.
    ///
    /// # Errors
    /// It could not be made.
    pub async fn refresh_token(
        &self,
        principal: &Principal,
        client: &str,
        now: Timestamp,
    ) -> Result<Option<String>> {
        let user = match principal {
            Principal::User(user) => user,
            Principal::Federated(identity) => return Ok(self.visit(identity, now)?),
            Principal::LocalAdmin | Principal::Anonymous | Principal::Token(_) | Principal::Bearer(_) => {
                return Ok(None);
            }
        };
        let NewToken { id, text, hash } = NewToken::random()?;
        let record = TokenRecord {
            id,
            account: user.name.to_string(),
            name: client.chars().filter(|letter| !is_unprintable(*letter)).take(LONGEST).collect(),
            hash,
            role: Role::Admin,
            scope: Scope::All,
            bound: Some(user.print.clone()),
            created_at: now,
            expires_at: Some(now.plus(LIFETIME)),
            used_at: None,
        };
        self.change(AccountChange::AddToken(record), || "token".to_owned()).await?;
        Ok(Some(text))
    }

    /// For as long as a job may take: what its provider signed has mostly ended before.
    fn visit(&self, identity: &FederatedIdentity, now: Timestamp) -> io::Result<Option<String>> {
        let Some(lifetime) = self.identities().visit_of(identity) else { return Ok(None) };
        Ok(Some(self.tokens().renewal(identity.clone(), lifetime, now)?.text))
    }

    /// Lets somebody in by a token of [`Self::refresh_token`], as if with the password.
    ///
    /// # Errors
    /// [`AuthError`].
    pub fn renew(
        &self,
        refresh: &[u8],
        from: IpAddr,
        now: Timestamp,
    ) -> std::result::Result<Principal, AuthError> {
        if let Some(identity) = self.tokens().renews(refresh, now) {
            let principal = Principal::Federated(Arc::new(identity));
            return if self.is_still_valid(&principal) {
                Ok(principal)
            } else {
                Err(AuthError::Unauthenticated)
            };
        }
        let token = secret::id(refresh).and_then(|id| self.access_token(id));
        let token = token.filter(|token| secret::same(&token.hash, &secret::hash(refresh)));
        let found = token.and_then(|token| {
            let user = self.named(&token.account, None)?;
            (token.bound.as_ref() == Some(&user.print)).then_some((token, user))
        });
        let Some((token, user)) = found else { return Err(self.guessed(from)) };
        self.accounts().note_use(&token.id, token.used_at, now);
        Ok(Principal::User(Arc::new(user)))
    }
}
