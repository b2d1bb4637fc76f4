//! The OpenAPI document. It is built from the handlers when it is first requested.

use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::AnyAccess;
use super::problem::Errors;
use super::{Api, Problem, ROOT, resource_routes};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Orlop",
        description = "Administration, reports and history beyond the registry protocol. In a path, each \
                       slash in a repository name is written as %2F. Errors are problem details (RFC 9457)."
    ),
    components(schemas(Problem))
)]
struct Document;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(get))
}

/// Returns the OpenAPI document of this API.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "getDocument", tag = "about",
    responses((status = OK, description = "The OpenAPI document.", body = Object), Errors)
)]
async fn get(_: AnyAccess) -> impl IntoResponse {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    let text = TEXT.get_or_init(|| build_document().to_json().unwrap_or_default().into());
    ([(CONTENT_TYPE, "application/json")], text.clone())
}

/// Builds the document.
fn build_document() -> utoipa::openapi::OpenApi {
    let (_, described) = resource_routes().split_for_parts();
    Document::openapi().nest(ROOT, described)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::http::audit::action;
    use crate::metadata::AuditAction;

    /// An operation that changes something needs an audit action before it can have a route.
    #[test]
    fn every_changing_operation_has_an_audit_action() {
        let (_, described) = resource_routes().split_for_parts();
        let document = serde_json::to_value(&described).expect("JSON");
        let paths = document["paths"].as_object().expect("paths");
        let mut changes = 0;
        let mut unnamed = Vec::new();
        for (path, item) in paths {
            for method in item.as_object().expect("an item").keys() {
                let method: Method = method.to_uppercase().parse().expect("a method");
                match action(&method, path) {
                    None => unnamed.push(format!("{method} {path}")),
                    Some(AuditAction::Read) => {}
                    Some(action) => changes += usize::from(action.is_change()),
                }
            }
        }
        assert!(unnamed.is_empty(), "no audit action in http/audit/operations.rs: {unnamed:?}");
        assert!(changes > 20, "found only {changes} changing operations");
    }
}
