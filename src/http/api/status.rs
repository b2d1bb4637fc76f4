//! How the registry is.

use std::sync::Arc;

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::SelfService;
use super::problem::Refusals;
use super::{Api, Time};

/// How the registry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// When it began to serve.
    pub started_at: Time,
    /// For how long it has served, in seconds.
    pub uptime_seconds: u64,
    /// Whether a push would work; where the registry is read-only, a pull.
    pub ready: bool,
    /// Whether the registry takes no change.
    pub read_only: bool,
    /// Why it is not ready.
    #[schema(required)]
    pub problem: Option<String>,
    /// What will be a problem soon.
    pub warnings: Vec<String>,
}

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(get))
}

/// How the registry is.
#[utoipa::path(
    get, path = "/status", operation_id = "getStatus", tag = "about",
    responses((status = OK, description = "How it is, ready or not.", body = Status), Refusals)
)]
async fn get(guest: SelfService) -> Json<Status> {
    let (problem, warnings) = match guest.health().ready().await {
        Ok(warnings) => (None, warnings),
        Err(problem) => (Some(problem), guest.health().warnings()),
    };
    Json(Status {
        version: env!("CARGO_PKG_VERSION").into(),
        started_at: guest.started_at().into(),
        uptime_seconds: guest.now().since(guest.started_at()).as_secs(),
        ready: problem.is_none(),
        read_only: guest.is_read_only(),
        problem,
        warnings,
    })
}
