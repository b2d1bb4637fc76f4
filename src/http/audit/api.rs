//! What requests to the API do, and to what.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::Extensions;
use http::request::Parts;

use super::operations::action;
use super::{Pending, What};
use crate::auth::Principal;
use crate::http::api::ROOT;
use crate::http::listen::Peer;
use crate::http::query::Query;
use crate::metadata::{AuditAction, Scope};
use crate::registry::Registry;

/// What the body of a request names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::http) struct Named {
    pub(in crate::http) scope: Option<Scope>,
    pub(in crate::http) subject: Option<String>,
}

/// A request's body, as the audit log tells it. Every body says that of itself, for none but it knows what of it is
/// a secret.
pub(in crate::http) trait About {
    /// What it names besides what the path does.
    fn about(&self) -> Named {
        Named::default()
    }
}

/// Where a handler leaves what the audit log needs to know besides the request's head and the response's status.
#[derive(Clone, Default)]
pub(in crate::http) struct Slot(Arc<Notes>);

#[derive(Default)]
struct Notes {
    named: OnceLock<Named>,
    is_done: AtomicBool,
}

impl Slot {
    /// The slot of a request, if it has one.
    pub(in crate::http) fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// Leaves what a body names.
    pub(in crate::http) fn fill(&self, named: Named) {
        let _ = self.0.named.set(named);
    }

    /// Notes that the change is made: from now on nothing that fails, such as reading the result, undoes it.
    pub(in crate::http) fn mark_done(&self) {
        self.0.is_done.store(true, Ordering::Relaxed);
    }
}

/// Records what becomes of each request to the API. What comes from this machine is written down before it is answered:
/// on a stopped store the process ends then.
pub(in crate::http) async fn record(
    State(registry): State<Arc<Registry>>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let slot = Slot::default();
    parts.extensions.insert(slot.clone());
    let peer = parts.extensions.get::<Peer>().copied().unwrap_or(Peer::Unix);
    let principal = match peer {
        Peer::Unix => Principal::LocalAdmin,
        Peer::Tcp(_) | Peer::Proxied(_) => parts.extensions.get().cloned().unwrap_or(Principal::Anonymous),
    };
    let what = what(&mut parts).await;
    let is_change = what.action.is_change();
    let mut pending = Pending::of(&registry, peer, &principal, what);
    let response = next.run(Request::from_parts(parts, body)).await;
    if let Some(Named { scope, subject }) = slot.0.named.get() {
        pending.about(scope.clone(), subject.as_deref());
    }
    if slot.0.is_done.load(Ordering::Relaxed) {
        pending.end_done(response.status());
    } else {
        pending.end(response.status());
    }
    if is_change
        && peer == Peer::Unix
        && let Err(error) = registry.flush_audit(false).await
    {
        tracing::warn!(%error, "the audit log could not be written; it is tried again");
    }
    response
}

/// What a request does, by the operation that its path and method are, and what its path and query name.
async fn what(parts: &mut Parts) -> What {
    let path = parts.extensions.get::<MatchedPath>().cloned();
    let Some(path) = path.as_ref().and_then(|path| path.as_str().strip_prefix(ROOT)) else {
        // There is no such path.
        return What { subject: Some(asked_for(parts)), ..What::only(AuditAction::Read) };
    };
    let known = action(&parts.method, path);
    let (scope, mut names) = named_by_path(parts, path).await;
    let mut what = What { scope, ..What::only(known.unwrap_or(AuditAction::Change)) };
    if what.action == AuditAction::GrantRemove {
        let query = Query::new(parts.uri.query());
        names.extend(query.get("grantee").map(Cow::into_owned));
        what.scope = query.get("scope").and_then(|scope| scope.parse().ok()).unwrap_or_default();
    }
    what.subject = match known {
        None | Some(AuditAction::Read) => Some(asked_for(parts)),
        Some(_) => (!names.is_empty()).then(|| names.join("/")),
    };
    what
}

/// The repository or organisation of a path, and the rest of what it names.
async fn named_by_path(parts: &mut Parts, path: &str) -> (Scope, Vec<String>) {
    let (mut scope, mut names) = (Scope::All, Vec::new());
    let Ok(variables) = RawPathParams::from_request_parts(parts, &()).await else { return (scope, names) };
    for (key, value) in &variables {
        match key {
            "name" if path.starts_with("/repositories/") => {
                scope = value.parse().map(Scope::One).unwrap_or_default();
                continue;
            }
            "organisation" => scope = format!("{value}/").parse().unwrap_or_default(),
            _ => {}
        }
        names.push(value.to_owned());
    }
    (scope, names)
}

/// The path as it came: what is nested there sees the rest of it.
fn asked_for(parts: &Parts) -> String {
    format!("{ROOT}{}", parts.uri.path())
}
