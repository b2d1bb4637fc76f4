//! The audit log: who did what.

use std::sync::Arc;

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::SignedIn;
use super::extract::InQuery;
use super::page::RecentParameters;
use super::problem::Refusals;
use super::{Api, Page, Problem, Time};
use crate::metadata::{AuditAction, AuditEntry, AuditOutcome, AuditQuery, Scope};
use crate::registry::ServiceError;

/// What somebody did or tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Audited {
    /// Its number: what was recorded later has a larger one.
    pub id: i64,
    /// When, the first time.
    pub at: Time,
    /// When, the last time: what is the same within a minute is one entry.
    pub last_at: Time,
    /// How often.
    pub count: u64,
    /// The user's name; of a login the one that was tried. `null` for strangers and on the admin socket.
    #[schema(required)]
    pub user: Option<String>,
    /// The id of the access token that they came by.
    #[schema(required)]
    pub token: Option<String>,
    /// A client's address, or `admin-socket`; or `registry`, of itself.
    pub from: String,
    /// What.
    pub action: AuditAction,
    /// A repository, or a prefix with a slash at its end; empty where that is of no matter.
    #[schema(value_type = String)]
    pub scope: Scope,
    /// What there: a tag or digest, an account, the name of a policy.
    #[schema(required)]
    pub subject: Option<String>,
    /// What came of it.
    pub outcome: AuditOutcome,
    /// The status of the answer, if there was one; 499 if its client left before.
    #[schema(required)]
    pub status: Option<u16>,
}

/// Which entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditParameters {
    /// Only those of this user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Only those about this repository, or below this prefix with a slash at its end.
    #[serde(default, skip_serializing_if = "is_all")]
    #[param(value_type = Option<String>)]
    pub scope: Scope,
    /// Only those of this action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<AuditAction>,
    /// Only those that came to this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<AuditOutcome>,
    /// Only those from this time on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>, format = DateTime)]
    pub since: Option<Time>,
    /// Only those before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>, format = DateTime)]
    pub until: Option<Time>,
    /// How many items, 100 where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// The `next` of the page before, which was asked for with the same filters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

fn is_all(scope: &Scope) -> bool {
    *scope == Scope::All
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

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Who did what, newest first. For administrators of everything, or of the scope that they ask about.
#[utoipa::path(
    get, path = "/audit", operation_id = "listAudit", tag = "audit",
    params(AuditParameters),
    responses((status = OK, description = "A page of entries.", body = Page<Audited>), Refusals)
)]
async fn list(
    SignedIn(asker): SignedIn,
    InQuery(parameters): InQuery<AuditParameters>,
) -> Result<Json<Page<Audited>>, Problem> {
    let AuditParameters { user, scope, action, outcome, since, until, limit, after } = parameters;
    asker.administers(&scope)?;
    let page = RecentParameters { limit, after };
    let (before, limit) = page.read()?;
    let (since, until) = (since.map(|time| time.0), until.map(|time| time.0));
    let query = AuditQuery { user, scope, action, outcome, since, until, before };
    let found = asker.metadata().audit(&query, limit).await.map_err(ServiceError::from)?;
    let items = found.items.into_iter().map(Audited::from).collect();
    Ok(Json(Page { items, next: found.next.map(|next| next.to_string()) }))
}
