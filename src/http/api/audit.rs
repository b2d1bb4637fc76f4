//! The audit log: which user did what, and with what outcome.

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::InQuery;
use super::page::PageParameters;
use super::problem::Errors;
use super::rights::SignedIn;
use super::routes::{Routes, routes};
use super::{Page, Problem, Time};
use crate::metadata::{AuditAction, AuditEntry, AuditOutcome, AuditQuery, Scope};

/// An entry of the audit log: an action that was done or attempted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Audited {
    /// Its number; later entries have larger numbers.
    pub id: i64,
    /// When it happened first.
    pub at: Time,
    /// When it happened last: equal entries within a minute are merged into one.
    pub last_at: Time,
    /// How often it happened.
    pub count: u64,
    /// The user's name; for a login, the name that was tried. `null` for anonymous users and on the admin
    /// socket.
    #[schema(required)]
    pub user: Option<String>,
    /// The id of the access token that the user authenticated with.
    #[schema(required)]
    pub token: Option<String>,
    /// The client's address, `admin-socket`, or `registry` for the registry's own actions.
    pub from: String,
    /// The action.
    pub action: AuditAction,
    /// A repository, or a prefix that ends with a slash; empty if the action has no scope.
    #[schema(value_type = String)]
    pub scope: Scope,
    /// What the action was performed on: a tag or digest, an account, or the name of a policy.
    #[schema(required)]
    pub subject: Option<String>,
    /// The outcome.
    pub outcome: AuditOutcome,
    /// The status of the response, if there was one; 499 if the client disconnected first.
    #[schema(required)]
    pub status: Option<u16>,
}

/// Selects entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditParameters {
    /// Only entries of this user.
    pub user: Option<String>,
    /// Only entries about this repository, or below this prefix that ends with a slash.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    pub scope: Scope,
    /// Only entries with this action.
    pub action: Option<AuditAction>,
    /// Only entries with this outcome.
    pub outcome: Option<AuditOutcome>,
    /// Only entries from this time on.
    #[param(value_type = Option<String>, format = DateTime)]
    pub since: Option<Time>,
    /// Only entries before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    pub until: Option<Time>,
    /// The maximum number of items; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// The `next` of the previous page, which was requested with the same filters.
    pub after: Option<String>,
}

impl From<AuditEntry> for Audited {
    fn from(AuditEntry { id, audited, times }: AuditEntry) -> Self {
        Self {
            id,
            at: times.first.into(),
            last_at: times.last.into(),
            count: times.count,
            user: audited.user,
            token: audited.token,
            from: audited.from.to_string(),
            action: audited.action,
            scope: audited.scope,
            subject: audited.subject,
            outcome: audited.outcome,
            status: audited.status,
        }
    }
}

pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(list))
}

/// Lists entries of the audit log, newest first. Requires administration of everything, or of the scope that
/// the request names.
#[utoipa::path(
    get, path = "/audit", operation_id = "listAudit", tag = "audit",
    params(AuditParameters),
    responses((status = OK, description = "A page of entries.", body = Page<Audited>), Errors)
)]
async fn list(
    SignedIn(requester): SignedIn,
    InQuery(parameters): InQuery<AuditParameters>,
) -> Result<Json<Page<Audited>>, Problem> {
    let AuditParameters { user, scope, action, outcome, since, until, limit, after } = parameters;
    requester.access_control_for(&scope)?;
    let (before, limit) = PageParameters { limit, after }.read()?;
    let since = since.map(|time| time.0);
    let until = until.map(|time| time.0);
    let query = AuditQuery { user, scope, action, outcome, since, until, before };
    let found = requester.metadata().audit(&query, limit).await?;
    let items = found.items.into_iter().map(Audited::from).collect();
    Ok(Json(Page { items, next: found.next.map(|next| next.to_string()) }))
}
