//! The audit log: what of each request is recorded, decided here and nowhere else.
//!
//! Of what changes something every outcome is recorded; of what only reads, and of the bytes of uploads, that it was
//! denied. Clients ask first without a password, or with a token that has ended, and are told where to get what they
//! need: that is recorded only of what would have changed something.

mod api;
mod operations;
mod pending;
mod text;

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderValue, Method};

pub(super) use api::{About, Named, Slot, record};
#[cfg(test)]
pub(super) use operations::action;
pub(super) use pending::{Pending, What};

use super::AppState;
use super::challenge::AuthRejection;
use super::listen::Peer;
use crate::auth::{AccessControl, AuthError, Claimed, Principal};
use crate::metadata::{AuditAction, Scope};
use crate::oci::{Endpoint, PathError, Reference, RepoName};

/// What is to be recorded of a request below `/v2`.
pub(super) fn of_v2(
    state: &AppState,
    head: &Parts,
    peer: Peer,
    endpoint: &Result<Endpoint, PathError>,
    principal: &Result<Principal, AuthRejection>,
) -> Option<Pending> {
    let endpoint = endpoint.as_ref().ok();
    match principal {
        // Pulls have microseconds to live: for them nothing is copied.
        Ok(_) if matches!(head.method, Method::GET | Method::HEAD) => None,
        Ok(principal) => {
            let what = what(endpoint?, &head.method).filter(|what| what.action.is_change())?;
            Some(Pending::of(&state.registry, peer, principal, what))
        }
        Err(denied) => of_refused(state, head, peer, denied, || what_was_denied(endpoint, &head.method)),
    }
}

/// What is to be recorded of somebody who was not let in and permission to do something.
pub(super) fn of_refused(
    state: &AppState,
    head: &Parts,
    peer: Peer,
    denied: &AuthRejection,
    action: impl FnOnce() -> What,
) -> Option<Pending> {
    let Some(who) = &denied.who else { return claimed(head).map(|claimed| login(state, peer, claimed)) };
    let what = action();
    let asked = matches!(who, Principal::Anonymous) && denied.denial == AuthError::Unauthenticated;
    (!asked || what.action.is_change()).then(|| Pending::of(&state.registry, peer, who, what))
}

/// What is to be recorded of somebody who asks for a token, and may show a password that is wrong.
pub(super) fn of_token(state: &AppState, head: &Parts, peer: Peer) -> Pending {
    login(state, peer, claimed(head).unwrap_or_default())
}

fn login(state: &AppState, peer: Peer, claimed: Claimed) -> Pending {
    Pending::new(&state.registry, peer, claimed, What::only(AuditAction::Login))
}

fn claimed(head: &Parts) -> Option<Claimed> {
    AccessControl::claimed(head.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes))
}

/// What somebody wants who is not let in, by a path that is not of the registry protocol.
pub(super) fn of_path(head: &Parts) -> What {
    let reads = matches!(head.method, Method::GET | Method::HEAD);
    let action = if reads { AuditAction::Read } else { AuditAction::Change };
    What { subject: Some(head.uri.path().to_owned()), ..What::only(action) }
}

fn what_was_denied(endpoint: Option<&Endpoint>, method: &Method) -> What {
    endpoint.and_then(|endpoint| what(endpoint, method)).unwrap_or(What::only(AuditAction::Read))
}

/// What a request does.
fn what(endpoint: &Endpoint, method: &Method) -> Option<What> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let to = |action, name: &RepoName, subject: Option<String>| {
        Some(What { action, scope: Scope::One(name.clone()), subject })
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
