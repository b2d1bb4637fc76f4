//! Returns the status of the registry.

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;
use super::problem::Errors;
use super::rights::AnyAccess;
use super::routes::{Routes, routes};

/// The status of the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// When the server started.
    pub started_at: Time,
    /// The time since the server started, in seconds.
    pub uptime_seconds: u64,
    /// Whether a push would succeed; if the registry is read-only, whether a pull would.
    pub ready: bool,
    /// Whether the registry rejects changes.
    pub read_only: bool,
    /// Why it is not ready, if it is not.
    #[schema(required)]
    pub problem: Option<String>,
    /// Conditions that may soon become problems.
    pub warnings: Vec<String>,
}

pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(get))
}

/// Returns the status of the registry.
#[utoipa::path(
    get, path = "/status", operation_id = "getStatus", tag = "about",
    responses((status = OK, description = "The status, whether ready or not.", body = Status), Errors)
)]
async fn get(service: AnyAccess) -> Json<Status> {
    let (problem, warnings) = match service.health().ready().await {
        Ok(warnings) => (None, warnings),
        Err(problem) => (Some(problem), service.health().warnings()),
    };
    Json(Status {
        version: env!("CARGO_PKG_VERSION").into(),
        started_at: service.started_at().into(),
        uptime_seconds: service.now().since(service.started_at()).as_secs(),
        ready: problem.is_none(),
        read_only: service.is_read_only(),
        problem,
        warnings,
    })
}
