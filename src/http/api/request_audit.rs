//! Records requests to the API in the audit log: the operation of each, and its target.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::Method;
use http::request::Parts;
use serde_json::{Map, Value};

use super::extract::{AuditBody, AuditSlot, AuditTarget};
use super::{
    AccountRequest, AccountUpdate, ApplyRequest, EmptyRequest, GrantRequest, RenameRequest, RestoreRequest,
    RollbackRequest, RotateRequest, TagTarget, TokenRequest, UndeleteRequest,
};

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
use crate::retention::Policy;

/// Middleware that records the result of each request to the API.
pub(super) async fn record(State(registry): State<Arc<Registry>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let operation = operation(&mut parts).await;
    record_outcome(&registry, operation, Request::from_parts(parts, body), next).await
}

/// Handles a request and records its outcome. Changes through the Unix socket are written before the response is sent,
/// because a command that works on a stopped store exits after the response.
pub(in crate::http) async fn record_outcome(
    registry: &Arc<Registry>,
    operation: AuditedOperation,
    mut request: Request,
    next: Next,
) -> Response {
    let slot = AuditSlot::default();
    let extensions = request.extensions_mut();
    extensions.insert(slot.clone());
    let peer = extensions.get::<Peer>().copied().unwrap_or(Peer::Unix);
    let principal = match peer {
        Peer::Unix => Principal::LocalAdmin,
        Peer::Tcp(_) | Peer::Proxied(_) => extensions.get().cloned().unwrap_or(Principal::Anonymous),
    };
    let is_change = operation.action.is_change();
    let mut pending = PendingEntry::of(registry, peer, &principal, operation);
    let response = next.run(request).await;
    if let Some(claimed) = response.extensions().get() {
        pending.set_claimed_user(claimed);
    }
    if let Some(AuditTarget { scope, subject }) = slot.target() {
        pending.add_target(scope.clone(), subject.as_deref());
    }
    if slot.is_done() {
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
        ("PATCH", "/repositories/{name}") => RepositoryUpdate,
        ("POST", "/repositories/{name}/restore") => RepositoryRestore,
        ("POST", "/repositories/{name}/rename") => RepositoryRename,
        ("POST", "/trash/restore") => TrashRestore,
        ("POST", "/trash/empty") => TrashEmpty,
        ("PUT", "/retention/policies/{name}") => PolicySet,
        ("DELETE", "/retention/policies/{name}") => PolicyRemove,
        ("POST", "/retention/apply") => RetentionApply,
        // These only compute a result and change nothing.
        ("POST", "/retention/check" | "/retention/preview" | "/retention/import") => Read,
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
        ("POST", "/background/{job}/run") => JobRun,
        ("POST", "/adoption/release") => AdoptionRelease,
        ("POST", "/adoption/finish") => AdoptionFinish,
        _ => return None,
    })
}

/// Describes request bodies for the audit log. No description includes a secret.
macro_rules! audit_bodies {
    ($($body:ty, |$name:ident| $target:expr;)*) => {$(
        impl AuditBody for $body {
            fn audit_target(&self) -> AuditTarget {
                let $name = self;
                $target
            }
        }
    )*};
}

audit_bodies! {
    AccountRequest, |body| {
        let role = |there: &super::RoleThere| format!("{} on {:?}", there.role, there.scope.as_str());
        let roles: Vec<String> = body.roles.iter().map(role).collect();
        AuditTarget {
            scope: None,
            subject: (!roles.is_empty()).then(|| format!("with {}", roles.join(", "))),
        }
    };
    AccountUpdate, |body| {
        let password = (body.password.is_some() || body.new_password).then_some("password");
        let disabled = body.disabled.map(|disabled| if disabled { "disabled" } else { "enabled" });
        let changed: Vec<_> = password.into_iter().chain(disabled).collect();
        AuditTarget {
            scope: None,
            subject: (!changed.is_empty()).then(|| format!("({})", changed.join(", "))),
        }
    };
    GrantRequest, |body| {
        let subject = format!("{} {}", body.grantee, body.role);
        AuditTarget { scope: Some(body.scope.clone()), subject: Some(subject) }
    };
    TokenRequest, |body| {
        let subject = format!("{} {} {}", body.account, body.role, body.name);
        AuditTarget { scope: Some(body.scope.clone()), subject: Some(subject.trim_end().to_owned()) }
    };
    RestoreRequest, |body| {
        AuditTarget {
            scope: repository_scope(Some(&body.repository)),
            subject: body.digest.clone().or_else(|| body.tag.clone()),
        }
    };
    EmptyRequest, |body| AuditTarget { scope: repository_scope(body.repository.as_ref()), subject: None };
    ApplyRequest, |body| {
        let subject = body.plan.map(|plan| plan.to_string());
        AuditTarget { scope: repository_scope(body.repository.as_ref()), subject }
    };
    RenameRequest, |body| subject(&body.to);
    RotateRequest, |body| AuditTarget { scope: None, subject: body.at_once.then(|| "at once".to_owned()) };
    TagTarget, |body| subject(&body.digest);
    RollbackRequest, |body| AuditTarget { scope: None, subject: body.to.clone() };
}

// The path names everything that the request affects.
impl AuditBody for super::RepositoryUpdate {}
impl AuditBody for UndeleteRequest {}
impl AuditBody for Policy {}
// Such a request changes nothing.
impl AuditBody for Map<String, Value> {}

/// The scope of the repository with this name, if the name is valid.
fn repository_scope(repository: Option<&String>) -> Option<Scope> {
    repository.and_then(|name| name.parse().ok()).map(Scope::One)
}

fn subject(subject: impl ToString) -> AuditTarget {
    AuditTarget { scope: None, subject: Some(subject.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audit_targets_contain_no_secret() {
        let request = AccountRequest { password: Some("hunter2".into()), ..AccountRequest::default() };
        assert_eq!(request.audit_target(), AuditTarget::default());
        let update =
            AccountUpdate { password: Some("hunter2".into()), disabled: Some(true), new_password: false };
        assert_eq!(update.audit_target().subject.as_deref(), Some("(password, disabled)"));
    }
}
