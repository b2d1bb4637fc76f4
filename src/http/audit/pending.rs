//! An entry of the audit log for a request in progress, which is written when the outcome is known.

use std::net::IpAddr;
use std::sync::Arc;

use http::StatusCode;

use super::text::readable;
use crate::auth::{ClaimedIdentity, Principal};
use crate::fair::network;
use crate::http::listen::Peer;
use crate::metadata::{AuditAction, AuditOutcome, Audited, Origin, Scope};
use crate::registry::Registry;

/// The most characters of a claimed user name, of an authenticated one, and of a subject.
const MAX_CLAIM_CHARS: usize = 64;
const MAX_NAME_CHARS: usize = 256;
const MAX_SUBJECT_CHARS: usize = 256;

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
            Some(address) => (Origin::Address(address), Some(network(address))),
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
            status if action == AuditAction::Login && status.is_client_error() => AuditOutcome::Denied,
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
