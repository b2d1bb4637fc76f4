//! The OpenAPI document, made from the handlers themselves when it is first asked for.

use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::SelfService;
use super::problem::Refusals;
use super::{Api, Problem, ROOT, nouns};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Orlop",
        description = "What the registry protocol has no words for. Slashes in the name of a repository are \
                       written as %2F in a path. Errors are problem details, as RFC 9457 has them."
    ),
    components(schemas(Problem))
)]
struct Document;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(get))
}

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "getDocument", tag = "about",
    responses((status = OK, description = "An OpenAPI document.", body = Object), Refusals)
)]
async fn get(_: SelfService) -> impl IntoResponse {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    let text = TEXT.get_or_init(|| document().to_json().unwrap_or_default().into());
    ([(CONTENT_TYPE, "application/json")], text.clone())
}

/// The whole description.
fn document() -> utoipa::openapi::OpenApi {
    let (_, described) = nouns().split_for_parts();
    Document::openapi().nest(ROOT, described)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::http::audit::action;
    use crate::metadata::AuditAction;

    /// A new operation that changes something has a name in the audit log before it has a route.
    #[test]
    fn every_operation_that_may_change_something_is_audited() {
        let (_, described) = nouns().split_for_parts();
        let document = serde_json::to_value(&described).expect("JSON");
        let paths = document["paths"].as_object().expect("paths");
        let (mut changes, mut forgotten) = (0, Vec::new());
        for (path, item) in paths {
            for method in item.as_object().expect("an item").keys() {
                let method: Method = method.to_uppercase().parse().expect("a method");
                match action(&method, path) {
                    None => forgotten.push(format!("{method} {path}")),
                    Some(AuditAction::Read) => {}
                    Some(action) => changes += usize::from(action.is_change()),
                }
            }
        }
        assert!(forgotten.is_empty(), "without a name in http/audit/operations.rs: {forgotten:?}");
        assert!(changes > 20, "only {changes} changes were found");
    }
}
