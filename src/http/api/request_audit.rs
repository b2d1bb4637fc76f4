//! Records requests to the API in the audit log: the operation of each, and its target.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::request::Parts;
use http::{Extensions, Method};

use crate::auth::Principal;
use crate::errors::Chain;
use crate::http::layers::audit::{AuditedOperation, PendingEntry};
use crate::http::listen::Peer;
use crate::http::paths::API_ROOT;
use crate::http::query::Query;
#[allow(clippy::enum_glob_use, reason = "the table of actions names nearly all of them")]
use crate::metadata::AuditAction::{self, *};
use crate::metadata::Scope;
use crate::registry::Registry;

/// The scope and subject that the body of a request names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AuditTarget {
    pub(super) scope: Option<Scope>,
    pub(super) subject: Option<String>,
}

/// A request body that describes itself for the audit log. Each body does so itself, because only it knows which of its
/// fields are secret.
pub(super) trait AuditBody {
    /// The target that the body names, in addition to the path.
    fn audit_target(&self) -> AuditTarget {
        AuditTarget::default()
    }
}

/// Passes information from a handler to the audit log, in addition to the request's head and the response's status.
#[derive(Clone, Default)]
pub(super) struct AuditSlot(Arc<SlotState>);

#[derive(Default)]
struct SlotState {
    target: OnceLock<AuditTarget>,
    is_done: AtomicBool,
}

impl AuditSlot {
    /// The slot of a request, if it has one.
    pub(super) fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// Stores the target that the body names.
    pub(super) fn fill(&self, target: AuditTarget) {
        let _ = self.0.target.set(target);
    }

    /// Records that the change is made. A later failure, such as one to read the result, does not undo it.
    pub(super) fn mark_done(&self) {
        self.0.is_done.store(true, Ordering::Relaxed);
    }
}

/// Middleware that records the result of each request to the API. Changes through the Unix socket are written before
/// the response is sent, because a command that works on a stopped store exits after the response.
pub(super) async fn record(State(registry): State<Arc<Registry>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let slot = AuditSlot::default();
    parts.extensions.insert(slot.clone());
    let peer = parts.extensions.get::<Peer>().copied().unwrap_or(Peer::Unix);
    let principal = match peer {
        Peer::Unix => Principal::LocalAdmin,
        Peer::Tcp(_) | Peer::Proxied(_) => parts.extensions.get().cloned().unwrap_or(Principal::Anonymous),
    };
    let operation = operation(&mut parts).await;
    let is_change = operation.action.is_change();
    let mut pending = PendingEntry::of(&registry, peer, &principal, operation);
    let response = next.run(Request::from_parts(parts, body)).await;
    if let Some(AuditTarget { scope, subject }) = slot.0.target.get() {
        pending.add_target(scope.clone(), subject.as_deref());
    }
    if slot.0.is_done.load(Ordering::Relaxed) {
        pending.finish_done(response.status());
    } else {
        pending.finish(response.status());
    }
    if is_change
        && peer == Peer::Unix
        && let Err(error) = registry.flush_audit(false).await
    {
        tracing::warn!(error = %Chain(&error), "failed to write the audit log; will retry");
    }
    response
}

/// The operation of a request, from its method and path, and its target, from its path and query.
async fn operation(parts: &mut Parts) -> AuditedOperation {
    let path = parts.extensions.get::<MatchedPath>().cloned();
    let Some(path) = path.as_ref().and_then(|path| path.as_str().strip_prefix(API_ROOT)) else {
        // No route matches.
        let subject = Some(full_path(parts));
        return AuditedOperation { subject, ..AuditedOperation::without_target(AuditAction::Read) };
    };
    let known = action(&parts.method, path);
    let (scope, mut names) = path_target(parts, path).await;
    let action = known.unwrap_or(AuditAction::Change);
    let mut operation = AuditedOperation { scope, ..AuditedOperation::without_target(action) };
    if operation.action == AuditAction::GrantRemove {
        let query = Query::new(parts.uri.query());
        names.extend(query.get("grantee").map(Cow::into_owned));
        operation.scope = query.get("scope").and_then(|scope| scope.parse().ok()).unwrap_or_default();
    }
    operation.subject = match known {
        None | Some(AuditAction::Read) => Some(full_path(parts)),
        Some(_) => (!names.is_empty()).then(|| names.join("/")),
    };
    operation
}

/// The repository or organisation of a path, and the other names in it.
async fn path_target(parts: &mut Parts, path: &str) -> (Scope, Vec<String>) {
    let mut scope = Scope::All;
    let mut names = Vec::new();
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

/// The full path of the request: a nested router sees only the part after its prefix.
fn full_path(parts: &Parts) -> String {
    format!("{API_ROOT}{}", parts.uri.path())
}

/// The audit action of an API operation, by its method and its path in the OpenAPI document. `None` if the operation is
/// not listed here: it is then recorded as a generic change.
pub(super) fn action(method: &Method, path: &str) -> Option<AuditAction> {
    Some(match (method.as_str(), path) {
        ("GET" | "HEAD", _) => Read,
        ("PUT", "/repositories/{name}/tags/{tag}") => TagPoint,
        ("DELETE", "/repositories/{name}/tags/{tag}") => TagDelete,
        ("POST", "/repositories/{name}/tags/{tag}/rollback") => TagRollback,
        ("DELETE", "/repositories/{name}/manifests/{digest}") => ManifestDelete,
        ("DELETE", "/repositories/{name}") => RepositoryDelete,
        ("POST", "/repositories/{name}/restore") => RepositoryRestore,
        ("POST", "/repositories/{name}/rename") => RepositoryRename,
        ("POST", "/trash/restore") => TrashRestore,
        ("POST", "/trash/empty") => TrashEmpty,
        ("PUT", "/retention/policies/{name}") => PolicySet,
        ("DELETE", "/retention/policies/{name}") => PolicyRemove,
        ("POST", "/retention/apply") => RetentionApply,
        // These only compute a result and change nothing.
        ("POST", "/retention/check" | "/retention/import") => Read,
        ("PUT", "/accounts/{account}") => AccountAdd,
        ("PATCH", "/accounts/{account}") => AccountUpdate,
        ("DELETE", "/accounts/{account}") => AccountRemove,
        ("PUT", "/organisations/{organisation}") => OrganisationAdd,
        ("DELETE", "/organisations/{organisation}") => OrganisationRemove,
        ("PUT", "/organisations/{organisation}/teams/{team}") => TeamAdd,
        ("DELETE", "/organisations/{organisation}/teams/{team}") => TeamRemove,
        ("PUT", "/organisations/{organisation}/teams/{team}/members/{user}") => TeamJoin,
        ("DELETE", "/organisations/{organisation}/teams/{team}/members/{user}") => TeamLeave,
        ("PUT", "/grants") => GrantSet,
        ("DELETE", "/grants") => GrantRemove,
        ("POST", "/tokens") => TokenAdd,
        ("DELETE", "/tokens/{id}") => TokenRevoke,
        ("POST", "/token-keys/rotate") => TokenKeyRotate,
        _ => return None,
    })
}
