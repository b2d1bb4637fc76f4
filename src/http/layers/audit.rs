//! Decides which requests the audit log records, and writes the entry of each when its outcome is known.
//!
//! Changes are recorded with every outcome. Reads and the data of uploads are recorded only if they were denied.
//! Clients send their first request without a password, or with an expired token, to learn where to authenticate: that
//! is recorded only if the request would have changed something.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, Response, StatusCode};

use crate::auth::{AccessControl, AuthError, ClaimedIdentity, Principal, masked};
use crate::fair::client_network;
use crate::http::exchange::Exchange;
use crate::http::listen::Peer;
use crate::http::paths::{Target, is_login};
use crate::http::rejection::AuthRejection;
use crate::metadata::{AuditAction, AuditOutcome, Audited, Origin, Scope};
use crate::oci::{Endpoint, Reference, RepoName};
use crate::printable::is_unprintable;
use crate::registry::Registry;

/// The most characters of a claimed user name, of an authenticated one, and of a subject.
const MAX_CLAIM_CHARS: usize = 64;
const MAX_NAME_CHARS: usize = 256;
const MAX_SUBJECT_CHARS: usize = 256;

/// Starts the audit entry of a request, if it is recorded. The API and the pages record their own requests.
pub(in crate::http) fn start_entry(
    exchange: &Exchange<'_>,
    principal: Result<&Principal, &AuthRejection>,
) -> Option<PendingEntry> {
    let principal = match principal {
        Ok(principal) => principal,
        Err(denied) => return entry_for_rejection(exchange, denied),
    };
    match &exchange.target {
        // Pulls take only microseconds, so nothing is copied for them.
        Target::V2(_) if exchange.is_read() => None,
        Target::V2(endpoint) => {
            let change = operation(endpoint.as_ref().ok()?, &exchange.head.method)
                .filter(|operation| operation.action.is_change())?;
            Some(PendingEntry::of(&exchange.state.registry, exchange.peer, principal, change))
        }
        // The password of a token request or a sign-in may be wrong.
        Target::Other if is_login(exchange.path()) => {
            Some(entry_for_login(exchange, claimed(exchange).unwrap_or_default()))
        }
        Target::Api | Target::Pages | Target::Other => None,
    }
}

/// Completes the entry of a request.
pub(in crate::http) fn finish_entry<B>(entry: Option<PendingEntry>, response: &Response<B>) {
    let Some(mut entry) = entry else { return };
    // The user that a form names.
    if let Some(claimed) = response.extensions().get() {
        entry.set_claimed_user(claimed);
    }
    entry.finish(response.status());
}

/// The entry of a request that failed authentication or authorisation, if it is recorded.
fn entry_for_rejection(exchange: &Exchange<'_>, denied: &AuthRejection) -> Option<PendingEntry> {
    let Some(principal) = &denied.principal else {
        return claimed(exchange).map(|claimed| entry_for_login(exchange, claimed));
    };
    let operation = denied_operation(exchange);
    let is_first_request =
        matches!(principal, Principal::Anonymous) && denied.error == AuthError::Unauthenticated;
    (!is_first_request || operation.action.is_change())
        .then(|| PendingEntry::of(&exchange.state.registry, exchange.peer, principal, operation))
}

fn entry_for_login(exchange: &Exchange<'_>, claimed: ClaimedIdentity) -> PendingEntry {
    let login = AuditedOperation::without_target(AuditAction::Login);
    PendingEntry::new(&exchange.state.registry, exchange.peer, claimed, login)
}

fn claimed(exchange: &Exchange<'_>) -> Option<ClaimedIdentity> {
    let credentials = exchange.head.headers.get(AUTHORIZATION);
    AccessControl::claimed_identity(credentials.map(HeaderValue::as_bytes))
}

/// The operation of a denied request.
fn denied_operation(exchange: &Exchange<'_>) -> AuditedOperation {
    let method = &exchange.head.method;
    match &exchange.target {
        Target::V2(endpoint) => {
            let known = endpoint.as_ref().ok().and_then(|endpoint| operation(endpoint, method));
            known.unwrap_or(AuditedOperation::without_target(AuditAction::Read))
        }
        Target::Api | Target::Pages | Target::Other => {
            let action = if exchange.is_read() { AuditAction::Read } else { AuditAction::Change };
            let subject = Some(exchange.path().to_owned());
            AuditedOperation { subject, ..AuditedOperation::without_target(action) }
        }
    }
}

/// The operation of a request below `/v2`. `None` if it has no target or the endpoint does not support the method.
fn operation(endpoint: &Endpoint, method: &Method) -> Option<AuditedOperation> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let to = |action, name: &RepoName, subject: Option<String>| {
        Some(AuditedOperation { action, scope: Scope::One(name.clone()), subject })
    };
    match endpoint {
        Endpoint::Manifest { name, reference } => {
            let action = match (method, reference) {
                _ if reads => AuditAction::Pull,
                (&Method::PUT, _) => AuditAction::ManifestPush,
                (&Method::DELETE, Reference::Tag(_)) => AuditAction::TagDelete,
                (&Method::DELETE, Reference::Digest(_)) => AuditAction::ManifestDelete,
                _ => return None,
            };
            to(action, name, Some(reference.to_string()))
        }
        Endpoint::Blob { name, digest } if *method == Method::DELETE => {
            to(AuditAction::BlobDelete, name, Some(digest.to_string()))
        }
        Endpoint::Blob { name, .. } | Endpoint::Tags { name } | Endpoint::Referrers { name, .. } => {
            to(AuditAction::Pull, name, None)
        }
        Endpoint::Uploads { name } | Endpoint::Upload { name, .. } => to(AuditAction::Push, name, None),
        Endpoint::Base | Endpoint::Catalog => None,
    }
}

/// The action of a request, and its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) struct AuditedOperation {
    pub(in crate::http) action: AuditAction,
    pub(in crate::http) scope: Scope,
    pub(in crate::http) subject: Option<String>,
}

impl AuditedOperation {
    /// An action without a target.
    pub(crate) fn without_target(action: AuditAction) -> Self {
        Self { action, scope: Scope::All, subject: None }
    }
}

/// An entry that is written when it is dropped. If it is dropped before its request has an outcome, it records that the
/// client disconnected.
pub(in crate::http) struct PendingEntry {
    registry: Arc<Registry>,
    network: Option<IpAddr>,
    audited: Audited,
}

impl PendingEntry {
    /// An entry about an authenticated principal.
    pub(crate) fn of(
        registry: &Arc<Registry>,
        peer: Peer,
        principal: &Principal,
        operation: AuditedOperation,
    ) -> Self {
        let claimed = ClaimedIdentity { user: None, token: principal.access_token_id().map(Into::into) };
        let mut pending = Self::new(registry, peer, claimed, operation);
        pending.audited.user = principal.name().map(|name| readable(name, MAX_NAME_CHARS));
        pending
    }

    /// An entry about a user whose name is only claimed, such as at a failed login.
    pub(crate) fn new(
        registry: &Arc<Registry>,
        peer: Peer,
        claimed: ClaimedIdentity,
        operation: AuditedOperation,
    ) -> Self {
        let (from, network) = match peer.address() {
            Some(address) => (Origin::Address(address), Some(client_network(address))),
            None => (Origin::LocalAdmin, None),
        };
        let audited = Audited {
            user: claimed.user.map(|name| readable(&name, MAX_CLAIM_CHARS)),
            token: claimed.token,
            from,
            action: operation.action,
            scope: operation.scope,
            subject: operation.subject.map(|text| readable(&text, MAX_SUBJECT_CHARS)),
            outcome: AuditOutcome::Failed,
            // The client disconnected. nginx uses the same number.
            status: Some(499),
        };
        Self { registry: Arc::clone(registry), network, audited }
    }

    /// Adds to the target of the operation.
    pub(crate) fn add_target(&mut self, scope: Option<Scope>, subject: Option<&str>) {
        if let Some(scope) = scope.filter(|_| self.audited.scope == Scope::All) {
            self.audited.scope = scope;
        }
        let subject = subject.map(|text| readable(text, MAX_SUBJECT_CHARS));
        let both = [self.audited.subject.take(), subject];
        let both: Vec<String> = both.into_iter().flatten().collect();
        self.audited.subject = (!both.is_empty()).then(|| both.join(" "));
    }

    /// Sets the user that a form names.
    pub(crate) fn set_claimed_user(&mut self, claimed: &ClaimedIdentity) {
        self.audited.user = claimed.user.as_ref().map(|name| readable(name, MAX_CLAIM_CHARS));
        self.audited.token.clone_from(&claimed.token);
    }

    /// Sets the outcome by the status of the response.
    pub(crate) fn finish(mut self, status: StatusCode) {
        let action = self.audited.action;
        self.audited.outcome = match status {
            // After this challenge the client sends the request again with a password.
            StatusCode::UNAUTHORIZED if action == AuditAction::Read => AuditOutcome::Failed,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => AuditOutcome::Denied,
            status
                if matches!(action, AuditAction::Login | AuditAction::SignIn) && status.is_client_error() =>
            {
                AuditOutcome::Denied
            }
            status if status.is_client_error() || status.is_server_error() => AuditOutcome::Failed,
            _ => AuditOutcome::Allowed,
        };
        self.audited.status = Some(status.as_u16());
    }

    /// Records that the change was made, whatever the status of the response.
    pub(crate) fn finish_done(mut self, status: StatusCode) {
        self.audited.outcome = AuditOutcome::Allowed;
        self.audited.status = Some(status.as_u16());
    }
}

impl Drop for PendingEntry {
    fn drop(&mut self) {
        if self.audited.action.is_change() || self.audited.outcome == AuditOutcome::Denied {
            self.registry.audit(self.audited.clone(), self.network);
        }
    }
}

/// Removes secrets from `text`, escapes control and invisible characters, and truncates it to `max_chars` characters.
fn readable(text: &str, max_chars: usize) -> String {
    let text = masked(text);
    let mut shown = String::new();
    for (at, letter) in text.chars().enumerate() {
        if at == max_chars {
            shown.push('…');
            break;
        }
        match letter {
            '\'' | '"' => shown.push(letter),
            '\n' | '\r' | '\t' => shown.extend(letter.escape_debug()),
            letter if is_unprintable(letter) => shown.extend(letter.escape_unicode()),
            letter => shown.extend(letter.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(readable("it's \"ann\" ä", 64), "it's \"ann\" ä");
        assert_eq!(readable("a\u{1b}[2J\n\u{9b}b", 64), "a\\u{1b}[2J\\n\\u{9b}b");
        assert_eq!(readable("a\u{202e}b\u{200b}", 64), "a\\u{202e}b\\u{200b}");
        assert_eq!(readable("äbcdef", 3), "äbc…");
        assert_eq!(readable("orlop_abc_secret", 64), "orlop_abc_…");
    }
}
