//! Decides which requests the audit log records.
//!
//! Changes are recorded with every outcome. Reads and the data of uploads are recorded only if they were denied.
//! Clients send their first request without a password, or with an expired token, to learn where to authenticate: that
//! is recorded only if the request would have changed something.

mod api;
mod operations;
mod pending;
mod text;

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderValue, Method};

pub(super) use api::{AuditBody, AuditSlot, AuditTarget, record};
#[cfg(test)]
pub(super) use operations::action;
pub(super) use pending::{AuditedOperation, PendingEntry};

use super::AppState;
use super::challenge::AuthRejection;
use super::listen::Peer;
use crate::auth::{AccessControl, AuthError, ClaimedIdentity, Principal};
use crate::metadata::{AuditAction, Scope};
use crate::oci::{Endpoint, PathError, Reference, RepoName};

/// The audit entry of a request below `/v2`, if it is recorded.
pub(super) fn entry_for_v2(
    state: &AppState,
    head: &Parts,
    peer: Peer,
    endpoint: &Result<Endpoint, PathError>,
    principal: Result<&Principal, &AuthRejection>,
) -> Option<PendingEntry> {
    let endpoint = endpoint.as_ref().ok();
    match principal {
        // Pulls take only microseconds, so nothing is copied for them.
        Ok(_) if matches!(head.method, Method::GET | Method::HEAD) => None,
        Ok(principal) => {
            let change =
                operation(endpoint?, &head.method).filter(|operation| operation.action.is_change())?;
            Some(PendingEntry::of(&state.registry, peer, principal, change))
        }
        Err(denied) => {
            entry_for_rejection(state, head, peer, denied, || denied_operation(endpoint, &head.method))
        }
    }
}

/// The audit entry of a request that failed authentication or authorisation, if it is recorded.
pub(super) fn entry_for_rejection(
    state: &AppState,
    head: &Parts,
    peer: Peer,
    denied: &AuthRejection,
    operation: impl FnOnce() -> AuditedOperation,
) -> Option<PendingEntry> {
    let Some(principal) = &denied.principal else {
        return claimed(head).map(|claimed| login(state, peer, claimed));
    };
    let operation = operation();
    let is_first_request =
        matches!(principal, Principal::Anonymous) && denied.error == AuthError::Unauthenticated;
    (!is_first_request || operation.action.is_change())
        .then(|| PendingEntry::of(&state.registry, peer, principal, operation))
}

/// The audit entry of a token request or a sign-in, whose password may be wrong.
pub(super) fn entry_for_login(state: &AppState, head: &Parts, peer: Peer) -> PendingEntry {
    login(state, peer, claimed(head).unwrap_or_default())
}

fn login(state: &AppState, peer: Peer, claimed: ClaimedIdentity) -> PendingEntry {
    PendingEntry::new(&state.registry, peer, claimed, AuditedOperation::without_target(AuditAction::Login))
}

fn claimed(head: &Parts) -> Option<ClaimedIdentity> {
    AccessControl::claimed_identity(head.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes))
}

/// The operation of a denied request whose path is outside of `/v2`.
pub(super) fn operation_of_path(head: &Parts) -> AuditedOperation {
    let reads = matches!(head.method, Method::GET | Method::HEAD);
    let action = if reads { AuditAction::Read } else { AuditAction::Change };
    AuditedOperation { subject: Some(head.uri.path().to_owned()), ..AuditedOperation::without_target(action) }
}

fn denied_operation(endpoint: Option<&Endpoint>, method: &Method) -> AuditedOperation {
    let known = endpoint.and_then(|endpoint| operation(endpoint, method));
    known.unwrap_or(AuditedOperation::without_target(AuditAction::Read))
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
