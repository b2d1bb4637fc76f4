//! An entry of the audit log that wants to know what comes of its request.

use std::net::IpAddr;
use std::sync::Arc;

use http::StatusCode;

use super::text::readable;
use crate::auth::{Claimed, Principal, network};
use crate::http::listen::Peer;
use crate::metadata::{AuditAction, AuditOutcome, Audited, Origin, Scope};
use crate::registry::Registry;

/// The most letters of the name that somebody claims, of that of somebody who was let in, and of what something was done to.
const LONGEST_CLAIM: usize = 64;
const LONGEST_NAME: usize = 256;
const LONGEST_SUBJECT: usize = 256;

/// What a request does, and to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) struct What {
    pub(in crate::http) action: AuditAction,
    pub(in crate::http) scope: Scope,
    pub(in crate::http) subject: Option<String>,
}

impl What {
    /// To nothing in particular.
    pub(in crate::http) fn only(action: AuditAction) -> Self {
        Self { action, scope: Scope::All, subject: None }
    }
}

/// An entry to come. Dropped before its request has ended it tells that the client has left.
pub(in crate::http) struct Pending {
    registry: Arc<Registry>,
    network: Option<IpAddr>,
    audited: Audited,
}

impl Pending {
    /// An entry about somebody who was let in.
    pub(in crate::http) fn of(registry: &Arc<Registry>, peer: Peer, who: &Principal, what: What) -> Self {
        let claimed = Claimed { user: None, token: who.access_token().map(Into::into) };
        let mut pending = Self::new(registry, peer, claimed, what);
        pending.audited.user = who.user().map(|name| readable(name, LONGEST_NAME));
        pending
    }

    pub(in crate::http) fn new(registry: &Arc<Registry>, peer: Peer, who: Claimed, what: What) -> Self {
        let (from, network) = match peer.address() {
            Some(address) => (Origin::Address(address), Some(network(address))),
            None => (Origin::Machine, None),
        };
        let audited = Audited {
            user: who.user.map(|name| readable(&name, LONGEST_CLAIM)),
            token: who.token,
            from,
            action: what.action,
            scope: what.scope,
            subject: what.subject.map(|text| readable(&text, LONGEST_SUBJECT)),
            outcome: AuditOutcome::Failed,
            // nginx's number for it.
            status: Some(499),
        };
        Self { registry: Arc::clone(registry), network, audited }
    }

    /// Adds to what it is done.
    pub(in crate::http) fn about(&mut self, scope: Option<Scope>, subject: Option<&str>) {
        if let Some(scope) = scope.filter(|_| self.audited.scope == Scope::All) {
            self.audited.scope = scope;
        }
        let subject = subject.map(|text| readable(text, LONGEST_SUBJECT));
        let both = [self.audited.subject.take(), subject];
        let both: Vec<String> = both.into_iter().flatten().collect();
        self.audited.subject = (!both.is_empty()).then(|| both.join(" "));
    }

    /// Who it is, or says to be, by a form.
    pub(in crate::http) fn claim(&mut self, who: &Claimed) {
        self.audited.user = who.user.as_ref().map(|name| readable(name, LONGEST_CLAIM));
        self.audited.token.clone_from(&who.token);
    }

    /// This came of it.
    pub(in crate::http) fn end(mut self, status: StatusCode) {
        let action = self.audited.action;
        self.audited.outcome = match status {
            // A client that is asked who it is asks again, with a password.
            StatusCode::UNAUTHORIZED if action == AuditAction::Read => AuditOutcome::Failed,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => AuditOutcome::Denied,
            status if action == AuditAction::Login && status.is_client_error() => AuditOutcome::Denied,
            status if status.is_client_error() || status.is_server_error() => AuditOutcome::Failed,
            _ => AuditOutcome::Allowed,
        };
        self.audited.status = Some(status.as_u16());
    }

    /// It was done, whatever the response says of what came after it.
    pub(in crate::http) fn end_done(mut self, status: StatusCode) {
        self.audited.outcome = AuditOutcome::Allowed;
        self.audited.status = Some(status.as_u16());
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.audited.action.is_change() || self.audited.outcome == AuditOutcome::Denied {
            self.registry.audit(self.audited.clone(), self.network);
        }
    }
}
